// SPDX-License-Identifier: Apache-2.0
// planner/intra_branch.hpp: with enough nodes the optimum, with any number a bound.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_branch.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

namespace {

struct found {
  ml::intra::branched done;
  std::int64_t best = ml::intra::never;
};

found branch(const ml::intra::network& net, const ml::intra::branch_limits& limits) {
  found made;
  const ml::intra::ascent root{ml::intra::multipliers(net.room.size()), 0, 0};
  made.done = ml::intra::branch(net, root, limits, [&](const ml::intra::assignment& met) {
    const std::int64_t price = ml::intra::price_of(net, met);
    if (ml::intra::excess(net, ml::intra::held(net, met)) == 0) made.best = std::min(made.best, price);
    return made.best;
  });
  return made;
}

}  // namespace

TEST_CASE("branching alone finds the optimum or proves that there is none, with and without elimination") {
  for (const std::int64_t entries : {std::int64_t{1} << 20, std::int64_t{0}}) {
    std::int64_t nodes = 0;
    for (std::uint32_t seed = 0; seed < 500; ++seed) {
      CAPTURE(seed);
      CAPTURE(entries);
      const ml::intra_problem posed = small_problem(seed);
      const truth all = try_all(posed);
      const ml::intra::network net = ml::intra::network_of(posed);
      const found made = branch(net, {10'000, 8, entries, INT64_MAX});
      const std::int64_t optimum = all.best ? all.best->count << net.shift : ml::intra::never;
      CHECK(made.best == optimum);
      CHECK(made.done.bound <= optimum);
      CHECK(ml::intra::closes(net, made.done.bound, made.best));
      nodes += made.done.nodes;
    }
    CHECK(nodes > 500);
  }
}

TEST_CASE("stopped early, by nodes or by work, it has a bound") {
  int open = 0;
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    ml::intra_problem posed = ladder(seed, 4, 3, 3);
    const truth free = try_all(posed);
    posed.limit = ml::bytes{(free.leanest->count + free.peak_of_best.count) / 2};
    const ml::intra::network net = ml::intra::network_of(posed);
    const std::int64_t optimum = try_all(posed).best->count << net.shift;
    std::int64_t bound = 0;
    for (const std::int32_t nodes : {0, 1, 2, 4, 8, 1000}) {
      const found part = branch(net, {nodes, 1, 1 << 20, INT64_MAX});
      CHECK(part.done.nodes <= nodes);
      CHECK(part.done.bound >= bound);
      CHECK(part.done.bound <= optimum);
      bound = part.done.bound;
      open += nodes > 0 && bound < optimum;
    }
    CHECK(bound == optimum);
    CHECK(branch(net, {1000, 1, 1 << 20, 1}).done.nodes == 1);
  }
  CHECK(open > 10);
}
