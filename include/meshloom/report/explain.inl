// SPDX-License-Identifier: Apache-2.0
#include <meshloom/exec/simulate.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/planner/space.hpp>
#include <meshloom/program/place.hpp>
#include <meshloom/report/evaluate.hpp>
#include <meshloom/report/explain.hpp>
#include <meshloom/report/space.hpp>
#include <meshloom/report/wording.hpp>

#include <algorithm>
#include <cmath>

namespace meshloom {
namespace detail {

/// The specs of a node's results; the same one is said once.
inline std::string results_text(const graph& whole, const stage_plan& stage, node_id id) {
  vector<std::string> texts;
  for (std::size_t k = 0; k < whole.nodes[id].results.size(); ++k) {
    texts.push_back(spec_text(whole, whole.values[whole.nodes[id].results[k]], result_spec_in(whole, stage, id, k),
                              stage.mesh_axes));
    if (std::find(texts.begin(), texts.end() - 1, texts.back()) != texts.end() - 1) texts.pop_back();
  }
  return joined(texts, "; ");
}

/// One row per fact about a layer's operator or parameter; stages of which the same is true share it.
struct layer_rows {
  struct fact {
    std::string layer, name;
    vector<std::string> texts;
    vector<std::size_t> stages;
  };
  vector<fact> facts;

  void add(const std::string& layer, const std::string& name, std::size_t stage, const vector<std::string>& texts) {
    for (fact& known : facts) {
      if (known.layer == layer && known.name == name && known.texts == texts) return known.stages.push_back(stage);
    }
    facts.push_back({layer, name, texts, {stage}});
  }

  /// A layer and a name are said in their first row only.
  void append_to(text_table& table, std::size_t stage_count) const {
    const fact* before = nullptr;
    for (const fact& each : facts) {
      const bool new_layer = before == nullptr || before->layer != each.layer;
      const bool new_name = new_layer || before->name != each.name;
      vector<std::string> cells{new_layer ? each.layer : "", new_name ? each.name : "",
                                each.stages.size() == stage_count ? "all" : numbers_text(each.stages)};
      cells.insert(cells.end(), each.texts.begin(), each.texts.end());
      table.rows.push_back(std::move(cells));
      before = &each;
    }
  }
};

/// "repeat[3].linear.dot" as "repeat.linear.dot": what copies of a layer have in common.
inline std::string without_copies(const std::string& name) {
  std::string common;
  for (std::size_t at = 0; at < name.size(); ++at) {
    const std::size_t close = name[at] == '[' ? name.find(']', at) : std::string::npos;
    const bool number =
        close != std::string::npos && close > at + 1 &&
        std::all_of(name.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                    name.begin() + static_cast<std::ptrdiff_t>(close), [](char c) { return c >= '0' && c <= '9'; });
    if (number) {
      at = close;
    } else {
      common += name[at];
    }
  }
  return common;
}

/// One kind of traffic.
struct traffic {
  std::string kind, over, value;
  bool per_step = false;
  bytes size;
  picoseconds time;
  std::int64_t count = 0;

  bool same(const traffic& other) const {
    return kind == other.kind && over == other.over && value == other.value && per_step == other.per_step &&
           size == other.size && time == other.time;
  }
};

inline void count(vector<traffic>& all, traffic next) {
  for (traffic& known : all) {
    if (known.same(next)) {
      ++known.count;
      return;
    }
  }
  next.count = 1;
  all.push_back(std::move(next));
}

inline vector<traffic> traffic_of(const program& lowered, const cluster& machine) {
  vector<traffic> all;
  for (const stage_program& stage : lowered.stages) {
    const mesh_links links = links_of(machine, stage.mesh, stage.first_rank);
    const device& on = device_of(machine, stage.first_rank);
    for (const pass now : all_passes) {
      for (const instruction& at : body_of(stage, now)) {
        if (at.kind == instruction::total) {
          count(all, {std::string(name_of(collective::all_reduce)),
                      "all ranks",
                      at.name,
                      true,
                      {size_of(lowered.precision)},
                      total_price(machine, lowered.precision)});
        }
        const bool moves =
            at.kind == instruction::exchange || (at.kind == instruction::redistribute && at.how != collective::slice);
        if (!moves) continue;
        const std::string what = without_copies(at.name) + (at.kind == instruction::exchange ? " (statistics)" : "");
        count(all, {std::string(name_of(at.how)), stage.mesh_axes[static_cast<std::size_t>(at.mesh_axis)], what,
                    now >= pass::reduce, bytes_of_collective(stage, at), price(stage, at, on, links)});
      }
    }
  }
  for (const transfer& each : lowered.transfers) {
    const std::string over = sentence({each.route.from_stage, " to ", each.route.to_stage});
    count(all, {"send", over, without_copies(each.name), each.route.to >= pass::reduce, bytes_of_message(lowered, each),
                price(lowered, each, machine)});
  }
  return all;
}

}  // namespace detail

MESHLOOM_INLINE text_table stage_table(const graph& whole, const plan& made, const program& lowered) {
  text_table table{{{"stage", true}, {"ranks"}, {"mesh"}, {"blocks"}, {"slots", true}}, {}};
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const stage_plan& stage = made.stages[static_cast<stage_id>(s)];
    table.rows.push_back({sentence({s}), detail::ranks_text(stage), detail::grid_text(stage),
                          detail::blocks_text(whole, stage),
                          sentence({lowered.stages[static_cast<stage_id>(s)].slots})});
  }
  if (std::none_of(made.stages.begin(), made.stages.end(), recomputes)) return table;
  table.columns.push_back({"recompute"});
  for (std::size_t s = 0; s < made.stages.size(); ++s)
    table.rows[s].push_back(detail::recomputed_text(whole, made.stages[static_cast<stage_id>(s)]));
  return table;
}

MESHLOOM_INLINE text_table group_table(const cluster& machine) {
  text_table table{{{"group", true}, {"ranks"}, {"hosts", true}, {"device"}, {"memory", true}}, {}};
  for (const placed_group& each : groups_of(machine)) {
    const cluster& hosts = each.alone;
    table.rows.push_back({sentence({each.number + 1}), sentence({each.first_rank, " to ", each.end_rank() - 1}),
                          sentence({hosts.hosts, " x ", hosts.devices_per_host}), hosts.device.name,
                          describe_bytes(hosts.device.memory)});
  }
  return table;
}

MESHLOOM_INLINE text_table layer_table(const graph& whole, const plan& made) {
  text_table table{{{"layer"}, {"operator"}, {"stages"}, {"result"}}, {}};
  detail::layer_rows rows;
  for (std::size_t r = 0; r < whole.regions.size(); ++r) {
    const auto area = static_cast<region_id>(r);
    const region& here = whole.regions[area];
    for (const node_id id : nodes_of(whole, area, phase::forward)) {
      for (std::size_t s = 0; s < made.stages.size(); ++s) {
        const stage_plan& stage = made.stages[static_cast<stage_id>(s)];
        if (!runs(whole, stage, id)) continue;
        rows.add(detail::layer_text(here), detail::without_prefix(whole.nodes[id].name, here.name), s,
                 {detail::results_text(whole, stage, id)});
      }
    }
  }
  rows.append_to(table, made.stages.size());
  return table;
}

MESHLOOM_INLINE text_table parameter_table(const graph& whole, const plan& made) {
  text_table table{{{"layer"}, {"parameter"}, {"stages"}, {"stored"}, {"updated"}, {"gradients summed"}}, {}};
  detail::layer_rows rows;
  for (std::size_t p = 0; p < whole.parameters.size(); ++p) {
    const value& entry = whole.values[whole.parameters[p].value];
    const region& here = whole.regions[entry.region];
    for (std::size_t s = 0; s < made.stages.size(); ++s) {
      const stage_plan& stage = made.stages[static_cast<stage_id>(s)];
      const parameter_plan& kept = stage.parameters[p];
      if (!kept.used) continue;
      const auto text_of = [&](const spec& layout) { return detail::spec_text(whole, entry, layout, stage.mesh_axes); };
      vector<std::string> sums;
      for (const spec& layout : kept.accumulated) {
        if (std::find(sums.begin(), sums.end(), text_of(layout)) == sums.end()) sums.push_back(text_of(layout));
      }
      const std::string stored = text_of(kept.stored), updated = text_of(kept.state),
                        summed = detail::joined(sums, "; ");
      rows.add(detail::layer_text(here), detail::without_prefix(entry.name, here.name), s,
               {stored, updated == stored ? "as stored" : updated, summed == updated ? "as updated" : summed});
    }
  }
  rows.append_to(table, made.stages.size());
  return table;
}

MESHLOOM_INLINE text_table traffic_table(const program& lowered, const cluster& machine) {
  text_table table{{{"what"}, {"over"}, {"value"}, {"bytes", true}, {"time", true}, {"times", true}, {"in all", true}},
                   {}};
  for (const detail::traffic& each : detail::traffic_of(lowered, machine)) {
    const std::int32_t rounds = each.per_step ? 1 : lowered.micro_batches;
    const std::string times = each.per_step ? sentence({each.count}) : sentence({each.count, " x ", rounds});
    table.rows.push_back({each.kind, each.over, each.value, describe_bytes(each.size), describe_time(each.time), times,
                          describe_time(each.time * (each.count * rounds))});
  }
  return table;
}

MESHLOOM_INLINE text_table step_table(const plan& made, const breakdown& parts, std::optional<picoseconds> free_bound) {
  text_table table{{{"step"}, {"time", true}, {""}}, {}};
  const auto share = [&](picoseconds part) { return describe_share(detail::share_of(part, made.predicted)); };
  table.rows.push_back({"predicted", describe_time(made.predicted), "operators, collectives and messages"});
  table.rows.push_back({"simulated", describe_time(parts.step), "with copies, and messages that hold up both ends"});
  if (made.bound.count > 0) {
    table.rows.push_back({"bound", describe_time(made.bound),
                          "no plan of the searched space takes less: a gap of " + share(made.predicted - made.bound)});
  }
  if (free_bound) {
    const picoseconds more = made.predicted - *free_bound;
    const std::string far = describe_share(std::abs(detail::share_of(more, *free_bound)));
    table.rows.push_back(
        {"free bound", describe_time(*free_bound),
         sentence({"this plan is ", far, more.count < 0 ? " below" : " above", " the bound of the free space, ",
                   more.count < 0 ? "so not of that space" : "in which nothing is said"})});
  }
  if (made.runner_up) {
    const alternative& next = *made.runner_up;
    table.rows.push_back({"runner-up", describe_time(next.predicted),
                          sentence({line_of(next.shape), ": ", share(next.predicted - made.predicted), " more"})});
  }
  return table;
}

MESHLOOM_INLINE std::string explain(const problem& posed, const plan& made, std::optional<picoseconds> free_bound) {
  const verdict judged = evaluate(posed, made);
  std::string text;
  detail::add_table(text, "Violations", detail::violation_table(judged.violations));
  if (!judged.parts) return text;
  const program& lowered = judged.lowered;
  vector<bytes> memory;
  for (const stage_plan& stage : made.stages) memory.push_back(device_of(posed.cluster, stage.first_rank).memory);
  const bool alike = std::count(memory.begin(), memory.end(), memory.front()) == std::ssize(memory);
  const double waiting = detail::share_of(mean_times(*judged.parts)[work::waiting], judged.parts->step);
  text += sentence({text.empty() ? "" : "\n", made.ranks, " ranks of ", posed.cluster.name, ", ", made.micro_batches,
                    " micro-batches, schedule ", name_of(made.schedule), "; a rank waits ", describe_share(waiting),
                    " of a step\n(", describe_share(bubble(static_cast<int>(made.stages.size()), made.micro_batches)),
                    " if stages were equal and messages free)\n"});
  plan priced = made;
  if (priced.predicted.count == 0) priced.predicted = judged.recounted;
  detail::add_table(text, "A step", step_table(priced, *judged.parts, free_bound));
  const bool searched = made.bound.count > 0 && posed.constraints.automatic;
  if (searched) detail::add_table(text, "The space that was searched, of which the bound speaks", space_table(posed));
  if (free_bound && !(searched && is_free(posed)))
    detail::add_table(text, "The free space: nothing is said but by the model itself", space_table(freed(posed)));
  if (!posed.cluster.others.empty())
    detail::add_table(text, "Groups of hosts; a stage stands on one", group_table(posed.cluster));
  detail::add_table(text, "Stages", stage_table(posed.graph, made, lowered));
  detail::add_table(text, "Layers", layer_table(posed.graph, made));
  detail::add_table(text, "Parameters", parameter_table(posed.graph, made));
  detail::add_table(
      text, "Traffic: collectives over mesh axes, messages from stage to stage; once per step, or n x micro-batches",
      traffic_table(lowered, posed.cluster));
  detail::add_table(
      text, "Memory of each rank, of " + (alike ? "the " + describe_bytes(memory.front()) : "that") + " of its device",
      memory_table(*judged.parts, memory));
  detail::add_table(text, "Time of a simulated step, by kind of work", work_table(*judged.parts));
  return text;
}

}  // namespace meshloom
