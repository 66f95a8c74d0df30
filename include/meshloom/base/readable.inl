// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/config.hpp>
#include <meshloom/base/readable.hpp>

#include <algorithm>
#include <cstddef>

namespace meshloom {
namespace detail {

/// The bytes of the character that a text begins with; 0 if that is not printable, or not UTF-8 (RFC 3629).
inline std::size_t printable_bytes(std::string_view text) {
  const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return first >= ' ' && first != 0x7f ? 1 : 0;
  const std::size_t count = first < 0xc2 || first > 0xf4 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  for (std::size_t at = 1; at < count; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 0;
  }
  const bool control = first == 0xc2 && second < 0xa0;
  const bool too_long = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool no_character = (first == 0xed && second >= 0xa0) || (first == 0xf4 && second >= 0x90);
  return control || too_long || no_character ? 0 : count;
}

/// The text without its middle if it has more than `most` bytes; cuts no character.
inline std::string shortened(const std::string& text, std::size_t most) {
  constexpr std::string_view gap = " … ";
  if (text.size() <= most) return text;
  const auto inside = [&](std::size_t at) { return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80; };
  std::size_t head = most / 2, tail = text.size() - (most / 2 - gap.size());
  while (inside(head)) --head;
  while (inside(tail)) ++tail;
  return text.substr(0, head) + std::string(gap) + text.substr(tail);
}

}  // namespace detail

MESHLOOM_INLINE std::string readable(std::string_view sentence) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string text;
  while (!sentence.empty()) {
    const std::size_t count = detail::printable_bytes(sentence);
    const auto byte = static_cast<unsigned char>(sentence[0]);
    text += count > 0 ? std::string(sentence.substr(0, count)) : std::string{'\\', hex[byte / 16], hex[byte % 16]};
    sentence.remove_prefix(std::max(count, std::size_t{1}));
  }
  return detail::shortened(text, 1000);
}

}  // namespace meshloom
