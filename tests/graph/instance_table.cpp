// SPDX-License-Identifier: Apache-2.0
// The law of graph/instance_table.hpp: entries are those that a map has.
#include <meshloom/graph/instance_table.hpp>

#include <doctest/doctest.h>

#include <map>
#include <random>

namespace ml = meshloom;

TEST_CASE("an entry is that of its instance alone") {
  std::mt19937 random(5);
  for (const unsigned values : {1u, 7u, 400u}) {
    for (const unsigned copies : {1u, 3u, 1000u}) {
      ml::instance_table<int> table;
      std::map<ml::instance, int> known;
      const auto draw = [&] {
        return ml::instance{ml::value_id(random() % values), static_cast<std::int32_t>(random() % copies)};
      };
      CHECK(table.find(draw()) == nullptr);
      for (int round = 0; round < 2000; ++round) {
        const ml::instance what = draw(), asked = draw();
        const int next = static_cast<int>(random() % 100);
        CHECK(table[what] == known[what]);
        table[what] = known[what] = next;
        const int* found = table.find(asked);
        REQUIRE((found != nullptr) == (known.count(asked) != 0));
        if (found != nullptr) CHECK(*found == known[asked]);
      }
    }
  }
}
