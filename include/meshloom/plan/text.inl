// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/text.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/sharding/describe.hpp>

#include <algorithm>
#include <fstream>

namespace meshloom {
namespace detail {

inline std::string mesh_text(const stage_plan& stage) {
  if (stage.mesh.rank == 0) return " none";
  std::string text;
  const auto names = words_of_mesh(stage).words;
  for (std::size_t axis = 0; axis < names.size(); ++axis) {
    text += " " + names[axis] + "=" + std::to_string(stage.mesh.size[axis]);
  }
  return text;
}

inline std::string recompute_text(const stage_plan& stage, const vector<std::string>& block_words) {
  const auto again = std::count(stage.recompute.begin(), stage.recompute.end(), true);
  if (again == 0) return " none";
  if (again == stage.end_block - stage.first_block) return " all";
  std::string text = " only";
  for (std::size_t b = 0; b < stage.recompute.size(); ++b) {
    if (stage.recompute[b]) text += " " + block_words[static_cast<std::size_t>(stage.first_block) + b];
  }
  return text;
}

inline std::string parameter_text(const graph& whole, const stage_plan& stage, std::size_t p) {
  const value& entry = whole.values[whole.parameters[p].value];
  const parameter_plan& kept = stage.parameters[p];
  const word_list axes = words_of_axes(whole, entry.axes), mesh_axes = words_of_mesh(stage);
  const auto said = [&](const spec& layout) { return describe_spec(layout, axes.views(), mesh_axes.views()); };
  std::string text = word_of(entry.name) + ": stored " + said(kept.stored) + "; state " + said(kept.state);
  for (const spec& layout : kept.accumulated) text += "; accumulated " + said(layout);
  return text;
}

inline std::string operator_text(const graph& whole, const stage_plan& stage, node_id id) {
  const node& at = whole.nodes[id];
  const strategy& how = stage.strategies[id];
  vector<std::string> parts;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage.mesh.rank); ++axis) {
    parts.push_back(describe_row(whole, at, at.op->choices.rows[how.row[axis]]));
  }
  if (parts.empty()) parts.push_back("whole");
  const std::string order = describe_order(at, stage, how);
  if (!order.empty()) parts.push_back(order);
  return word_of(at.name) + ": " + joined(parts, " | ");
}

inline std::string stage_text(const graph& whole, const stage_plan& stage) {
  vector<std::string> blocks;
  for (const block& each : blocks_of(whole)) blocks.push_back(word_of(name_of(whole, each)));
  const auto first = static_cast<std::size_t>(stage.first_block), end = static_cast<std::size_t>(stage.end_block);
  std::string text = "  ranks " + std::to_string(stage.first_rank) + "+" + std::to_string(stage.mesh.ranks());
  text += "\n  mesh" + mesh_text(stage);
  text += "\n  blocks " + blocks[first] + " .. " + blocks[end - 1];
  text += "\n  recompute" + recompute_text(stage, blocks);
  for (std::size_t p = 0; p < stage.parameters.size(); ++p) {
    if (stage.parameters[p].used) text += "\n  parameter " + parameter_text(whole, stage, p);
  }
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (runs(whole, stage, id)) text += "\n  operator " + operator_text(whole, stage, id);
  }
  return text;
}

inline std::string head_text(const plan& made) {
  const auto said = [](picoseconds time) {
    return std::to_string(time.count) + "  # picoseconds: " + describe_time(time);
  };
  std::string text = "meshloom plan " + std::to_string(plan::version);
  text += "\nmodel " + hex_word(made.model) + "\nsizes";
  for (const axis_size& axis : made.sizes) text += " " + word_of(axis.name) + "=" + std::to_string(axis.extent);
  text += "\nranks " + std::to_string(made.ranks);
  text += "\nmicro_batches " + std::to_string(made.micro_batches);
  text += "\nschedule " + std::string(name_of(made.schedule));
  text += "\npredicted " + said(made.predicted);
  text += "\nbound " + (made.bound.count == 0 ? "0  # nothing is proven" : said(made.bound));
  if (made.runner_up) {
    const std::string shape = line_of(made.runner_up->shape), time = describe_time(made.runner_up->predicted);
    text += "\nrunner_up " + std::to_string(made.runner_up->predicted.count) + " " + shape + "  # " + time;
  }
  return text;
}

}  // namespace detail

MESHLOOM_INLINE std::string to_text(const graph& whole, const plan& made) {
  const std::string ambiguity = ambiguity_of(whole);
  if (!ambiguity.empty()) throw error("to_text: " + ambiguity);
  const auto faults = check(whole, made);
  if (!faults.empty()) throw error("to_text: " + faults.front() + "; write only a plan that check accepts");
  std::string text = detail::head_text(made);
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    text += "\n\nstage " + std::to_string(s) + "\n" + detail::stage_text(whole, made.stages[static_cast<stage_id>(s)]);
  }
  return text + "\n\nend\n";
}

MESHLOOM_INLINE void save_plan(const std::string& path, const graph& whole, const plan& made) {
  const std::string text = to_text(whole, made);
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file) throw error("save_plan: " + path + " cannot be written; check that its folder exists and has room");
}

}  // namespace meshloom
