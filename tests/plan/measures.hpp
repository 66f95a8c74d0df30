// SPDX-License-Identifier: Apache-2.0
// What a plan is like: how much of a stage an axis splits, and what the fullest rank holds.
#pragma once

#include <meshloom/program/lower.hpp>

#include <algorithm>
#include <string>

namespace measures {

namespace ml = meshloom;

/// Of a stage's forward and backward operators that can split an axis: the share that does, over each mesh axis.
inline double share_that_splits(const ml::graph& whole, const ml::stage_plan& stage, const std::string& axis) {
  int can = 0, does = 0;
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    const ml::node& at = whole.nodes[id];
    if (at.when == ml::phase::update || !ml::runs(whole, stage, id)) continue;
    const auto splits = [&](const ml::choice& row) {
      return row.kind == ml::choice::split && whole.sizes[at.indices[static_cast<std::size_t>(row.index)]].name == axis;
    };
    const auto& rows = at.op->choices.rows;
    if (std::none_of(rows.begin(), rows.begin() + at.op->choices.count, splits)) continue;
    for (std::size_t over = 0; over < static_cast<std::size_t>(stage.mesh.rank); ++over) {
      ++can;
      does += splits(rows[stage.strategies[id].row[over]]) ? 1 : 0;
    }
  }
  return can == 0 ? 0 : static_cast<double>(does) / can;
}

/// What any rank of a plan's program holds at most.
inline ml::bytes peak_of(const ml::graph& whole, const ml::plan& made, const ml::cluster& machine) {
  ml::bytes most;
  for (const ml::stage_program& stage : ml::lower(whole, made, machine).stages) most = std::max(most, stage.peak());
  return most;
}

}  // namespace measures
