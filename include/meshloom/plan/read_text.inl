// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/readable.hpp>
#include <meshloom/plan/text.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/sharding/describe.hpp>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>

namespace meshloom {
namespace detail {

/// The parts of a text between separators, without the spaces around them.
inline vector<std::string_view> parts_of(std::string_view text, std::string_view separator) {
  vector<std::string_view> parts;
  for (std::size_t end = 0; end != std::string_view::npos;) {
    end = text.find(separator);
    std::string_view part = text.substr(0, end);
    part.remove_prefix(std::min(part.find_first_not_of(" \t"), part.size()));
    parts.push_back(part.substr(0, part.find_last_not_of(" \t") + 1));
    if (end != std::string_view::npos) text.remove_prefix(end + separator.size());
  }
  return parts;
}

inline std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

/// Reads a plan line by line and stops at the first fault.
class plan_reader {
 public:
  plan_reader(std::string_view text, const graph& whole, std::int32_t ranks)
      : rest_(text), whole_(whole), ranks_(ranks) {
    for (const axis_size& axis : whole.sizes) axes_.push_back(word_of(axis.name));
    for (const block& each : blocks_of(whole)) blocks_.push_back(word_of(name_of(whole, each)));
    for (const parameter& each : whole.parameters) parameters_.push_back(word_of(whole.values[each.value].name));
    for (const node& at : whole.nodes) operators_.push_back(word_of(at.name));
  }

  result<plan> read() {
    next_line();
    bool good = read_version() && read_model() && read_sizes() && read_totals();
    while (good && key_ == "stage") good = read_stage();
    if (!good || !read_end()) return failure{fault_};
    const auto faults = check(whole_, made_);
    if (!faults.empty()) return failure{readable("plan: " + faults.front() + "; correct the text, or solve again")};
    return std::move(made_);
  }

 private:
  using word_table = vector<std::string>;

  // --- lines

  /// Moves to the next line that says something: a key, and what follows it. A comment is what follows a #.
  void next_line() {
    for (key_ = {}; key_.empty() && !rest_.empty(); ++line_) {
      const std::size_t end = std::min(rest_.find('\n'), rest_.size());
      std::string_view text = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      if (text.ends_with('\r')) text.remove_suffix(1);
      text = parts_of(text, "#").front();
      key_ = text.substr(0, text.find_first_of(" \t"));
      said_ = parts_of(text.substr(key_.size()), "\n").front();
    }
  }

  bool fail(const std::string& sentence) {
    fault_ = readable("plan, line " + std::to_string(line_) + ": " + sentence);
    return false;
  }

  bool key_is(std::string_view key, std::string_view other = "") {
    if (key_ == key) return true;
    const std::string wanted = quoted(key) + (other.empty() ? "" : " or " + quoted(other));
    if (key_.empty()) return fail("the text stops here, where " + wanted + " should follow; get the missing part");
    return fail("expected " + wanted + ", found " + quoted(key_) +
                "; keep the lines of a written plan, in their order");
  }

  bool read_number(std::string_view word, std::int64_t lowest, std::int64_t highest, std::int64_t& number) {
    const auto [end, fault] = std::from_chars(word.data(), word.data() + word.size(), number);
    const bool read = fault == std::errc{} && end == word.data() + word.size();
    if (read && number >= lowest && number <= highest) return true;
    return fail(quoted(word) + " does not do; write a whole number from " + std::to_string(lowest) + " to " +
                std::to_string(highest));
  }

  /// The line `key number`.
  template <class Number>
  bool read_line(std::string_view key, std::int64_t lowest, Number& number) {
    std::int64_t read = 0;
    if (!key_is(key) || !read_number(said_, lowest, std::numeric_limits<Number>::max(), read)) return false;
    number = static_cast<Number>(read);
    next_line();
    return true;
  }

  /// The number of a word among words [first, end), or `end`.
  static std::size_t find_word(const word_table& words, std::string_view word, std::size_t first, std::size_t end) {
    while (first < end && words[first] != word) ++first;
    return first;
  }

  // --- the head

  bool read_version() {
    const std::string wanted = "plan " + std::to_string(plan::version);
    if (key_ != "meshloom" || !said_.starts_with("plan ")) {
      return fail("this is no plan; a plan begins with the line 'meshloom " + wanted + "'");
    }
    if (said_ != wanted) {
      return fail("this is " + quoted(said_) + ", and only " + quoted(wanted) + " can be read; solve again");
    }
    next_line();
    return true;
  }

  bool read_model() {
    if (!key_is("model")) return false;
    made_.model = hash_of(whole_);
    const std::string here = hex_word(made_.model);
    if (said_ != here) {
      return fail("the plan belongs to another model, " + quoted(said_) + "; this one is " + quoted(here) +
                  ", solve again for it");
    }
    next_line();
    return true;
  }

  bool read_sizes() {
    if (!key_is("sizes")) return false;
    vector<bool> seen(axes_.size());
    for (const std::string_view part : parts_of(said_, " ")) {
      const std::string_view word = part.substr(0, part.find('='));
      const std::size_t axis = find_word(axes_, word, 0, axes_.size());
      if (axis == axes_.size()) return fail("the model has no axis " + quoted(word) + "; remove it");
      if (seen[axis]) return fail("axis " + quoted(word) + " is given twice; remove one");
      seen[axis] = true;
      if (!read_size(axis, part.substr(std::min(word.size() + 1, part.size())))) return false;
    }
    const auto missing = static_cast<std::size_t>(std::find(seen.begin(), seen.end(), false) - seen.begin());
    if (missing < axes_.size()) return fail("axis " + quoted(axes_[missing]) + " has no size; add it");
    made_.sizes = whole_.sizes;
    next_line();
    return true;
  }

  bool read_size(std::size_t axis, std::string_view word) {
    const std::int64_t here = whole_.sizes[static_cast<axis_id>(axis)].extent;
    std::int64_t extent = 0;
    if (!read_number(word, 0, std::numeric_limits<std::int64_t>::max(), extent)) return false;
    if (extent == here) return true;
    return fail("the plan is for " + axes_[axis] + "=" + std::to_string(extent) + ", but the model has " + axes_[axis] +
                "=" + std::to_string(here) + "; solve again for these sizes");
  }

  bool read_totals() {
    std::int64_t ranks = 0;
    if (!key_is("ranks") || !read_number(said_, 1, std::numeric_limits<std::int32_t>::max(), ranks)) return false;
    if (ranks != ranks_) {
      return fail("the plan is for " + std::to_string(ranks) + " ranks, but there are " + std::to_string(ranks_) +
                  "; solve again for them");
    }
    made_.ranks = ranks_;
    next_line();
    if (!read_line("micro_batches", 1, made_.micro_batches) || !key_is("schedule")) return false;
    const auto schedule = schedule_named(said_);
    if (!schedule) return fail("there is no schedule " + quoted(said_) + "; write forward, gpipe or 1f1b");
    made_.schedule = *schedule;
    next_line();
    return read_line("predicted", 0, made_.predicted.count) && read_line("bound", 0, made_.bound.count) &&
           (key_ != "runner_up" || read_runner_up());
  }

  /// Picoseconds, then what it looks like. Only plans that were chosen among others have such a line.
  bool read_runner_up() {
    const std::string_view time = said_.substr(0, said_.find_first_of(" \t"));
    const auto shape = text_of_line(parts_of(said_.substr(time.size()), "\n").front());
    alternative next;
    if (!read_number(time, 0, std::numeric_limits<std::int64_t>::max(), next.predicted.count)) return false;
    if (!shape) return fail(quoted(said_) + " is no runner-up; write \\5c for a backslash, and no control characters");
    next.shape = *shape;
    made_.runner_up = std::move(next);
    next_line();
    return true;
  }

  bool read_end() {
    if (!key_is("end", "stage")) return false;
    next_line();
    return key_.empty() || fail("the text goes on after its end; remove what follows");
  }

  // --- stages

  bool read_stage() {
    const std::string number = std::to_string(made_.stages.size());
    if (said_ != number) {
      return fail("expected 'stage " + number + "', found 'stage " + std::string(said_) + "'; number stages from 0");
    }
    name_ = "stage " + number;
    stage_ = {};
    stage_.strategies = table<node_id, strategy>(operators_.size());
    stage_.parameters.resize(parameters_.size());
    said_operators_.assign(operators_.size(), false);
    next_line();
    if (!read_ranks() || !read_blocks() || !read_recompute()) return false;
    for (; key_ == "parameter" || key_ == "operator"; next_line()) {
      if (!(key_ == "parameter" ? read_parameter() : read_operator())) return false;
    }
    const bool ended = key_ == "stage" || key_is("end", "stage");
    if (!ended || !all_said()) return false;
    made_.stages.add(std::move(stage_));
    return true;
  }

  bool read_ranks() {
    if (!key_is("ranks")) return false;
    const auto parts = parts_of(said_, "+");
    std::int64_t first = 0, count = 0;
    if (parts.size() != 2) return fail(quoted(said_) + " are no ranks; write the first and how many, as in 0+4");
    if (!read_number(parts[0], 0, ranks_ - 1, first) || !read_number(parts[1], 1, ranks_ - first, count)) return false;
    stage_.first_rank = static_cast<std::int32_t>(first);
    next_line();
    if (!key_is("mesh")) return false;
    if (said_ != "none" && !read_mesh(count)) return false;
    if (stage_.mesh.ranks() != count) {
      return fail("the mesh has " + std::to_string(stage_.mesh.ranks()) + " ranks, but the stage has " +
                  std::to_string(count) + "; make them equal");
    }
    next_line();
    return true;
  }

  bool read_mesh(std::int64_t ranks) {
    for (const std::string_view part : parts_of(said_, " ")) {
      const std::size_t equals = std::min(part.find('='), part.size());
      const auto name = name_of_word(part.substr(0, equals));
      if (!name || equals == part.size()) {
        return fail(quoted(part) + " is no mesh axis; write none, or name=size, as in data=4");
      }
      if (stage_.mesh.rank == max_mesh_rank) {
        return fail("a mesh has at most " + std::to_string(max_mesh_rank) + " axes; remove the rest");
      }
      auto& names = stage_.mesh_axes;
      if (std::find(names.begin(), names.end(), *name) != names.end()) {
        return fail("mesh axis " + *name + " is given twice; remove one");
      }
      std::int64_t size = 0;
      if (!read_number(part.substr(equals + 1), 1, ranks, size)) return false;
      ranks /= size;
      names.push_back(*name);
      stage_.mesh.size[static_cast<std::size_t>(stage_.mesh.rank++)] = static_cast<std::int32_t>(size);
    }
    return true;
  }

  bool read_block(std::string_view word, std::size_t first, std::size_t end, std::size_t& number) {
    number = find_word(blocks_, word, first, end);
    if (number < end) return true;
    const std::string these = first < end ? " from " + blocks_[first] + " to " + blocks_[end - 1] : "";
    return fail("there is no block " + quoted(word) + these + "; name one of these");
  }

  bool read_blocks() {
    if (!key_is("blocks")) return false;
    const auto parts = parts_of(said_, " .. ");
    std::size_t first = 0, last = 0;
    if (parts.size() != 2) {
      return fail(quoted(said_) + " are no blocks; write the first and the last, as in embedding .. repeat[3]");
    }
    if (!read_block(parts[0], 0, blocks_.size(), first) || !read_block(parts[1], first, blocks_.size(), last)) {
      return false;
    }
    stage_.first_block = static_cast<std::int32_t>(first);
    stage_.end_block = static_cast<std::int32_t>(last + 1);
    next_line();
    return true;
  }

  bool read_recompute() {
    if (!key_is("recompute")) return false;
    const auto first = static_cast<std::size_t>(stage_.first_block), end = static_cast<std::size_t>(stage_.end_block);
    stage_.recompute.assign(end - first, said_ == "all");
    const auto parts = parts_of(said_, " ");
    const bool named = parts.front() == "only" && parts.size() > 1;
    if (!named && said_ != "all" && said_ != "none") {
      return fail(quoted(said_) + " does not say what to recompute; write none, all, or only and names of blocks");
    }
    for (std::size_t k = 1; k < parts.size(); ++k) {
      std::size_t number = 0;
      if (!read_block(parts[k], first, end, number)) return false;
      if (stage_.recompute[number - first]) return fail("block " + quoted(parts[k]) + " is named twice; remove one");
      stage_.recompute[number - first] = true;
    }
    next_line();
    return true;
  }

  // --- parameters

  /// What comes before the colon of a line.
  std::string_view subject() const { return said_.substr(0, said_.find(':')); }
  std::string_view predicate() const { return said_.substr(std::min(subject().size() + 1, said_.size())); }

  bool read_parameter() {
    const std::size_t p = find_word(parameters_, subject(), 0, parameters_.size());
    const std::string name = "parameter " + quoted(subject());
    if (p == parameters_.size()) return fail("the model has no " + name + "; remove the line");
    if (!reads(whole_, stage_, whole_.parameters[p])) {
      return fail(name_ + " does not read " + name + "; remove the line");
    }
    parameter_plan& kept = stage_.parameters[p];
    if (kept.used) return fail(name_ + " has two lines for " + name + "; remove one");
    kept.used = true;
    kept.accumulated.resize(whole_.parameters[p].gradients.size());
    const auto parts = parts_of(predicate(), ";");
    if (parts.size() != 2 + kept.accumulated.size()) {
      return fail(name + " has " + std::to_string(parts.size()) + " parts; write stored, state and " +
                  std::to_string(kept.accumulated.size()) + " times accumulated, with ; between them");
    }
    bool good = read_spec(p, "stored ", parts[0], kept.stored) && read_spec(p, "state ", parts[1], kept.state);
    for (std::size_t g = 0; good && g < kept.accumulated.size(); ++g) {
      good = read_spec(p, "accumulated ", parts[2 + g], kept.accumulated[g]);
    }
    return good;
  }

  bool read_spec(std::size_t p, std::string_view key, std::string_view text, spec& layout) {
    if (!text.starts_with(key)) {
      return fail("expected '" + std::string(key) + "…', found " + quoted(text) + "; write a spec after it");
    }
    const word_list axes = words_of_axes(whole_, whole_.values[whole_.parameters[p].value].axes);
    const word_list mesh_axes = words_of_mesh(stage_);
    const result<spec> read = parse_spec(text.substr(key.size()), axes.views(), mesh_axes.views());
    if (!read) return fail(std::string(key) + read.error().substr(read.error().find('"')));
    layout = read.value();
    return true;
  }

  // --- operators

  bool read_operator() {
    const std::size_t n = find_word(operators_, subject(), 0, operators_.size());
    const std::string name = "operator " + quoted(subject());
    const auto id = static_cast<node_id>(n);
    if (n == operators_.size()) return fail("the model has no " + name + "; remove the line");
    if (!runs(whole_, stage_, id)) return fail(name_ + " does not run " + name + "; remove the line");
    if (said_operators_[n]) return fail(name_ + " has two lines for " + name + "; remove one");
    said_operators_[n] = true;
    auto parts = parts_of(predicate(), "|");
    std::string_view order;
    if (parts.back().starts_with("order ")) {
      order = parts.back();
      parts.pop_back();
    }
    const auto rank = static_cast<std::size_t>(stage_.mesh.rank);
    if (parts.size() != std::max(rank, std::size_t{1})) {
      return fail(name + " has " + std::to_string(parts.size()) + " strategies, but the mesh has " +
                  std::to_string(rank) + " axes; write one for each, with | between them");
    }
    strategy& how = stage_.strategies[id];
    for (std::size_t axis = 0; axis < parts.size(); ++axis) {
      if (!read_row(whole_.nodes[id], parts[axis], how.row[axis])) return false;
    }
    const node& at = whole_.nodes[id];
    const int crowded = crowded_index(at.op->choices, stage_.mesh.rank, how);
    if (crowded >= 0) {
      return fail(name + ": two mesh axes split " +
                  quoted(word_of(whole_.sizes[at.indices[static_cast<std::size_t>(crowded)]].name)) + ", which " +
                  std::string(why_crowded(at.op->choices, crowded)) + "; leave it to one of them");
    }
    return read_order(at, order, how);
  }

  bool read_row(const node& at, std::string_view text, std::uint8_t& row) {
    word_table rows;
    const auto count = static_cast<std::uint8_t>(stage_.mesh.rank == 0 ? 1 : at.op->choices.count);
    for (row = 0; row < count; ++row) {
      rows.push_back(describe_row(whole_, at, at.op->choices.rows[row]));
      if (rows.back() == text) return true;
    }
    return fail("operator " + quoted(word_of(at.name)) + " has no strategy " + quoted(text) + "; write " +
                joined(rows, " or "));
  }

  bool read_order(const node& at, std::string_view text, strategy& how) {
    word_table orders;
    for (how.order = 0; how.order < cut_orders.size(); ++how.order) {
      orders.push_back(describe_order(at, stage_, how));
      if (orders.back() == text) return true;
    }
    const std::string name = "operator " + quoted(word_of(at.name));
    if (orders.front().empty()) return fail(name + ": no two mesh axes split one axis; remove " + quoted(text));
    return fail(name + ": two mesh axes split one axis; say at the end of the line which cuts first, as in '" +
                orders.front() + "'");
  }

  /// What the stage keeps and runs has a line each.
  bool all_said() {
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
      if (stage_.parameters[p].used || !reads(whole_, stage_, whole_.parameters[p])) continue;
      return fail(name_ + " reads parameter " + quoted(parameters_[p]) + ", which has no line before this one; add it");
    }
    for (std::size_t n = 0; n < operators_.size(); ++n) {
      if (said_operators_[n] || !runs(whole_, stage_, static_cast<node_id>(n))) continue;
      return fail(name_ + " runs operator " + quoted(operators_[n]) + ", which has no line before this one; add it");
    }
    return true;
  }

  std::string_view rest_;  ///< the lines to come
  const graph& whole_;
  std::int32_t ranks_;
  word_table axes_, blocks_, parameters_, operators_;
  std::string_view key_;   ///< the first word of the line; empty after the last
  std::string_view said_;  ///< what follows it
  int line_ = 0;
  std::string fault_;
  plan made_;
  stage_plan stage_;
  std::string name_;  ///< of the stage
  vector<bool> said_operators_;
};

}  // namespace detail

MESHLOOM_INLINE result<plan> from_text(std::string_view text, const graph& whole, std::int32_t ranks) {
  const std::string ambiguity = ambiguity_of(whole);
  if (!ambiguity.empty()) return failure{"plan: " + ambiguity};
  return detail::plan_reader(text, whole, ranks).read();
}

MESHLOOM_INLINE result<plan> load_plan(const std::string& path, const graph& whole, std::int32_t ranks) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  for (char letter = 0; file.get(letter);) text += letter;
  if (!file.is_open() || file.bad()) return failure{path + ": cannot be read; check the path"};
  result<plan> made = from_text(text, whole, ranks);
  if (!made) return failure{path + ": " + made.error()};
  return made;
}

}  // namespace meshloom
