// SPDX-License-Identifier: Apache-2.0
// The words of plan texts: names as single words, and the strategies of an operator as people say them. Reader and
// writer share them, so what is read is compared with what would be written.
// Law: two names have one word only if they are equal, two texts one line.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/plan/plan.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace meshloom {

/// A name as one word: letters, digits, . _ - [ ] and all beyond ASCII stay; any other byte becomes \ and two hex
/// digits.
std::string word_of(std::string_view name);

/// The name that has this word, if one does.
std::optional<std::string> name_of_word(std::string_view word);

/// Any text as a part of a line: #, \, control characters and spaces at its ends become \ and two hex digits.
std::string line_of(std::string_view text);

/// The text that has this line, if one does.
std::optional<std::string> text_of_line(std::string_view line);

/// A number as sixteen hex digits.
std::string hex_word(std::uint64_t number);

/// A time for people: the largest unit of which it is one or more, with one decimal.
std::string describe_time(picoseconds time);

/// One row of an operator's table: "whole", "split batch", or "partial 0,2", the operands that are pending sums.
std::string describe_row(const graph& whole, const node& at, const choice& row);

/// "order tensor>data": the order of the cuts of one index, outer first; empty where it changes nothing.
std::string describe_order(const node& at, const stage_plan& stage, const strategy& how);

/// Why texts about this graph could be read in two ways; empty if they cannot.
std::string ambiguity_of(const graph& whole);

namespace detail {

/// The words of names, with views of them for `describe_spec` and `parse_spec`.
struct word_list {
  vector<std::string> words;
  vector<std::string_view> views() const { return {words.begin(), words.end()}; }
};

inline word_list words_of_mesh(const stage_plan& stage) {
  word_list list;
  for (const std::string& name : stage.mesh_axes) list.words.push_back(word_of(name));
  return list;
}

inline word_list words_of_axes(const graph& whole, const vector<axis_id>& axes) {
  word_list list;
  for (const axis_id axis : axes) list.words.push_back(word_of(whole.sizes[axis].name));
  return list;
}

inline std::string joined(const vector<std::string>& parts, std::string_view between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : std::string(between)) + part;
  return text;
}

}  // namespace detail

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/words.inl>
#endif
