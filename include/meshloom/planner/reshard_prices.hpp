// SPDX-License-Identifier: Apache-2.0
// Prices of reshards on one mesh, a search per tensor shape and source spec: tables of prices ask for the same ones
// again and again, and those of one stage for those of another. Law: every price is that of `reshard`.
#pragma once

#include <meshloom/planner/intra_problem.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <algorithm>
#include <memory>

namespace meshloom {

class reshard_prices {
 public:
  reshard_prices(const mesh_shape& mesh, const mesh_links& links) : mesh_(mesh), links_(links) {}

  /// The number of a shape of tensors.
  std::size_t shape_of(const std::vector<std::int64_t>& extents, bytes element) {
    const auto known = std::find_if(shapes_.begin(), shapes_.end(), [&](const shape& each) {
      return each.extents == extents && each.element == element;
    });
    if (known != shapes_.end()) return static_cast<std::size_t>(known - shapes_.begin());
    const std::size_t specs = detail::spec_count(mesh_.rank, static_cast<int>(extents.size()));
    shapes_.push_back({extents, element, std::vector<std::vector<picoseconds>>(specs)});
    return shapes_.size() - 1;
  }

  /// The price; `forbidden` if it cannot be made.
  picoseconds find(std::size_t shape_number, const spec& from, const spec& to) {
    if (from == to) return {};
    shape& here = shapes_[shape_number];
    const auto number = [&](const spec& layout) {
      return detail::number_of(layout, mesh_.rank, static_cast<int>(here.extents.size()));
    };
    std::vector<picoseconds>& row = here.rows[number(from)];
    if (row.empty()) {
      row.assign(here.rows.size(), forbidden);
      for (const reachable_spec& each : reachable_from(from, here.extents, here.element, mesh_, links_))
        row[number(each.layout)] = each.time;
    }
    return row[number(to)];
  }

 private:
  struct shape {
    std::vector<std::int64_t> extents;
    bytes element;
    std::vector<std::vector<picoseconds>> rows;  ///< by the numbers of both specs; empty: not asked for yet
  };

  mesh_shape mesh_;
  mesh_links links_;
  std::vector<shape> shapes_;
};

/// The prices of each of some meshes, all of them on the first ranks of one cluster.
class shared_reshard_prices {
 public:
  std::shared_ptr<reshard_prices> of(const cluster& machine, const mesh_shape& mesh) {
    for (const auto& [known, prices] : all_) {
      if (known == mesh) return prices;
    }
    all_.push_back({mesh, std::make_shared<reshard_prices>(mesh, links_of(machine, mesh, 0))});
    return all_.back().second;
  }

 private:
  std::vector<std::pair<mesh_shape, std::shared_ptr<reshard_prices>>> all_;
};

}  // namespace meshloom
