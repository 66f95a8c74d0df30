// SPDX-License-Identifier: Apache-2.0
// The cheapest reshards of a stage's values, each found once: copies of a layer ask for the same ones, values of one
// shape do, and so does a solver that weighs one strategy after the other, or one plan.
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
  /// All that a path depends on, of a value.
  struct shape {
    vector<std::int64_t> extents;
    bytes element;
    bool operator==(const shape&) const = default;
  };
  struct known_path {
    std::size_t shape;
    spec from, to;
    reshard_path path;
    std::int32_t next;  ///< of the same bucket; −1: none
  };
  std::size_t shape_of(value_id what);

  const graph& whole_;
  size_table sizes_;
  mesh_shape mesh_;
  mesh_links links_;
  vector<shape> shapes_;
  table<value_id, std::int32_t> shape_of_;  ///< −1: not looked up yet
  vector<std::int32_t> buckets_;            ///< the number of the last path of each; −1: none
  std::deque<known_path> paths_;
};

/// The paths of all stages of one graph, which those that stand alike share: in as many micro-batches, on the same
/// mesh, over the same links.
class shared_paths {
 public:
  explicit shared_paths(const graph& whole) : whole_(whole) {}

  /// The reference stays good.
  known_paths& of(std::int32_t micro_batches, const mesh_shape& mesh, const mesh_links& links);

 private:
  struct standing {
    std::int32_t micro_batches;
    mesh_shape mesh;
    mesh_links links;
    known_paths paths;
  };
  const graph& whole_;
  std::deque<standing> standings_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/known_paths.inl>
#endif
