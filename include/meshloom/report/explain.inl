// SPDX-License-Identifier: Apache-2.0
#include <meshloom/exec/simulate.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/program/place.hpp>
#include <meshloom/report/explain.hpp>
#include <meshloom/sharding/describe.hpp>

#include <algorithm>
#include <numeric>

namespace meshloom {
namespace detail {

/// "0", "0-3": consecutive numbers from `first` up to, but not with, `end`.
inline std::string range_text(std::int64_t first, std::int64_t end, std::string_view between) {
  return end - first == 1 ? sentence(first) : sentence(first, between, end - 1);
}

/// "embedding, repeat[0..2]"
inline std::string blocks_text(const graph& whole, const stage_plan& stage) {
  std::string text;
  std::int32_t before = 0;
  for (const region& area : whole.regions) {
    const std::int32_t first = std::max(stage.first_block - before, 0),
                       end = std::min(stage.end_block - before, area.count);
    before += area.count;
    if (first >= end) continue;
    const std::string copies = area.repeated ? "[" + range_text(first, end, "..") + "]" : "";
    text += (text.empty() ? "" : ", ") + area.name + copies;
  }
  return text;
}

inline std::string mesh_text(const stage_program& stage) {
  std::string text;
  for (std::size_t axis = 0; axis < stage.mesh_axes.size(); ++axis) {
    text += sentence(axis == 0 ? "" : " x ", stage.mesh_axes[axis], "=", stage.mesh.size[axis]);
  }
  return text.empty() ? "single" : text;
}

inline std::string spec_text(const graph& whole, const stage_plan& stage, const value& entry, const spec& layout) {
  std::vector<std::string_view> axes, mesh_axes(stage.mesh_axes.begin(), stage.mesh_axes.end());
  for (const axis_id axis : entry.axes) axes.push_back(whole.sizes[axis].name);
  return describe_spec(layout, axes, mesh_axes);
}

/// The specs of a node's results; the same one is said once.
inline std::string results_text(const graph& whole, const stage_plan& stage, node_id id) {
  std::vector<std::string> texts;
  for (std::size_t k = 0; k < whole.nodes[id].results.size(); ++k) {
    texts.push_back(
        spec_text(whole, stage, whole.values[whole.nodes[id].results[k]], result_spec_in(whole, stage, id, k)));
    if (std::find(texts.begin(), texts.end() - 1, texts.back()) != texts.end() - 1) texts.pop_back();
  }
  return joined(texts, "; ");
}

inline std::string without_prefix(const std::string& name, const std::string& prefix) {
  return name.size() > prefix.size() + 1 && name.starts_with(prefix + ".") ? name.substr(prefix.size() + 1) : name;
}

/// One row per fact about a layer's operator or parameter; stages of which the same is true share it.
struct layer_rows {
  struct fact {
    std::string layer, name;
    std::vector<std::string> texts;
    std::vector<std::size_t> stages;
  };
  std::vector<fact> facts;

  void add(const std::string& layer, const std::string& name, std::size_t stage,
           const std::vector<std::string>& texts) {
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
      std::vector<std::string> numbers;
      for (const std::size_t stage : each.stages) numbers.push_back(sentence(stage));
      std::vector<std::string> cells{new_layer ? each.layer : "", new_name ? each.name : "",
                                     each.stages.size() == stage_count ? "all" : joined(numbers, ",")};
      cells.insert(cells.end(), each.texts.begin(), each.texts.end());
      table.rows.push_back(std::move(cells));
      before = &each;
    }
  }
};

/// "4 x repeat": a layer, with its copies.
inline std::string layer_text(const region& area) {
  return area.repeated ? sentence(area.count, " x ", area.name) : area.name;
}

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

inline void count(std::vector<traffic>& all, traffic next) {
  for (traffic& known : all) {
    if (known.same(next)) {
      ++known.count;
      return;
    }
  }
  next.count = 1;
  all.push_back(std::move(next));
}

inline std::vector<traffic> traffic_of(const program& lowered, const cluster& machine) {
  std::vector<traffic> all;
  for (const stage_program& stage : lowered.stages) {
    const mesh_links links = links_of(machine, stage.mesh, stage.first_rank);
    for (const pass now : all_passes) {
      for (const instruction& at : body_of(stage, now)) {
        const bool moves =
            at.kind == instruction::exchange || (at.kind == instruction::redistribute && at.how != collective::slice);
        if (!moves) continue;
        const std::string what = without_copies(at.name) + (at.kind == instruction::exchange ? " (statistics)" : "");
        count(all, {std::string(name_of(at.how)), stage.mesh_axes[static_cast<std::size_t>(at.mesh_axis)], what,
                    now >= pass::reduce, bytes_of_collective(stage, at), price(stage, at, machine.device, links)});
      }
    }
  }
  for (const transfer& each : lowered.transfers) {
    const std::string over = sentence(each.route.from_stage, " to ", each.route.to_stage);
    count(all, {"send", over, without_copies(each.name), each.route.to >= pass::reduce, bytes_of_message(lowered, each),
                price(lowered, each, machine)});
  }
  return all;
}

/// What the fixed region of a stage holds.
struct fixed_memory {
  bytes parameters, state, gradients;  ///< the last with other sums over micro-batches
};

inline fixed_memory fixed_of(const graph& whole, const stage_program& stage) {
  fixed_memory held;
  for (const placed_value& each : stage.placed_values) {
    const bool trained = whole.values[each.what.value].kind == value_kind::parameter;
    (trained ? held.parameters : held.state) += stage.buffers[each.buffer].size;
  }
  held.gradients = stage.fixed - held.parameters - held.state;
  return held;
}

inline double share_of(picoseconds part, picoseconds all) { return all.count == 0 ? 0 : seconds(part) / seconds(all); }

/// The share of a step in which the average stage is not in a body.
inline double idle_share(const simulation& paper) {
  const picoseconds busy = std::accumulate(paper.busy_per_stage.begin(), paper.busy_per_stage.end(), picoseconds{});
  return 1 - share_of(busy, paper.step * static_cast<std::int64_t>(paper.busy_per_stage.size()));
}

}  // namespace detail

MESHLOOM_INLINE text_table stage_table(const graph& whole, const plan& made, const program& lowered) {
  text_table table{{{"stage", true}, {"ranks"}, {"mesh"}, {"blocks"}, {"slots", true}}, {}};
  for (std::size_t s = 0; s < lowered.stages.size(); ++s) {
    const stage_program& stage = lowered.stages[static_cast<stage_id>(s)];
    const std::string ranks = detail::range_text(stage.first_rank, stage.first_rank + stage.mesh.ranks(), "-");
    table.rows.push_back({sentence(s), ranks, detail::mesh_text(stage),
                          detail::blocks_text(whole, made.stages[static_cast<stage_id>(s)]), sentence(stage.slots)});
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
      const auto text_of = [&](const spec& layout) { return detail::spec_text(whole, stage, entry, layout); };
      std::vector<std::string> sums;
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
    const std::string times = each.per_step ? sentence(each.count) : sentence(each.count, " x ", rounds);
    table.rows.push_back({each.kind, each.over, each.value, describe_bytes(each.size), describe_time(each.time), times,
                          describe_time(each.time * (each.count * rounds))});
  }
  return table;
}

MESHLOOM_INLINE text_table memory_table(const graph& whole, const program& lowered, const cluster& machine) {
  text_table table{{{"stage", true},
                    {"parameters", true},
                    {"state", true},
                    {"sums", true},
                    {"kept", true},
                    {"x slots", true},
                    {"transient", true},
                    {"peak", true},
                    {"of device", true}},
                   {}};
  for (std::size_t s = 0; s < lowered.stages.size(); ++s) {
    const stage_program& stage = lowered.stages[static_cast<stage_id>(s)];
    const detail::fixed_memory held = detail::fixed_of(whole, stage);
    const double share = static_cast<double>(stage.peak().count) / static_cast<double>(machine.device.memory.count);
    table.rows.push_back({sentence(s), describe_bytes(held.parameters), describe_bytes(held.state),
                          describe_bytes(held.gradients), describe_bytes(stage.kept), sentence(stage.slots),
                          describe_bytes(stage.transient), describe_bytes(stage.peak()), describe_share(share)});
  }
  return table;
}

MESHLOOM_INLINE text_table time_table(const program& lowered, const cluster& machine) {
  text_table table{
      {{"stage", true}, {"operators", true}, {"collectives", true}, {"messages and waiting", true}, {"step", true}},
      {}};
  const simulation paper = simulate(lowered, machine);
  for (std::size_t s = 0; s < lowered.stages.size(); ++s) {
    const stage_program& stage = lowered.stages[static_cast<stage_id>(s)];
    picoseconds collectives;
    for (const event& each : paper.events) {
      if (each.rank != stage.first_rank || each.kind != action::run) continue;
      const instruction& at = body_of(stage, static_cast<pass>(each.index))[static_cast<std::size_t>(each.instruction)];
      if (at.kind == instruction::exchange || (at.kind == instruction::redistribute && at.how != collective::slice)) {
        collectives += each.end - each.begin;
      }
    }
    const picoseconds busy = paper.busy_per_stage[s];
    const auto cell = [&](picoseconds time) {
      return sentence(describe_time(time), " ", describe_share(detail::share_of(time, paper.step)));
    };
    table.rows.push_back(
        {sentence(s), cell(busy - collectives), cell(collectives), cell(paper.step - busy), describe_time(paper.step)});
  }
  return table;
}

MESHLOOM_INLINE std::string explain(const graph& whole, const plan& made, const program& lowered,
                                    const cluster& machine) {
  const auto stages = static_cast<int>(lowered.stages.size());
  const simulation paper = simulate(lowered, machine);
  std::string text = sentence(lowered.ranks, " ranks of ", machine.name, ", ", lowered.micro_batches,
                              " micro-batches, schedule ", name_of(made.schedule), "\n");
  text += sentence("a step: ", describe_time(made.predicted), " planned, ", describe_time(paper.step),
                   " simulated; a stage is idle ", describe_share(detail::idle_share(paper)),
                   " of it (equal stages: ", describe_share(bubble(stages, lowered.micro_batches)), ")\n");
  if (made.bound.count > 0) {
    text += sentence("no plan of the searched space takes less than ", describe_time(made.bound), ": ",
                     describe_share(detail::share_of(made.predicted - made.bound, made.predicted)), " below this one\n");
  }
  const auto add = [&text](std::string_view heading, const text_table& table) {
    if (!table.rows.empty()) text += sentence("\n", heading, "\n", render(table));
  };
  add("Stages", stage_table(whole, made, lowered));
  add("Layers", layer_table(whole, made));
  add("Parameters", parameter_table(whole, made));
  add("Traffic: collectives over mesh axes, messages from stage to stage; once per step, or n x micro-batches",
      traffic_table(lowered, machine));
  add("Memory of each rank", memory_table(whole, lowered, machine));
  add("Time of a simulated step", time_table(lowered, machine));
  return text;
}

}  // namespace meshloom
