// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <meshloom/base/sentence.hpp>

#include <limits>

using namespace meshloom;

TEST_CASE("words follow each other as they are") {
  const std::string name = "embed";
  CHECK(sentence({}).empty());
  CHECK(sentence({"", std::string_view(), std::string()}).empty());
  CHECK(sentence({"axis ", name, ": ", std::string_view("batch").substr(1), "."}) == "axis embed: atch.");
  CHECK(sentence({std::string_view("a\0b", 3)}) == std::string("a\0b", 3));
}

TEST_CASE("numbers are written as the standard library writes them") {
  const auto written = []<class Number>(Number) {
    for (const Number each :
         {std::numeric_limits<Number>::min(), Number{0}, Number{7}, Number{120}, std::numeric_limits<Number>::max()}) {
      CHECK(sentence({"n = ", each}) == "n = " + std::to_string(each));
    }
  };
  written(std::int8_t{});
  written(std::uint8_t{});
  written(std::int32_t{});
  written(std::uint32_t{});
  written(std::int64_t{});
  CHECK(sentence({std::size_t{42}, "/", -1}) == "42/-1");
}
