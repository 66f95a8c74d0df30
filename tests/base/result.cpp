// SPDX-License-Identifier: Apache-2.0
// Laws of base/result.hpp: exactly one of value and error exists, and asking for a value that does not throws the
// sentence that says why.
#include <doctest/doctest.h>

#include <meshloom/base/result.hpp>

#include <memory>
#include <type_traits>

using namespace meshloom;

namespace {

result<int> half(int of) {
  if (of % 2 != 0) return failure{"half: " + std::to_string(of) + " is odd; give an even number"};
  return of / 2;
}

static_assert(!std::is_convertible_v<result<int>, bool> && std::is_constructible_v<bool, result<int>>);
static_assert(std::is_base_of_v<std::runtime_error, error>);

}  // namespace

TEST_CASE("a result has its value and no error") {
  const auto found = half(8);
  CHECK(static_cast<bool>(found));
  CHECK(found.value() == 4);
  CHECK(found.error() == "");
}

TEST_CASE("a failure has its sentence and throws it where a value is asked for") {
  const auto found = half(7);
  CHECK(!found);
  CHECK(found.error() == "half: 7 is odd; give an even number");
  CHECK_THROWS_WITH_AS(static_cast<void>(found.value()), "half: 7 is odd; give an even number", error);
  CHECK_THROWS_AS(static_cast<void>(half(7).value()), error);
}

TEST_CASE("the value can be moved out of a result") {
  const std::unique_ptr<int> moved = result<std::unique_ptr<int>>(std::make_unique<int>(3)).value();
  REQUIRE(moved != nullptr);
  CHECK(*moved == 3);
}
