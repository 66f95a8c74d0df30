// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/vector.hpp>
#include <meshloom/model/parameter_groups.hpp>

#include <doctest/doctest.h>

#include <string>

using meshloom::matches;
using meshloom::parameter_groups;

namespace {

/// Every way to share the name among the letters and stars of the pattern.
bool matches_somehow(const std::string& pattern, const std::string& name) {
  if (pattern.empty()) return name.empty();
  bool found = false;
  const std::size_t most = pattern[0] == '*' ? name.size() : 1;
  for (std::size_t take = pattern[0] == '*' ? 0 : 1; take <= most && take <= name.size(); ++take)
    found = found ||
            ((pattern[0] == '*' || pattern[0] == name[0]) && matches_somehow(pattern.substr(1), name.substr(take)));
  return found;
}

/// The words of up to `length` letters.
meshloom::vector<std::string> words(const std::string& letters, std::size_t length) {
  meshloom::vector<std::string> all{""};
  for (std::size_t k = 0; k < all.size(); ++k) {
    if (all[k].size() == length) continue;
    for (const char letter : letters) all.push_back(all[k] + letter);
  }
  return all;
}

}  // namespace

TEST_CASE("a star stands for any characters, everything else for itself") {
  static_assert(matches("*.bias", "block.0.bias") && !matches("*.bias", "block.0.bias.velocity"));
  for (const std::string& pattern : words("ab*", 4)) {
    for (const std::string& name : words("ab", 4)) CHECK(matches(pattern, name) == matches_somehow(pattern, name));
  }
}

TEST_CASE("a parameter takes the product of the factors of its groups") {
  constexpr parameter_groups all{
      {.names = "*.bias", .decay = 0}, {.rank = 1, .rate = 0.5, .decay = 0.5}, {.names = "head.*", .rate = 10}};
  const auto of = [&](std::string_view name, std::size_t rank) { return all.of(name, rank); };
  CHECK(of("body.weight", 2).rate == 1);
  CHECK(of("body.weight", 2).decay == 1);
  CHECK(of("body.bias", 1).decay == 0);
  CHECK(of("body.bias", 2).rate == 1);
  CHECK(of("norm.gain", 1).decay == 0.5);
  CHECK(of("head.weight", 2).rate == 10);
  CHECK(of("head.bias", 1).rate == 5);
  CHECK(parameter_groups{}.of("norm.gain", 1).decay == 1);
}

TEST_CASE("more groups than there is room for are refused") {
  const meshloom::parameter_group one;
  CHECK_THROWS_WITH_AS((parameter_groups{one, one, one, one, one, one, one, one, one}),
                       "parameter_groups: more than 8 of them; let names with * match more", meshloom::error);
}
