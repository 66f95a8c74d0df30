// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/unroll.hpp>

namespace meshloom {

MESHLOOM_INLINE vector<block> blocks_of(const graph& whole) {
  vector<block> blocks;
  for (std::size_t r = 0; r < whole.regions.size(); ++r) {
    const auto area = static_cast<region_id>(r);
    for (std::int32_t copy = 0; copy < whole.regions[area].count; ++copy) blocks.push_back({area, copy});
  }
  return blocks;
}

MESHLOOM_INLINE instance resolve(const graph& whole, value_id id, const block& reader) {
  block here = reader;
  while (whole.values[id].kind == value_kind::carried) {
    const region_id home = whole.values[id].region;
    const region& area = whole.regions[home];
    const carry& forward = area.forward;
    const carry& backward = area.backward;
    if (id == forward.outer_out) {
      here = {home, area.count - 1};
      id = forward.body_out;
    } else if (id == backward.outer_out) {
      here = {home, 0};
      id = backward.body_out;
    } else if (id == forward.body_in) {
      id = here.copy == 0 ? forward.outer_in : forward.body_out;
      if (here.copy == 0)
        here = {};
      else
        --here.copy;
    } else {
      id = here.copy == area.count - 1 ? backward.outer_in : backward.body_out;
      if (here.copy == area.count - 1)
        here = {};
      else
        ++here.copy;
    }
  }
  return {id, whole.values[id].region == here.region ? here.copy : 0};
}

MESHLOOM_INLINE vector<instance> results_of(const graph& whole) {
  vector<instance> results;
  for (const value_id id : whole.results) {
    const instance what = resolve(whole, id, {});
    const value& entry = whole.values[id];
    const bool of_every_copy = entry.kind == value_kind::activation && whole.regions[entry.region].repeated;
    for (std::int32_t copy = 0; of_every_copy && copy < whole.regions[entry.region].count; ++copy) {
      results.push_back({id, copy});
    }
    if (!of_every_copy) results.push_back(what);
  }
  return results;
}

MESHLOOM_INLINE block maker_of(const graph& whole, const instance& what) {
  return {whole.values[what.value].region, what.copy};
}

MESHLOOM_INLINE vector<node_id> nodes_of(const graph& whole, region_id area, phase when) {
  vector<node_id> found;
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (whole.nodes[id].region == area && whole.nodes[id].when == when) found.push_back(id);
  }
  return found;
}

MESHLOOM_INLINE std::string name_of(const graph& whole, const block& which) {
  const region& area = whole.regions[which.region];
  return area.repeated ? area.name + "[" + std::to_string(which.copy) + "]" : area.name;
}

}  // namespace meshloom
