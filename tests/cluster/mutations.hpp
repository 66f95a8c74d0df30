// SPDX-License-Identifier: Apache-2.0
// Texts with faults in them, as files have them after a careless edit, a bad disk or an attack, and what a refusal of
// such a text owes its reader.
#pragma once

#include <meshloom/base/readable.hpp>
#include <meshloom/base/vector.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <random>
#include <string>
#include <string_view>

namespace mutations {

using random_bits = std::mt19937_64;

inline std::size_t draw(random_bits& bits, std::size_t count) { return static_cast<std::size_t>(bits() % count); }

/// Part of a text: where it begins, and how many bytes it has.
struct part {
  std::size_t at = 0, size = 0;
};

/// The longest runs of bytes that `belongs` accepts.
template <class Belongs>
meshloom::vector<part> runs_of(std::string_view text, const Belongs& belongs) {
  meshloom::vector<part> found;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!belongs(text[at])) continue;
    const std::size_t first = at;
    while (at < text.size() && belongs(text[at])) ++at;
    found.push_back({first, at - first});
  }
  return found;
}

inline meshloom::vector<part> numbers_of(std::string_view text) {
  return runs_of(text, [](char letter) { return letter >= '0' && letter <= '9'; });
}

inline meshloom::vector<part> lines_of(std::string_view text) {
  return runs_of(text, [](char letter) { return letter != '\n'; });
}

inline std::string piece(const std::string& text, const part& which) { return text.substr(which.at, which.size); }

/// Swaps two of the parts.
inline void swap(std::string& text, const meshloom::vector<part>& parts, random_bits& bits) {
  if (parts.empty()) return;
  const std::size_t one = draw(bits, parts.size()), other = draw(bits, parts.size());
  const part first = parts[std::min(one, other)], last = parts[std::max(one, other)];
  const std::string early = piece(text, first), late = piece(text, last);
  text.replace(last.at, last.size, early).replace(first.at, first.size, late);
}

inline std::string odd_number(random_bits& bits) {
  constexpr std::string_view made[] = {"0",
                                       "-1",
                                       "1.5",
                                       "1e400",
                                       "0x10",
                                       "2147483647",
                                       "2147483648",
                                       "4294967297",
                                       "9223372036854775807",
                                       "9223372036854775808"};
  const std::size_t which = draw(bits, std::size(made) + 2);
  if (which == std::size(made)) return std::string(400, '9');
  return which > std::size(made) ? "0." + std::string(400, '0') + "1" : std::string(made[which]);
}

/// Bytes that no text should have, or far too many of one kind.
inline std::string odd_bytes(random_bits& bits) {
  using namespace std::string_view_literals;
  constexpr std::string_view made[] = {
      "\0"sv,         "\x1b[2J",          "\r",       "\v",       "\x7f",        "\xff\xfe", "\xc0\xaf",
      "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xc2\x9b", "\xe2\x80", "\xef\xbb\xbf"};
  const std::size_t which = draw(bits, std::size(made) + 3);
  return which < std::size(made) ? std::string(made[which]) : std::string(5000, "a \n"[which - std::size(made)]);
}

inline void mutate_bytes(std::string& text, random_bits& bits) {
  const std::size_t at = draw(bits, text.size() + 1), length = draw(bits, 1 + draw(bits, 40));
  switch (draw(bits, 6)) {
    case 0:
      if (at < text.size()) text[at] = static_cast<char>(text[at] ^ static_cast<char>(1 << draw(bits, 8)));
      break;
    case 1:
      text.erase(at, 1 + length);
      break;
    case 2:
      text.insert(at, text.substr(draw(bits, text.size() + 1), length));
      break;
    case 3:
      text.insert(at, 1, "0123456789.-=+:;|>@,()\\# \t\n"[draw(bits, 27)]);
      break;
    case 4:
      text.insert(at, odd_bytes(bits));
      break;
    default:
      text.resize(at);
  }
}

inline void mutate_lines(std::string& text, random_bits& bits) {
  const meshloom::vector<part> lines = lines_of(text), numbers = numbers_of(text);
  const auto pick = [&](const meshloom::vector<part>& from) {
    return from.empty() ? part{} : from[draw(bits, from.size())];
  };
  const part line = pick(lines), number = pick(numbers);
  switch (draw(bits, 6)) {
    case 0:
      text.erase(line.at, line.size + 1);
      break;
    case 1:
      text.insert(line.at, piece(text, pick(lines)) + "\n");
      break;
    case 2:
      swap(text, lines, bits);
      break;
    case 3:
      swap(text, numbers, bits);
      break;
    case 4:
      text.replace(number.at, number.size, odd_number(bits));
      break;
    default:
      text.insert(line.at, odd_number(bits) + " ");
  }
}

/// Makes one fault.
inline void mutate(std::string& text, random_bits& bits) {
  draw(bits, 2) == 0 ? mutate_bytes(text, bits) : mutate_lines(text, bits);
}

/// What a reader misses in a sentence that refuses a text and has to begin with `start`; empty if that is nothing.
inline std::string fault_of(const std::string& sentence, const std::string& start) {
  if (!sentence.starts_with(start)) return "it does not begin with " + start;
  if (sentence.find("; ") == std::string::npos) return "it names no cure";
  if (meshloom::readable(sentence) != sentence) return "it is long, or not one line of letters";
  return "";
}

}  // namespace mutations
