// SPDX-License-Identifier: Apache-2.0
// The cheapest reshards of a stage's values, each found once: copies of a layer ask for the same ones, and so does a
// solver that weighs one strategy after the other.
#pragma once

#include <meshloom/plan/plan.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <deque>

namespace meshloom {

class known_paths {
 public:
  known_paths(const graph& whole, const size_table& sizes, const mesh_shape& mesh, const mesh_links& links);

  /// What `reshard` says of the value; the reference stays good.
  const reshard_path& find(value_id what, const spec& from, const spec& to);

 private:
  struct known_path {
    value_id what;
    spec from, to;
    reshard_path path;
  };
  const graph& whole_;
  size_table sizes_;
  mesh_shape mesh_;
  mesh_links links_;
  std::vector<std::deque<known_path>> buckets_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/known_paths.inl>
#endif
