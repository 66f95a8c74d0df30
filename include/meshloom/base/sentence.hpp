// SPDX-License-Identifier: Apache-2.0
// A sentence made of words and numbers. Errors and reports are made of many: a chain of `+` would be compiled, with
// every string between, wherever one is said. Law: numbers are written as std::to_string writes them.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace meshloom {

/// A part of a sentence: text, which must outlive it, or an integer of at most 63 bits and a sign.
class word {
 public:
  constexpr word(const char* text) : word(std::string_view(text)) {}
  constexpr word(std::string_view text)
      : text_(text.empty() ? "" : text.data()), value_(static_cast<std::int64_t>(text.size())) {}
  word(const std::string& text) : word(std::string_view(text)) {}
  constexpr word(std::integral auto number) : value_(static_cast<std::int64_t>(number)) {}

  /// Appends it to a text.
  void add_to(std::string& text) const;

 private:
  const char* text_ = nullptr;
  std::int64_t value_;  ///< the number, or the length of the text
};

/// Its words, one after the other: `sentence({"stage ", 2})`.
std::string sentence(std::initializer_list<word> words);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/base/sentence.inl>
#endif
