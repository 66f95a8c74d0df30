// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/known_paths.hpp>

namespace meshloom {

MESHLOOM_INLINE known_paths::known_paths(const graph& whole, const size_table& sizes, const mesh_shape& mesh,
                                         const mesh_links& links)
    : whole_(whole), sizes_(sizes), mesh_(mesh), links_(links), buckets_(1024) {}

MESHLOOM_INLINE const reshard_path& known_paths::find(value_id what, const spec& from, const spec& to) {
  std::size_t hash = index_of(what);
  for (const spec& layout : {from, to}) {
    for (const cut& each : layout.cuts())
      hash = hash * 31 + static_cast<std::size_t>(each.mesh_axis * 8 + each.axis + 1);
    hash = hash * 31 + layout.partial_sum();
  }
  auto& bucket = buckets_[hash % buckets_.size()];
  for (const known_path& known : bucket) {
    if (known.what == what && known.from == from && known.to == to) return known.path;
  }
  const value& entry = whole_.values[what];
  bucket.push_back(
      {what, from, to, reshard(from, to, extents_of(sizes_, entry.axes), {size_of(entry.type)}, mesh_, links_)});
  return bucket.back().path;
}

}  // namespace meshloom
