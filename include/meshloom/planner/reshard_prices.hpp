// SPDX-License-Identifier: Apache-2.0
// Prices of reshards on one mesh, a search per tensor shape and source spec: tables of prices ask for the same ones
// again and again. Law: every price is that of `reshard`.
#pragma once

#include <meshloom/planner/intra_problem.hpp>
#include <meshloom/sharding/reshard.hpp>

namespace meshloom {

class reshard_prices {
 public:
  reshard_prices(const mesh_shape& mesh, const mesh_links& links) : mesh_(mesh), links_(links) {}

  /// The price; `forbidden` if it cannot be made.
  picoseconds find(const std::vector<std::int64_t>& extents, bytes element, const spec& from, const spec& to) {
    if (from == to) return {};
    for (const reachable_spec& each : row(extents, element, from)) {
      if (each.layout == to) return each.time;
    }
    return forbidden;
  }

 private:
  struct shape {
    std::vector<std::int64_t> extents;
    bytes element;
    std::vector<std::vector<reachable_spec>> rows;  ///< each begins with its source
  };

  const std::vector<reachable_spec>& row(const std::vector<std::int64_t>& extents, bytes element, const spec& from) {
    shape& here = shape_of(extents, element);
    for (const auto& known : here.rows) {
      if (known.front().layout == from) return known;
    }
    here.rows.push_back(reachable_from(from, extents, element, mesh_, links_));
    return here.rows.back();
  }

  shape& shape_of(const std::vector<std::int64_t>& extents, bytes element) {
    for (shape& known : shapes_) {
      if (known.extents == extents && known.element == element) return known;
    }
    return shapes_.emplace_back(shape{extents, element, {}});
  }

  mesh_shape mesh_;
  mesh_links links_;
  std::vector<shape> shapes_;
};

}  // namespace meshloom
