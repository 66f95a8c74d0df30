// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/words.hpp>
#include <meshloom/program/place.hpp>
#include <meshloom/report/compare.hpp>
#include <meshloom/report/wording.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// The mesh axes of a stage by what they are, whatever they are called: how far apart their neighbours are, and how
/// many.
inline vector<std::string> nameless_axes(const stage_plan& stage) {
  vector<std::string> names;
  std::int32_t stride = stage.mesh.ranks();
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage.mesh.rank); ++axis) {
    stride /= stage.mesh.size[axis];
    names.push_back(sentence({stride, "*", stage.mesh.size[axis]}));
  }
  return names;
}

/// "data=2": the mesh axes of a stage with their sizes, for people.
inline vector<std::string> sized_axes(const stage_plan& stage) {
  vector<std::string> names;
  for (std::size_t axis = 0; axis < stage.mesh_axes.size(); ++axis) {
    names.push_back(sentence({stage.mesh_axes[axis], "=", stage.mesh.size[axis]}));
  }
  return names;
}

/// "split batch@data=2, partial 0@tensor=4", or "whole".
inline std::string strategy_text(const graph& whole, const stage_plan& stage, node_id id,
                                 const vector<std::string>& mesh_axes) {
  const node& at = whole.nodes[id];
  std::string text, order;
  for (std::size_t axis = 0; axis < mesh_axes.size(); ++axis) {
    const choice& row = at.op->choices.rows[stage.strategies[id].row[axis]];
    if (row.kind == choice::whole || stage.mesh.size[axis] == 1) continue;
    text += sentence({text.empty() ? "" : ", ", describe_row(whole, at, row), "@", mesh_axes[axis]});
  }
  for (const std::int8_t axis : shared_cuts(at.op->choices, stage.mesh.rank, stage.strategies[id])) {
    order += sentence({order.empty() ? " in order " : ">", mesh_axes[static_cast<std::size_t>(axis)]});
  }
  return text.empty() ? "whole" : text + order;
}

/// "stored whole, updated split(vocab@data=2), summed partial(sum@data=2)"
inline std::string storage_text(const graph& whole, const stage_plan& stage, std::size_t p,
                                const vector<std::string>& mesh_axes) {
  const value& entry = whole.values[whole.parameters[p].value];
  const parameter_plan& kept = stage.parameters[p];
  const auto text_of = [&](const spec& layout) { return spec_text(whole, entry, layout, mesh_axes); };
  vector<std::string> sums;
  for (const spec& layout : kept.accumulated) {
    if (std::find(sums.begin(), sums.end(), text_of(layout)) == sums.end()) sums.push_back(text_of(layout));
  }
  return "stored " + text_of(kept.stored) + ", updated " + text_of(kept.state) + ", summed " + joined(sums, " and ");
}

/// What a plan does to an operator or parameter.
struct treatment {
  vector<std::string> by_copy;  ///< without names of mesh axes
  std::string said;             ///< for people: one text, or one per group of stages
};

/// `describe(stage, mesh_axes)`: what a stage does, in words. `areas`: the regions whose copies have it.
template <class Describe>
treatment treatment_in(const graph& whole, const plan& made, const vector<region_id>& areas, const Describe& describe) {
  treatment all;
  vector<std::pair<std::string, vector<std::size_t>>> groups;
  for (const region_id area : areas) {
    for (std::int32_t copy = 0; copy < whole.regions[area].count; ++copy) {
      const std::size_t s = index_of(stage_of(made, block_number(whole, {area, copy})));
      const stage_plan& stage = made.stages[static_cast<stage_id>(s)];
      all.by_copy.push_back(describe(stage, nameless_axes(stage)));
      const std::string text = describe(stage, sized_axes(stage));
      const auto same = [&](const auto& group) { return group.first == text; };
      auto group = std::find_if(groups.begin(), groups.end(), same);
      if (group == groups.end()) group = groups.insert(group, {text, {}});
      if (std::count(group->second.begin(), group->second.end(), s) == 0) group->second.push_back(s);
    }
  }
  for (const auto& [text, stages] : groups) {
    const std::string where = groups.size() == 1 ? "" : "stage " + numbers_text(stages) + ": ";
    all.said += (all.said.empty() ? "" : "; ") + where + text;
  }
  return all;
}

/// Differences under their layer; those that are alike share a row.
class difference_rows {
 public:
  void add(const std::string& layer, const std::string& name, const treatment& a, const treatment& b) {
    if (a.by_copy == b.by_copy) return;
    const std::string in_b = a.said == b.said ? "the same, on other ranks or copies" : b.said;
    for (auto& row : rows_) {
      if (row[0] != layer || row[2] != a.said || row[3] != in_b) continue;
      row[1] += ", " + name;
      return;
    }
    rows_.push_back({layer, name, a.said, in_b});
  }

  /// A layer is said in its first row only.
  text_table table(const char* what) const {
    text_table made{{{"layer"}, {what}, {"a"}, {"b"}}, rows_};
    for (std::size_t row = made.rows.size(); row-- > 1;) {
      if (made.rows[row][0] == made.rows[row - 1][0]) made.rows[row][0].clear();
    }
    return made;
  }

 private:
  vector<vector<std::string>> rows_;
};

/// "+3.1 %": by which share b is more than a.
inline std::string change_text(std::int64_t a, std::int64_t b) {
  if (a == b) return "";
  if (a == 0) return "new";
  const double share = (static_cast<double>(b) - static_cast<double>(a)) / static_cast<double>(a);
  return (share > 0 ? "+" : "") + describe_share(share);
}

inline void add_times(text_table& table, std::string what, picoseconds a, picoseconds b) {
  if (a.count == 0 && b.count == 0) return;
  table.rows.push_back({std::move(what), describe_time(a), describe_time(b), change_text(a.count, b.count)});
}

inline void add_bytes(text_table& table, std::string what, bytes a, bytes b) {
  table.rows.push_back({std::move(what), describe_bytes(a), describe_bytes(b), change_text(a.count, b.count)});
}

inline const stage_breakdown& fullest(const breakdown& parts) {
  return *std::max_element(parts.stages.begin(), parts.stages.end(),
                           [](const auto& a, const auto& b) { return a.peak() < b.peak(); });
}

}  // namespace detail

MESHLOOM_INLINE text_table cost_comparison(const plan& a, const breakdown& parts_a, const plan& b,
                                           const breakdown& parts_b) {
  text_table table{{{""}, {"a", true}, {"b", true}, {"b against a", true}}, {}};
  table.rows.push_back({"micro-batches", sentence({a.micro_batches}), sentence({b.micro_batches}), ""});
  table.rows.push_back({"schedule", std::string(name_of(a.schedule)), std::string(name_of(b.schedule)), ""});
  detail::add_times(table, "step, predicted", a.predicted, b.predicted);
  const auto proven = [](const plan& made) { return made.bound.count > 0 ? describe_time(made.bound) : "not proven"; };
  table.rows.push_back({"no plan takes less than", proven(a), proven(b), ""});
  detail::add_times(table, "step, simulated", parts_a.step, parts_b.step);
  const work_times mean_a = mean_times(parts_a), mean_b = mean_times(parts_b);
  for (std::size_t kind = 0; kind < work_count; ++kind) {
    const std::string what = "  " + std::string(name_of(static_cast<work>(kind)));
    detail::add_times(table, what, mean_a.of[kind], mean_b.of[kind]);
  }
  const stage_breakdown &most_a = detail::fullest(parts_a), &most_b = detail::fullest(parts_b);
  detail::add_bytes(table, "memory of the fullest rank", most_a.peak(), most_b.peak());
  detail::add_bytes(table, "  parameters", most_a.parameters, most_b.parameters);
  detail::add_bytes(table, "  state", most_a.state, most_b.state);
  detail::add_bytes(table, "  sums", most_a.sums, most_b.sums);
  detail::add_bytes(table, "  kept", most_a.kept * most_a.slots, most_b.kept * most_b.slots);
  detail::add_bytes(table, "  transient", most_a.transient, most_b.transient);
  return table;
}

MESHLOOM_INLINE text_table stage_comparison(const graph& whole, const plan& a, const plan& b) {
  text_table table{{{"stage", true}, {"a"}, {"b"}}, {}};
  const auto text_in = [&](const plan& made, std::size_t s) {
    if (s >= made.stages.size()) return std::string();
    const stage_plan& stage = made.stages[static_cast<stage_id>(s)];
    const std::string again = recomputes(stage) ? "; recomputes " + detail::recomputed_text(whole, stage) : "";
    return sentence({"ranks ", detail::ranks_text(stage), ", ", detail::grid_text(stage), ": ",
                     detail::blocks_text(whole, stage), again});
  };
  for (std::size_t s = 0; s < std::max(a.stages.size(), b.stages.size()); ++s) {
    table.rows.push_back({sentence({s}), text_in(a, s), text_in(b, s)});
  }
  return table;
}

MESHLOOM_INLINE text_table operator_comparison(const graph& whole, const plan& a, const plan& b) {
  detail::difference_rows rows;
  for (std::size_t r = 0; r < whole.regions.size(); ++r) {
    const auto area = static_cast<region_id>(r);
    const region& here = whole.regions[area];
    for (const phase when : {phase::forward, phase::backward}) {
      for (const node_id id : nodes_of(whole, area, when)) {
        const auto text = [&](const stage_plan& stage, const vector<std::string>& mesh_axes) {
          return detail::strategy_text(whole, stage, id, mesh_axes);
        };
        rows.add(detail::layer_text(here), detail::without_prefix(whole.nodes[id].name, here.name),
                 detail::treatment_in(whole, a, {area}, text), detail::treatment_in(whole, b, {area}, text));
      }
    }
  }
  return rows.table("operators");
}

MESHLOOM_INLINE text_table parameter_comparison(const graph& whole, const plan& a, const plan& b) {
  detail::difference_rows rows;
  for (std::size_t p = 0; p < whole.parameters.size(); ++p) {
    const value& entry = whole.values[whole.parameters[p].value];
    const region& home = whole.regions[entry.region];
    vector<region_id> readers;
    for (const node& at : whole.nodes) {
      const bool reads =
          at.when != phase::update && std::count(at.operands.begin(), at.operands.end(), whole.parameters[p].value) > 0;
      const bool known = std::count(readers.begin(), readers.end(), at.region) > 0;
      if (reads && !known) readers.push_back(at.region);
    }
    const auto text = [&](const stage_plan& stage, const vector<std::string>& mesh_axes) {
      return detail::storage_text(whole, stage, p, mesh_axes);
    };
    rows.add(detail::layer_text(home), detail::without_prefix(entry.name, home.name),
             detail::treatment_in(whole, a, readers, text), detail::treatment_in(whole, b, readers, text));
  }
  return rows.table("parameters");
}

MESHLOOM_INLINE std::string compare(const problem& posed, const plan& a, const plan& b) {
  const verdict judged_a = evaluate(posed, a), judged_b = evaluate(posed, b);
  std::string text = sentence({"Plans a and b for ", posed.cluster.ranks(), " ranks of ", posed.cluster.name, "\n"});
  detail::add_table(text, "Violations of a", detail::violation_table(judged_a.violations));
  detail::add_table(text, "Violations of b", detail::violation_table(judged_b.violations));
  if (!judged_a.parts || !judged_b.parts) return text;
  detail::add_table(text, "Cost: work of the average rank, memory of the fullest",
                    cost_comparison(a, *judged_a.parts, b, *judged_b.parts));
  detail::add_table(text, "Stages", stage_comparison(posed.graph, a, b));
  const text_table operators = operator_comparison(posed.graph, a, b),
                   parameters = parameter_comparison(posed.graph, a, b);
  detail::add_table(text, "Operators that are split in another way", operators);
  detail::add_table(text, "Parameters that are kept in another way", parameters);
  if (operators.rows.empty() && parameters.rows.empty()) text += "\nEvery operator and parameter is split alike.\n";
  return text;
}

}  // namespace meshloom
