// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/words.hpp>

#include <algorithm>
#include <utility>

namespace meshloom {
namespace detail {

inline constexpr std::string_view hex_digits = "0123456789abcdef";

constexpr bool stays_in_word(char letter) {
  const bool digit = letter >= '0' && letter <= '9';
  const bool latin = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
  const bool beyond_ascii = static_cast<unsigned char>(letter) >= 0x80;
  return digit || latin || beyond_ascii || std::string_view("._-[]").find(letter) != std::string_view::npos;
}

/// The text, with \ and two hex digits for every byte that `stays(at)` does not keep.
template <class Stays>
std::string escaped(std::string_view text, const Stays& stays) {
  std::string made;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (stays(at)) {
      made += text[at];
    } else {
      made += {'\\', hex_digits[byte / 16], hex_digits[byte % 16]};
    }
  }
  return made;
}

inline std::optional<std::string> unescaped(std::string_view text) {
  std::string made;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      made += text[at];
      continue;
    }
    if (at + 2 >= text.size()) return std::nullopt;
    const std::size_t high = hex_digits.find(text[at + 1]), low = hex_digits.find(text[at + 2]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    made += static_cast<char>(high * 16 + low);
    at += 2;
  }
  return made;
}

}  // namespace detail

MESHLOOM_INLINE std::string word_of(std::string_view name) {
  return detail::escaped(name, [&](std::size_t at) { return detail::stays_in_word(name[at]); });
}

MESHLOOM_INLINE std::optional<std::string> name_of_word(std::string_view word) {
  auto name = detail::unescaped(word);
  if (!name || name->empty() || word_of(*name) != word) return std::nullopt;
  return name;
}

MESHLOOM_INLINE std::string line_of(std::string_view text) {
  return detail::escaped(text, [&](std::size_t at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte == ' ') return at > 0 && at + 1 < text.size();
    return byte > ' ' && byte != 0x7f && byte != '#' && byte != '\\';
  });
}

MESHLOOM_INLINE std::optional<std::string> text_of_line(std::string_view line) {
  auto text = detail::unescaped(line);
  if (!text || line_of(*text) != line) return std::nullopt;
  return text;
}

MESHLOOM_INLINE std::string hex_word(std::uint64_t number) {
  std::string word(16, '0');
  for (auto digit = word.rbegin(); digit != word.rend(); ++digit, number /= 16) {
    *digit = detail::hex_digits[number % 16];
  }
  return word;
}

MESHLOOM_INLINE std::string describe_time(picoseconds time) {
  constexpr std::pair<std::int64_t, const char*> units[] = {
      {1'000'000'000'000, " s"}, {1'000'000'000, " ms"}, {1'000'000, " us"}, {1'000, " ns"}};
  for (const auto& [size, name] : units) {
    if (time.count < size) continue;
    return std::to_string(time.count / size) + "." + std::to_string(time.count % size * 10 / size) + name;
  }
  return std::to_string(time.count) + " ps";
}

MESHLOOM_INLINE std::string describe_row(const graph& whole, const node& at, const choice& row) {
  if (row.kind == choice::whole) return "whole";
  if (row.kind == choice::split) {
    return (row.rotated >= 0 ? "ring " : "split ") +
           word_of(whole.sizes[at.indices[static_cast<std::size_t>(row.index)]].name);
  }
  vector<std::string> operands;
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    if (row.operands >> k & 1) operands.push_back(std::to_string(k));
  }
  return "partial " + detail::joined(operands, ",");
}

MESHLOOM_INLINE std::string describe_order(const node& at, const stage_plan& stage, const strategy& how) {
  const auto mesh_axes = detail::words_of_mesh(stage).words;
  vector<std::string> cuts;
  for (const std::int8_t axis : shared_cuts(at.op->choices, stage.mesh.rank, how)) {
    cuts.push_back(mesh_axes[static_cast<std::size_t>(axis)]);
  }
  return cuts.empty() ? "" : "order " + detail::joined(cuts, ">");
}

MESHLOOM_INLINE std::string ambiguity_of(const graph& whole) {
  vector<std::string> names;
  for (const node& at : whole.nodes) {
    auto axes = detail::words_of_axes(whole, at.indices).words;
    std::sort(axes.begin(), axes.end());
    const auto twice = std::adjacent_find(axes.begin(), axes.end());
    if (twice != axes.end()) return "operator " + at.name + " has two axes named " + *twice + "; rename one";
    names.push_back("operator " + at.name);
  }
  for (const parameter& each : whole.parameters) names.push_back("parameter " + whole.values[each.value].name);
  for (const block& each : blocks_of(whole)) names.push_back("block " + name_of(whole, each));
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  return twice == names.end() ? "" : "the model has two of " + *twice + "; rename one";
}

}  // namespace meshloom
