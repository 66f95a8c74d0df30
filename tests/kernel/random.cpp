// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/vector.hpp>
#include <meshloom/kernel/random.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <set>

namespace {

bool gives(meshloom::random_block counter, std::uint32_t key0, std::uint32_t key1, meshloom::random_block expected) {
  const meshloom::random_block made = meshloom::philox(counter, key0, key1);
  return made.word[0] == expected.word[0] && made.word[1] == expected.word[1] && made.word[2] == expected.word[2] &&
         made.word[3] == expected.word[3];
}

}  // namespace

// The known-answer vectors of philox4x32-10 that come with Random123.
TEST_CASE("Philox gives the published numbers") {
  CHECK(gives({{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  CHECK(gives({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
  CHECK(gives({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
  CHECK_FALSE(gives({{1, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
}

TEST_CASE("seed, number and index each choose another value") {
  std::set<double> seen;
  for (std::uint64_t part = 0; part < 40; ++part) {
    seen.insert(meshloom::uniform(part, 0, 0));
    seen.insert(meshloom::uniform(part << 32, 0, 0));
    seen.insert(meshloom::uniform(0, part, 0));
    seen.insert(meshloom::uniform(0, part << 32, 0));
    seen.insert(meshloom::uniform(0, 0, part));
    seen.insert(meshloom::uniform(0, 0, part << 33));
  }
  CHECK(seen.size() == 6 * 39 + 1);
}

TEST_CASE("the normal quantile undoes the normal distribution") {
  for (double x = -8; x <= 8; x += 1.0 / 128) {
    const double share = 0.5 * std::erfc(-x / std::sqrt(2.0));
    // Above 0 the share itself has lost digits: compare where it still tells neighbours apart.
    if (x <= 4) CHECK(meshloom::normal_quantile(share) == doctest::Approx(x).epsilon(1e-11));
  }
  CHECK(meshloom::normal_quantile(1e-300) == doctest::Approx(-37.0471).epsilon(1e-6));
}

TEST_CASE("normal numbers have the moments of the normal distribution") {
  constexpr int count = 200'000;
  double first = 0, second = 0, third = 0, fourth = 0, neighbours = 0;
  for (std::uint64_t index = 0; index < count; ++index) {
    const double x = meshloom::normal(42, 7, index);
    first += x, second += x * x, third += x * x * x, fourth += x * x * x * x;
    neighbours += x * meshloom::normal(42, 7, index + 1);
  }
  CHECK(std::abs(first / count) < 0.01);  // five standard errors of each are below these
  CHECK(std::abs(second / count - 1) < 0.016);
  CHECK(std::abs(third / count) < 0.044);
  CHECK(std::abs(fourth / count - 3) < 0.11);
  CHECK(std::abs(neighbours / count) < 0.012);
}

TEST_CASE("a shard starts from the same values as the whole") {
  const auto filled = [](std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns, auto kind) {
    using element = decltype(kind);
    meshloom::vector<element> memory(static_cast<std::size_t>(rows * columns));
    meshloom::view shard{.data = memory.data(),
                         .extent = {rows, columns},
                         .global = {6, 10},
                         .origin = {row, column},
                         .rank = 2,
                         .type = meshloom::dtype_of<element>};
    meshloom::make_dense(shard);
    meshloom::fill_normal(shard, 3, 11, 0.02);
    return memory;
  };
  const auto check = [&](auto kind) {
    const auto whole = filled(0, 6, 0, 10, kind);
    const auto shard = filled(2, 3, 4, 5, kind);
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::size_t j = 0; j < 5; ++j) CHECK(shard[i * 5 + j] == whole[(i + 2) * 10 + j + 4]);
    }
    CHECK(filled(6, 0, 0, 10, kind).empty());
  };
  check(float{});
  check(double{});
}

TEST_CASE("a constant fill") {
  meshloom::vector<double> memory(6);
  meshloom::view shard{
      .data = memory.data(), .extent = {2, 3}, .global = {2, 3}, .rank = 2, .type = meshloom::dtype::f64};
  meshloom::make_dense(shard);
  meshloom::fill_constant(shard, 2.5);
  CHECK(memory == meshloom::vector<double>(6, 2.5));
}
