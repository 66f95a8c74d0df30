// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/vector.hpp>
#include <meshloom/kernel/team.hpp>

#include <doctest/doctest.h>

TEST_CASE("for_each visits every index once, and fetches ahead of every full block") {
  const meshloom::host_team team;
  for (std::int64_t n : {0, 1, 63, 64, 65, 200}) {
    meshloom::vector<int> seen(static_cast<std::size_t>(n)), again(seen.size()), alone(seen.size());
    int* const first = seen.data();
    int* const second = again.data();
    int* const third = alone.data();
    meshloom::vector<std::int64_t> blocks;
    team.for_each(n, [=](std::int64_t i) { ++first[i]; });
    team.for_each_scalar(n, [=](std::int64_t i) { ++third[i]; });
    team.for_each(
        n, [=](std::int64_t i) { ++second[i]; }, [&](std::int64_t begin) { blocks.push_back(begin); });
    CHECK(seen == meshloom::vector<int>(seen.size(), 1));
    CHECK(again == seen);
    CHECK(alone == seen);
    CHECK(static_cast<std::int64_t>(blocks.size()) == n / meshloom::host_team::lanes);
  }
}

TEST_CASE("reduce combines every element once with the initial value") {
  const meshloom::host_team team;
  for (std::int64_t n = 0; n < 300; ++n) {
    const auto value = [](std::int64_t i) { return static_cast<double>(i + 1); };
    CHECK(team.reduce<double>(n, 0, meshloom::addition{}, value) == static_cast<double>(n * (n + 1) / 2));
    CHECK(team.reduce<double>(n, -7, meshloom::maximum{}, value) == (n == 0 ? -7 : static_cast<double>(n)));
  }
}

TEST_CASE("many small numbers do not drown in a large sum") {
  const meshloom::host_team team;
  const float sum = team.reduce<float>(1 << 25, 0, meshloom::addition{}, [](std::int64_t) { return 1.0f; });
  CHECK(sum == static_cast<float>(1 << 25));  // one running float would stop at 2^24
}
