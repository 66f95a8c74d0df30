// SPDX-License-Identifier: Apache-2.0
// Prices of reshards on one mesh, a search per tensor shape and source spec: tables of prices ask for the same ones
// again and again, and those of one stage for those of another. Law: every price is that of `reshard`.
#pragma once

#include <meshloom/planner/intra_problem.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <algorithm>

namespace meshloom {

class reshard_prices {
 public:
  reshard_prices(const mesh_shape& mesh, const mesh_links& links) : mesh_(mesh), links_(links) {}

  /// The number of a shape of tensors.
  std::size_t shape_of(const vector<std::int64_t>& extents, bytes element) {
    const auto known = std::find_if(shapes_.begin(), shapes_.end(), [&](const shape& each) {
      return each.extents == extents && each.element == element;
    });
    if (known != shapes_.end()) return static_cast<std::size_t>(known - shapes_.begin());
    const std::size_t specs = detail::spec_count(mesh_.rank, static_cast<int>(extents.size()));
    shapes_.push_back({extents, element, vector<vector<picoseconds>>(specs)});
    return shapes_.size() - 1;
  }

  /// The price; `forbidden` if it cannot be made.
  picoseconds find(std::size_t shape_number, const spec& from, const spec& to) {
    if (from == to) return {};
    return this->from(shape_number, from, number_of(shape_number, from))[number_of(shape_number, to)];
  }

  /// The number of a spec among those of a shape.
  std::size_t number_of(std::size_t shape_number, const spec& layout) const {
    return detail::number_of(layout, mesh_.rank, static_cast<int>(shapes_[shape_number].extents.size()));
  }

  /// The prices of getting from a spec, which has this number, to every other, by its number.
  const vector<picoseconds>& from(std::size_t shape_number, const spec& layout, std::size_t number) {
    shape& here = shapes_[shape_number];
    vector<picoseconds>& row = here.rows[number];
    if (row.empty()) {
      row.assign(here.rows.size(), forbidden);
      for (const reachable_spec& each : reachable_from(layout, here.extents, here.element, mesh_, links_))
        row[number_of(shape_number, each.layout)] = each.time;
    }
    return row;
  }

 private:
  struct shape {
    vector<std::int64_t> extents;
    bytes element;
    vector<vector<picoseconds>> rows;  ///< by the numbers of both specs; empty: not asked for yet
  };

  mesh_shape mesh_;
  mesh_links links_;
  vector<shape> shapes_;
};

}  // namespace meshloom
