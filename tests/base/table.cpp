// SPDX-License-Identifier: Apache-2.0
// Laws of base/table.hpp: the n-th entry has id n, and an id of one table is no index of another.
#include <doctest/doctest.h>

#include <meshloom/base/table.hpp>

#include <string>

using namespace meshloom;

namespace {

using names = table<value_id, std::string>;

template <class Table, class Index>
concept indexed_by = requires(Table entries, Index which) {
  entries[which];
};

static_assert(indexed_by<names, value_id> && !indexed_by<names, node_id> && !indexed_by<names, int>);

}  // namespace

TEST_CASE("entries get the ids 0, 1, 2, …, and keep them") {
  names entries;
  CHECK(entries.empty());
  for (int n = 0; n < 100; ++n) {
    CHECK(entries.next() == value_id{n});
    CHECK(entries.add(std::to_string(n)) == value_id{n});
  }
  CHECK(entries.size() == 100);
  for (int n = 0; n < 100; ++n) CHECK(entries[value_id{n}] == std::to_string(n));
  int next = 0;
  for (const std::string& each : entries) CHECK(each == std::to_string(next++));
  CHECK(next == 100);
}

TEST_CASE("a table holds exactly the ids of its entries") {
  const table<node_id, int> three(3, 5);
  CHECK(three.size() == 3);
  CHECK(three[node_id{2}] == 5);
  CHECK(three.holds(node_id{0}));
  CHECK(three.holds(node_id{2}));
  CHECK(!three.holds(node_id{3}));
  CHECK(!three.holds(node_id::none));
  CHECK(!table<node_id, int>().holds(node_id{0}));
}

TEST_CASE("tables are equal where their entries are") {
  table<node_id, int> left(2, 1), right(2, 1);
  CHECK(left == right);
  right[node_id{1}] = 2;
  CHECK(left != right);
  left[node_id{1}] = 2;
  CHECK(left == right);
  left.add(0);
  CHECK(left != right);
}
