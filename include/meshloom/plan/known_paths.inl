// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/known_paths.hpp>

namespace meshloom {

MESHLOOM_INLINE known_paths::known_paths(const graph& whole, const size_table& sizes, const mesh_shape& mesh,
                                         const mesh_links& links)
    : whole_(whole), sizes_(sizes), mesh_(mesh), links_(links), nowhere_{.possible = true}, buckets_(1024, -1) {}

MESHLOOM_INLINE const reshard_path& known_paths::find(value_id what, const spec& from, const spec& to) {
  if (from == to) return nowhere_;
  std::size_t hash = index_of(what);
  for (const spec& layout : {from, to}) {
    for (const cut& each : layout.cuts())
      hash = hash * 31 + static_cast<std::size_t>(each.mesh_axis * 8 + each.axis + 1);
    hash = hash * 31 + layout.partial_sum();
  }
  std::int32_t& bucket = buckets_[hash % buckets_.size()];
  for (std::int32_t at = bucket; at >= 0; at = paths_[static_cast<std::size_t>(at)].next) {
    const known_path& known = paths_[static_cast<std::size_t>(at)];
    if (known.what == what && known.from == from && known.to == to) return known.path;
  }
  const value& entry = whole_.values[what];
  paths_.push_back({what, from, to,
                    reshard(from, to, extents_of(sizes_, entry.axes), {size_of(entry.type)}, mesh_, links_), bucket});
  bucket = static_cast<std::int32_t>(paths_.size()) - 1;
  return paths_.back().path;
}

MESHLOOM_INLINE known_paths& shared_paths::of(std::int32_t micro_batches, const mesh_shape& mesh,
                                              const mesh_links& links) {
  for (standing& known : standings_) {
    if (known.micro_batches == micro_batches && known.mesh == mesh && known.links == links) return known.paths;
  }
  standings_.push_back(
      {micro_batches, mesh, links, known_paths(whole_, micro_batch_sizes(whole_, micro_batches), mesh, links)});
  return standings_.back().paths;
}

}  // namespace meshloom
