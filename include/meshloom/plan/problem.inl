// SPDX-License-Identifier: Apache-2.0
#include <meshloom/cluster/groups.hpp>
#include <meshloom/graph/unroll.hpp>
#include <meshloom/plan/problem.hpp>

#include <algorithm>

namespace meshloom {

namespace detail {

/// A mesh axis of one rank splits nothing: neither it nor what names it takes part in a plan.
inline void drop_mesh_axis(manual& constraints, const std::string& name) {
  const auto names_it = [&](const auto& each) { return each.mesh_axis == name; };
  erase_if(constraints.mesh, [&](const mesh_axis_size& axis) { return axis.name == name; });
  erase_if(constraints.rules, names_it);
  erase_if(constraints.zero, names_it);
  erase_if(constraints.pins, names_it);
}

MESHLOOM_INLINE vector<mesh_axis_size> free_mesh(const graph& whole, const manual& constraints) {
  vector<mesh_axis_size> axes;
  const auto add = [&](const std::string& name) {
    const auto same = [&](const mesh_axis_size& axis) { return axis.name == name; };
    if (std::none_of(axes.begin(), axes.end(), same)) axes.push_back({name, 0});
  };
  for (const pin& each : whole.pins) add(each.mesh_axis);
  for (const path_pin& each : constraints.pins) add(each.mesh_axis);
  for (const char* name : {"outer", "inner"}) {
    if (axes.size() < 2) add(name);
  }
  return axes;
}

}  // namespace detail

MESHLOOM_INLINE problem formulate(const graph& whole, const cluster& machine, const manual& constraints) {
  problem posed{whole, machine, constraints};
  manual& kept = posed.constraints;
  if (kept.automatic) {
    if (kept.mesh.empty()) kept.mesh = detail::free_mesh(whole, kept);
  } else {
    if (kept.stages == 0) kept.stages = 1;
    if (kept.micro_batches == 0) kept.micro_batches = 1;
  }
  const vector<mesh_axis_size> given = kept.mesh;
  for (const mesh_axis_size& axis : given) {
    if (axis.size == 1) detail::drop_mesh_axis(kept, axis.name);
  }
  return posed;
}

MESHLOOM_INLINE vector<bool> recomputed_by_rule(const problem& posed, std::int32_t first_block,
                                                std::int32_t end_block) {
  const auto blocks = blocks_of(posed.graph);
  vector<bool> again;
  for (std::int32_t number = first_block; number < end_block; ++number) {
    const block& here = blocks[static_cast<std::size_t>(number)];
    const region& area = posed.graph.regions[here.region];
    const auto& rules = posed.constraints.recompute;
    again.push_back(std::any_of(rules.begin(), rules.end(), [&](const recompute_rule& rule) {
      const bool named = rule.layer.empty() ? may_recompute(area) : rule.layer == area.name;
      return named && here.copy >= rule.first && (rule.end < 0 || here.copy < rule.end);
    }));
  }
  return again;
}

namespace detail {

/// A plan by hand has equal stages in a row, each on one group of hosts.
inline void check_groups(const problem& posed, vector<std::string>& faults) {
  const std::int32_t ranks = posed.cluster.ranks() / std::max(posed.constraints.stages, 1);
  for (std::int32_t first = 0; first < posed.cluster.ranks(); first += ranks) {
    if (in_one_group(posed.cluster, first, first + ranks)) continue;
    const placed_group group = group_of(posed.cluster, first);
    faults.push_back("a stage on ranks " + std::to_string(first) + " to " + std::to_string(first + ranks - 1) +
                     " straddles groups of hosts, of which one ends with rank " + std::to_string(group.end_rank() - 1) +
                     "; take stages of so many ranks that each stands on one group, or an automatic plan");
    return;
  }
}

inline void check_mesh(const problem& posed, vector<std::string>& faults) {
  const manual& asked = posed.constraints;
  if (asked.mesh.size() > max_mesh_rank) {
    faults.push_back("the plan has " + std::to_string(asked.mesh.size()) + " mesh axes; a mesh has at most " +
                     std::to_string(max_mesh_rank));
  }
  for (std::size_t a = 0; a < asked.mesh.size(); ++a) {
    if (asked.mesh[a].name.empty()) faults.push_back("a mesh axis has no name; give it one");
    if (asked.mesh[a].size < (asked.automatic ? 0 : 1))
      faults.push_back("mesh axis " + asked.mesh[a].name + " has size " + std::to_string(asked.mesh[a].size) +
                       "; give it 1 or more");
    for (std::size_t b = a + 1; b < asked.mesh.size(); ++b) {
      if (asked.mesh[a].name == asked.mesh[b].name) {
        faults.push_back("mesh axis " + asked.mesh[a].name + " is given two sizes, " +
                         std::to_string(asked.mesh[a].size) + " and " + std::to_string(asked.mesh[b].size) +
                         "; presets that share a mesh axis must agree on its size");
      }
    }
  }
  if (!asked.automatic && asked.ranks() != posed.cluster.ranks()) {
    faults.push_back("the plan uses " + std::to_string(asked.ranks()) + " ranks, but the cluster has " +
                     std::to_string(posed.cluster.ranks()) + "; make the product of stages and mesh axes equal to it");
  } else if (!asked.automatic) {
    check_groups(posed, faults);
  }
}

inline void check_rules(const problem& posed, vector<std::string>& faults) {
  const auto known_mesh = [&](const std::string& name) {
    return std::any_of(posed.constraints.mesh.begin(), posed.constraints.mesh.end(),
                       [&](const auto& axis) { return axis.name == name; });
  };
  const auto mesh_axis = [&](const std::string& name) {
    if (!known_mesh(name))
      faults.push_back("a constraint names mesh axis '" + name + "', which the plan does not have; add it with a size");
  };
  for (const axis_rule& rule : posed.constraints.rules) mesh_axis(rule.mesh_axis);
  for (const zero_rule& rule : posed.constraints.zero) {
    mesh_axis(rule.mesh_axis);
    if (rule.level < 0 || rule.level > 3)
      faults.push_back("zero: level " + std::to_string(rule.level) + " does not exist; use 1, 2 or 3");
  }
  for (const path_pin& bound : posed.constraints.pins) {
    mesh_axis(bound.mesh_axis);
    const auto found = std::find_if(posed.graph.nodes.begin(), posed.graph.nodes.end(),
                                    [&](const node& at) { return at.name == bound.path; });
    if (found == posed.graph.nodes.end()) {
      faults.push_back("pin: the model has no operator '" + bound.path +
                       "'; its operators are named in the printed plan");
    } else if (found->when == phase::update) {
      faults.push_back("pin: operator '" + bound.path +
                       "' is an update, which computes where the optimizer's state lies; pin an operator of a layer");
    }
    if (!bound.axis.empty() && find_axis(posed.graph.sizes, bound.axis) == axis_id::none) {
      faults.push_back("pin: the model has no axis '" + bound.axis + "'");
    }
  }
}

inline void check_batch(const problem& posed, vector<std::string>& faults) {
  const axis_size& batch = posed.graph.sizes[posed.graph.micro_batched];
  const std::int32_t parts = posed.constraints.micro_batches;
  if (parts < 0 || (parts > 0 && batch.extent % parts != 0)) {
    faults.push_back("axis " + batch.name + " has " + std::to_string(batch.extent) + " elements, which " +
                     std::to_string(parts) + " micro-batches do not divide; choose a divisor");
  }
  std::int64_t split = 1;
  for (const mesh_axis_size& axis : posed.constraints.mesh) {
    const auto& rules = posed.constraints.rules;
    const auto splits_batch = [&](const axis_rule& rule) {
      return rule.axis == batch.name && rule.mesh_axis == axis.name;
    };
    if (std::any_of(rules.begin(), rules.end(), splits_batch)) split *= axis.size;
  }
  if (batch.extent < split) {
    faults.push_back("axis " + batch.name + " has " + std::to_string(batch.extent) + " elements, fewer than the " +
                     std::to_string(split) + " ranks that split it; enlarge the batch or use fewer ranks for it");
  }
}

inline void check_stages(const problem& posed, vector<std::string>& faults) {
  const auto blocks = static_cast<std::int32_t>(blocks_of(posed.graph).size());
  const manual& asked = posed.constraints;
  if (asked.stages < 0) faults.push_back("the plan has " + std::to_string(asked.stages) + " stages; give it 1 or more");
  if (asked.stages > blocks) {
    faults.push_back("the plan has " + std::to_string(asked.stages) +
                     " stages, but the model can be cut into at most " + std::to_string(blocks));
  }
  if (asked.schedules.size() > 1) {
    faults.push_back("the plan asks for two schedules, " + std::string(name_of(asked.schedules[0])) + " and " +
                     std::string(name_of(asked.schedules[1])) + "; presets of one plan must agree on it");
  }
  if (!asked.cuts.empty() && static_cast<std::int32_t>(asked.cuts.size()) + 1 != asked.stages) {
    faults.push_back("the plan has " + std::to_string(asked.stages) + " stages but names " +
                     std::to_string(asked.cuts.size()) + " cuts; name one fewer than stages");
  }
  for (std::size_t k = 0; k < asked.cuts.size(); ++k) {
    const bool rising = k == 0 || asked.cuts[k] > asked.cuts[k - 1];
    if (asked.cuts[k] < 1 || asked.cuts[k] >= blocks || !rising) {
      faults.push_back("stage: a cut in front of block " + std::to_string(asked.cuts[k]) +
                       " is not possible; cuts rise between 1 and " + std::to_string(blocks - 1));
    }
  }
}

/// What is wrong with a rule for the copies of one layer; empty if nothing is.
inline std::string copies_fault(const recompute_rule& rule, const region& area) {
  const std::int32_t end = rule.end < 0 ? area.count : rule.end;
  if (rule.first >= 0 && rule.first < end && end <= area.count) return {};
  return "recompute: copies " + std::to_string(rule.first) + " to " + std::to_string(end - 1) + " of layer " +
         area.name + " are not there; it has copies 0 to " + std::to_string(area.count - 1);
}

inline void check_recompute(const problem& posed, vector<std::string>& faults) {
  const auto& regions = posed.graph.regions;
  std::string layers;
  for (const region& area : regions) layers += (layers.empty() ? "" : ", ") + area.name;
  for (const recompute_rule& rule : posed.constraints.recompute) {
    const auto named = [&](const region& area) {
      return rule.layer.empty() ? may_recompute(area) : area.name == rule.layer;
    };
    if (std::none_of(regions.begin(), regions.end(), named)) {
      const std::string what = rule.layer.empty() ? "repeats no layer" : "has no layer '" + rule.layer + "'";
      faults.push_back("recompute: the model " + what + "; its layers are " + layers);
    }
    for (const region& area : regions) {
      const std::string fault = named(area) ? copies_fault(rule, area) : "";
      if (!fault.empty()) faults.push_back(fault);
    }
  }
}

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check(const problem& posed) {
  vector<std::string> faults;
  detail::check_mesh(posed, faults);
  detail::check_rules(posed, faults);
  detail::check_batch(posed, faults);
  detail::check_stages(posed, faults);
  detail::check_recompute(posed, faults);
  return faults;
}

}  // namespace meshloom
