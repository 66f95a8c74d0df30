// SPDX-License-Identifier: Apache-2.0
// planner/space.hpp: the lists that the search goes through are those that an enumeration finds, and a problem is free
// as long as nothing is said.
#include <meshloom/planner/solve.hpp>
#include <meshloom/planner/space.hpp>
#include <meshloom/report/evaluate.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

namespace ml = meshloom;

namespace {

const ml::graph& vectors() { return models::all()[2].graph; }

using grid = ml::vector<std::pair<std::string, std::int32_t>>;

/// All grids on a submesh, with axes of one rank left out.
std::multiset<grid> grids_on(const ml::problem& posed, const ml::submesh& place) {
  std::multiset<grid> found;
  for (const ml::stage_plan& each : ml::meshes_on(posed, place)) {
    CHECK(each.mesh.ranks() == place.ranks());
    grid next;
    for (std::size_t axis = 0; axis < each.mesh_axes.size(); ++axis)
      next.push_back({each.mesh_axes[axis], each.mesh.size[axis]});
    found.insert(std::move(next));
  }
  return found;
}

/// The same for mesh axes a and b, each of a given size or (0) of any, by trying all pairs; in every order.
std::multiset<grid> tried(const ml::submesh& place, std::int32_t a, std::int32_t b) {
  std::multiset<grid> found;
  for (std::int32_t first = 1; first <= place.ranks(); ++first) {
    for (std::int32_t second = 1; second <= place.ranks(); ++second) {
      if (first * second != place.ranks() || (a > 0 && first != a) || (b > 0 && second != b)) continue;
      grid next;
      if (first > 1) next.push_back({"a", first});
      if (second > 1) next.push_back({"b", second});
      found.insert(std::move(next));
    }
  }
  return found;
}

/// Grids as what tells them apart: with the names of their axes, or their sizes in order, or in any order.
std::set<grid> shapes_of(const std::multiset<grid>& grids, bool named, bool ordered) {
  std::set<grid> found;
  for (grid each : grids) {
    for (auto& axis : each) {
      if (!named) axis.first.clear();
    }
    if (!named && !ordered) std::sort(each.begin(), each.end());
    found.insert(std::move(each));
  }
  return found;
}

}  // namespace

TEST_CASE("numbers of micro-batches divide the batch, or there is the one that is asked for") {
  for (const std::int64_t samples : {1, 7, 12, 24}) {
    ml::problem posed = ml::formulate(models::vectors({.samples = samples}), ml::local(2));
    ml::vector<std::int32_t> divisors;
    for (std::int32_t each = 1; each <= samples; ++each) {
      if (samples % each == 0) divisors.push_back(each);
    }
    CHECK(ml::micro_batch_counts(posed) == divisors);
    posed.constraints.micro_batches = divisors.back();
    CHECK(ml::micro_batch_counts(posed) == ml::vector{divisors.back()});
  }
}

TEST_CASE("both schedules compete, unless one is asked for") {
  using ml::schedule_kind;
  ml::problem posed = ml::formulate(vectors(), ml::local(2));
  CHECK(ml::schedules_of(posed) == ml::vector{schedule_kind::one_f_one_b, schedule_kind::gpipe});
  posed.constraints.schedules = {schedule_kind::gpipe};
  CHECK(ml::schedules_of(posed) == ml::vector{schedule_kind::gpipe});
}

TEST_CASE("stages stand on any submesh, but of many hosts only on some that still tile them") {
  const auto places = [](std::int32_t hosts, std::int32_t devices, const ml::manual& asked = ml::automatic()) {
    ml::cluster machine = ml::local(devices);
    machine.hosts = hosts;
    const ml::problem posed = ml::formulate(vectors(), machine, asked);
    const auto all = ml::submeshes_of(machine), found = ml::submeshes_for(posed);
    CHECK(std::includes(all.begin(), all.end(), found.begin(), found.end(), [](const auto& a, const auto& b) {
      return std::pair(a.hosts, a.devices) < std::pair(b.hosts, b.devices);
    }));
    return found;
  };
  for (const auto& [hosts, devices] : {std::pair{1, 8}, {5, 6}, {16, 8}, {7, 4}}) {
    ml::cluster machine = ml::local(devices);
    machine.hosts = hosts;
    CHECK(places(hosts, devices) == ml::submeshes_of(machine));
  }
  ml::vector<ml::submesh> wanted;
  for (const std::int32_t each : {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 25, 32, 48, 50, 64, 96, 100})
    wanted.push_back({each, 8});
  CHECK(places(100, 8) == wanted);  // 8 ranks each: parts of a host would be more than 128 stages
  CHECK(places(32, 8).front() == ml::submesh{1, 2});
  ml::manual asked = ml::automatic();
  asked.stages = 3;
  CHECK(places(100, 8, asked).size() == 103);  // 1, 2, 4 ranks and any number of hosts
}

TEST_CASE("stages begin with any block, with those that are asked for, or with every few copies of a very deep layer") {
  const auto stops = [](std::int32_t layers, const ml::manual& asked = ml::automatic()) {
    return ml::stops_of(ml::formulate(models::gpt({.layers = layers}), ml::local(2), asked));
  };
  const auto few = stops(3);
  for (std::size_t b = 0; b < few.size(); ++b) CHECK(few[b] == static_cast<std::int32_t>(b));
  ml::manual asked = ml::automatic();
  asked.cuts = {2, 3};
  CHECK(stops(3, asked) == ml::vector<std::int32_t>{0, 2, 3});
  const auto ends = static_cast<std::int32_t>(few.size()) - 3;  // blocks that are no copies of the layer
  const auto many = stops(600);
  CHECK(many.size() < 160);
  int steps = 0;
  for (std::size_t n = 1; n < many.size(); ++n) {
    CHECK((many[n] - many[n - 1] == 1 || many[n] - many[n - 1] == 8));
    steps += many[n] - many[n - 1] == 8 ? 1 : 0;
  }
  CHECK(steps == 75);
  CHECK(many.size() == 75 + static_cast<std::size_t>(ends));
  CHECK(stops(150).size() == 150 + static_cast<std::size_t>(ends));
}

TEST_CASE("a very deep model is cut where its space says, and evaluated so") {
  const ml::cluster machine = models::near_ranks(4);
  ml::manual asked = ml::automatic();
  asked.micro_batches = 8;
  asked.mesh = {{"outer", 1}};  // stages of one rank
  const ml::problem posed = ml::formulate(models::gpt({.layers = 300}), machine, asked);
  const auto stops = ml::stops_of(posed);
  CHECK(stops.size() < ml::blocks_of(posed.graph).size() / 2);
  const auto made = ml::solve(posed);
  REQUIRE_MESSAGE(made, made.error());
  CHECK(made.value().stages.size() == 4);
  for (const ml::stage_plan& each : made.value().stages)
    CHECK(std::binary_search(stops.begin(), stops.end(), each.first_block));
  const ml::verdict said = ml::evaluate(posed, made.value());
  CHECK(said.violations.empty());
  CHECK(made.value().bound <= made.value().predicted);
}

TEST_CASE("logical meshes are all that multiply to the ranks, in one order where order does not matter") {
  ml::cluster machine = ml::local(6);
  machine.hosts = 4;
  int grids = 0;
  for (const std::int32_t a : {0, 2, 3}) {
    for (const std::int32_t b : {0, 2}) {
      for (const bool named : {false, true}) {
        ml::manual asked = ml::automatic();
        asked.mesh = {{"a", a}, {"b", b}};
        if (named) asked.rules = {{"batch", "a"}, {"mlp", "b"}};
        const ml::problem posed = ml::formulate(vectors(), machine, asked);
        for (const ml::submesh& place : ml::submeshes_of(machine)) {
          const auto found = grids_on(posed, place), wanted = tried(place, a, b);
          for (const grid& each : found) CHECK(wanted.count(each) == 1);
          const auto shapes = shapes_of(found, named, place.hosts > 1);
          CHECK(shapes == shapes_of(wanted, named, place.hosts > 1));
          CHECK(shapes.size() == found.size());
          grids += static_cast<int>(found.size());
        }
      }
    }
  }
  CHECK(grids > 60);
}

TEST_CASE("a problem is free as long as nothing is said, and once it is freed") {
  const ml::cluster machine = ml::local(4);
  const ml::problem free = ml::formulate(vectors(), machine);
  CHECK(ml::is_free(free));
  ml::vector<ml::manual> said{{.automatic = false}, ml::data_parallel(4)};
  const auto say = [&](const auto& change) {
    ml::manual asked = ml::automatic();
    change(asked);
    said.push_back(asked);
  };
  say([](ml::manual& asked) { asked.mesh = {{"outer", 2}, {"inner", 0}}; });
  say([](ml::manual& asked) { asked.mesh = {{"outer", 0}}; });
  say([](ml::manual& asked) { asked.zero = {{"outer", 2}}; });
  say([](ml::manual& asked) { asked.rules = {{"batch", "outer"}}; });
  say([](ml::manual& asked) { asked.pins = {{"linear.dot", "outer", "vocab"}}; });
  say([](ml::manual& asked) { asked.recompute = {{}}; });
  say([](ml::manual& asked) { asked.stages = 2; });
  say([](ml::manual& asked) { asked.cuts = {2}; });
  say([](ml::manual& asked) { asked.micro_batches = 2; });
  say([](ml::manual& asked) { asked.schedules = {ml::schedule_kind::gpipe}; });
  for (const ml::manual& each : said) {
    const ml::problem posed = ml::formulate(vectors(), machine, each);
    CHECK(!ml::is_free(posed));
    CHECK(ml::is_free(ml::freed(posed)));
  }
}
