// SPDX-License-Identifier: Apache-2.0
// The command line of a bench: `--name text` pairs, and `--json`.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/tensor/dtype.hpp>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

/// Calls `take(name, text)` for every pair, which says whether it knows the name; returns whether `--json` was there.
/// `where` documents the options.
template <class Take>
bool read_options(int count, char** words, const std::string& where, const Take& take) {
  bool json = false;
  for (int at = 1; at < count; ++at) {
    const std::string_view name = words[at];
    if (name == "--json") {
      json = true;
      continue;
    }
    if (at + 1 == count || !take(name, std::string_view(words[at + 1]))) {
      throw meshloom::error("option " + std::string(name) +
                            " is unknown or needs a value after it; see the first lines of " + where);
    }
    ++at;
  }
  return json;
}

/// Takes a word that stands alone, such as `--compare`, out of the command line; true if it was there.
inline bool take_flag(int& count, char** words, std::string_view name) {
  char** const end = std::remove(words + 1, words + count, name);
  const bool was_there = end != words + count;
  count = static_cast<int>(end - words);
  return was_there;
}

/// Reads a number of 1 or more.
template <class Number>
bool read_count(std::string_view name, std::string_view text, Number& into) {
  const auto end = text.data() + text.size();
  if (std::from_chars(text.data(), end, into).ptr != end || into < 1) {
    throw meshloom::error("option " + std::string(name) + ": '" + std::string(text) +
                          "' is not possible; give a number of 1 or more");
  }
  return true;
}

/// Reads "f32", "bf16" or "f16".
inline bool read_precision(std::string_view name, std::string_view text, meshloom::dtype& into) {
  for (const auto known : {meshloom::dtype::f32, meshloom::dtype::bf16, meshloom::dtype::f16}) {
    if (text == name_of(known)) return into = known, true;
  }
  throw meshloom::error("option " + std::string(name) + ": '" + std::string(text) +
                        "' is not possible; give f32, bf16 or f16");
}
