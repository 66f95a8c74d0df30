// SPDX-License-Identifier: Apache-2.0
// Laws of base/readable.hpp, over all characters and over any bytes.
#include <doctest/doctest.h>

#include <meshloom/base/readable.hpp>

#include <algorithm>
#include <random>
#include <string>

using meshloom::readable;

namespace {

/// A code point in so many bytes, be they too many.
std::string encoded(unsigned point, int count) {
  if (count == 1) return {static_cast<char>(point)};
  std::string text;
  for (; count > 1; --count, point /= 64) text.insert(text.begin(), static_cast<char>(0x80 + point % 64));
  const unsigned marks[] = {0xc0, 0xe0, 0xf0};
  return static_cast<char>(marks[text.size() - 1] + point) + text;
}

int bytes_of(unsigned point) { return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4; }

bool is_printable(unsigned point) {
  const bool control = point < 0x20 || (point >= 0x7f && point < 0xa0), surrogate = point >= 0xd800 && point < 0xe000;
  return !control && !surrogate && point < 0x110000;
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char letter) { return letter >= ' ' && letter < 0x7f; });
}

}  // namespace

TEST_CASE("every printable character stays, and all else is spelt out") {
  for (unsigned point = 0; point < 0x200000; ++point) {
    for (int count = bytes_of(point); count <= 4; ++count) {
      const std::string text = "a" + encoded(point, count) + "b", shown = readable(text);
      const bool stays = is_printable(point) && count == bytes_of(point);
      if ((shown == text) != stays || (!stays && !is_ascii(shown))) FAIL("code point " << point << " in " << count);
    }
  }
  CHECK(readable("a\nb\x1b[2J\xc2\x9b") == "a\\0ab\\1b[2J\\c2\\9b");
  CHECK(readable("cut short: \xe2\x80") == "cut short: \\e2\\80");
}

TEST_CASE("what is long loses its middle, and never half a character") {
  CHECK(readable(std::string(1000, 'a')) == std::string(1000, 'a'));
  const std::string shown = readable("plan, line 3: '" + std::string(5000, 'a') + "' does not do; write whole");
  CHECK(shown.size() == 1000);
  CHECK(shown.starts_with("plan, line 3: 'aaa"));
  CHECK(shown.ends_with("aaa' does not do; write whole"));
  std::mt19937 bits(3);
  const auto draw = [&](unsigned count) { return static_cast<unsigned>(bits() % count); };
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (unsigned left = draw(1500); left > 0; --left) {
      const unsigned point = draw(0x11000);
      text += draw(4) == 0 ? std::string{static_cast<char>(draw(256))} : encoded(point, bytes_of(point));
    }
    const std::string once = readable(text);
    CHECK(once.size() <= 1000);
    CHECK(readable(once) == once);
  }
}
