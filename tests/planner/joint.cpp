// SPDX-License-Identifier: Apache-2.0
// planner/solve.hpp against all plans: on small models and random clusters the bound is no more than the optimum, and
// the optimum is what `solve` finds; where no plan fits, it says so.
#include "joint.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/model/training.hpp>
#include <meshloom/planner/solve.hpp>

#include <doctest/doctest.h>

#include <cmath>

namespace ml = meshloom;
using namespace ml::axis;
using ml::bytes;
using ml::picoseconds;

namespace {

struct shape {
  std::int64_t samples, narrow, wide, classes;
};

/// A perceptron: two products with relu between them.
ml::graph perceptron(const shape& of, bool trains) {
  const auto model = ml::linear_without_bias<embed, mlp>{} | ml::relu{} | ml::linear_without_bias<mlp, vocab>{};
  const ml::training task{.model = model,
                          .loss = ml::cross_entropy<vocab>{},
                          .optimizer = ml::sgd{},
                          .sizes = ml::sizes{ml::size<batch>{of.samples}, ml::size<embed>{of.narrow},
                                             ml::size<mlp>{of.wide}, ml::size<vocab>{of.classes}},
                          .input = ml::tensor<batch, embed>{},
                          .target = ml::integers<batch>{}};
  return trains ? ml::trace(task) : ml::trace_inference(task);
}

/// A layer that may be repeated: a square product and relu.
struct square_layer {
  static constexpr std::string_view name = "square";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    const auto made = ml::linear_without_bias<embed, ml::keys<embed>>{}(scope, x);
    return ml::rename<ml::keys<embed>, embed>(ml::evaluate(scope, ml::relu_of(made)));
  }
};

struct square_error {
  auto operator()(auto& scope, const ml::pointwise_value auto& output, const auto& target) const {
    const auto error = evaluate(scope, output - target);
    return error * error;
  }
};

/// So many square layers.
ml::graph squares(std::int32_t layers, std::int64_t samples, std::int64_t width) {
  return ml::trace(ml::training{.model = ml::repeat(layers, square_layer{}),
                                .loss = square_error{},
                                .optimizer = ml::sgd{},
                                .sizes = ml::sizes{ml::size<batch>{samples}, ml::size<embed>{width}},
                                .input = ml::tensor<batch, embed>{},
                                .target = ml::tensor<batch, embed>{}});
}

/// A cluster on which anything may be worth it, for models of microseconds.
ml::cluster random_cluster(std::mt19937_64& random, std::int32_t hosts, std::int32_t devices) {
  const auto between = [&](double low, double high) {
    return low * std::pow(high / low, static_cast<double>(random() % 1000) / 999);
  };
  const auto whole = [&](double low, double high) { return static_cast<std::int64_t>(between(low, high)); };
  ml::cluster machine = ml::local(devices);
  machine.hosts = hosts;
  machine.device.flops_per_second = between(1e8, 1e11);
  machine.device.bytes_per_second = whole(1e8, 1e11);
  machine.device.launch = picoseconds{whole(1e3, 1e6)};
  machine.within_host = {.latency = picoseconds{whole(1e4, 5e6)}, .bytes_per_second = whole(1e7, 1e11)};
  machine.between_hosts = {.latency = picoseconds{whole(1e5, 2e7)}, .bytes_per_second = whole(1e7, 1e10)};
  return machine;
}

/// What `solve` finds beside what there is; never where there is nothing.
struct comparison {
  picoseconds cost = joint::never, optimum = joint::never;
};

/// Compares the plan of `solve` with all others: bound ≤ optimum ≤ cost.
comparison compare(const ml::problem& posed, ml::known_stages* known = nullptr) {
  CAPTURE(posed.cluster.hosts);
  CAPTURE(posed.cluster.devices_per_host);
  CAPTURE(posed.cluster.device.memory.count);
  const auto made = ml::solve(posed, {}, {}, known);
  const picoseconds cost = made ? made.value().predicted : joint::never;
  const comparison found{cost, joint::fastest(posed, cost).time};
  if (!made) return found;
  CHECK(made.value().bound <= found.optimum);
  CHECK(ml::check(posed.graph, made.value()).empty());
  CHECK(cost == ml::predict(posed.graph, made.value(), posed.cluster));
  CHECK(joint::peak_of(posed, made.value()) <= posed.cluster.device.memory);
  return found;
}

struct hosts_of_devices {
  std::int32_t hosts, devices;
};

/// Groups of hosts with devices, memories and links that have nothing to do with each other.
ml::cluster random_groups(std::mt19937_64& random, const ml::vector<hosts_of_devices>& groups) {
  ml::cluster machine = random_cluster(random, groups[0].hosts, groups[0].devices);
  for (std::size_t g = 1; g < groups.size(); ++g) {
    const ml::cluster other = random_cluster(random, groups[g].hosts, groups[g].devices);
    machine.others.push_back(
        {other.device, other.hosts, other.devices_per_host, other.within_host, other.between_hosts});
  }
  return machine;
}

void compare_on_groups(const ml::graph& graph, const ml::vector<ml::vector<hosts_of_devices>>& clusters, int rounds,
                       std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(seed);
    CAPTURE(round);
    for (const auto& groups : clusters) {
      CAPTURE(groups.size());
      const comparison found = compare(ml::formulate(graph, random_groups(random, groups)));
      CHECK(found.cost < joint::never);
      CHECK(found.cost == found.optimum);
    }
  }
}

/// With less and less memory on one group, then on the other, until nothing fits.
void compare_tight_groups(const ml::graph& graph, const ml::vector<hosts_of_devices>& groups, int rounds,
                          std::uint64_t seed) {
  std::mt19937_64 random(seed);
  int none = 0, changed = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(seed);
    CAPTURE(round);
    const ml::problem posed = ml::formulate(graph, random_groups(random, groups));
    const ml::plan free = ml::solve(posed).value();
    const bytes ample = measures::peak_of(graph, free, posed.cluster);
    for (const bool first : {true, false}) {
      for (const std::int64_t percent : {95, 70, 45, 5}) {
        ml::problem tight = posed;
        (first ? tight.cluster.device : tight.cluster.others[0].device).memory.count = ample.count * percent / 100;
        const comparison found = compare(tight);
        CHECK(found.cost == found.optimum);
        none += found.optimum == joint::never ? 1 : 0;
        changed += found.optimum > free.predicted ? 1 : 0;
      }
    }
  }
  CHECK(none > 0);
  CHECK(changed > none);
}

void compare_on(const ml::graph& graph, std::initializer_list<hosts_of_devices> clusters, int rounds,
                std::uint64_t seed, int mesh_axes = 2) {
  std::mt19937_64 random(seed);
  ml::manual asked = ml::automatic();
  if (mesh_axes == 1) asked.mesh = {{"outer", 0}};
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(seed);
    CAPTURE(round);
    for (const auto& [hosts, devices] : clusters) {
      const comparison found = compare(ml::formulate(graph, random_cluster(random, hosts, devices), asked));
      CHECK(found.cost < joint::never);
      CHECK(found.cost == found.optimum);
    }
  }
}

/// With less and less memory, until nothing fits.
void compare_tight(const ml::graph& graph, std::initializer_list<hosts_of_devices> clusters, int rounds,
                   std::uint64_t seed, const ml::vector<std::int64_t>& percents = {95, 80, 65, 50, 10}) {
  std::mt19937_64 random(seed);
  int none = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(seed);
    CAPTURE(round);
    for (const auto& [hosts, devices] : clusters) {
      ml::problem posed = ml::formulate(graph, random_cluster(random, hosts, devices));
      const bytes ample = measures::peak_of(graph, ml::solve(posed).value(), posed.cluster);
      for (const std::int64_t percent : percents) {
        posed.cluster.device.memory.count = ample.count * percent / 100;
        const comparison found = compare(posed);
        CHECK(found.cost == found.optimum);
        none += found.optimum == joint::never ? 1 : 0;
      }
    }
  }
  CHECK(none > 0);
}

/// One after the other with what is known of those before: less memory, more hosts, more memory, a pin on the first
/// operator, and all as it was.
void compare_again(const ml::graph& graph, std::int32_t devices, int rounds, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(seed);
    CAPTURE(round);
    ml::known_stages known;
    ml::manual asked = ml::automatic();
    asked.mesh = {{"outer", 0}, {"inner", 0}};
    const ml::cluster machine = random_cluster(random, 1, devices);
    const auto look = [&](std::int32_t hosts, std::int64_t memory) {
      ml::problem posed = ml::formulate(graph, machine, asked);
      posed.cluster.hosts = hosts;
      posed.cluster.device.memory.count = memory;
      const comparison found = compare(posed, &known);
      CHECK(found.cost == found.optimum);
    };
    const std::int64_t plenty = machine.device.memory.count;
    const auto made = ml::solve(ml::formulate(graph, machine, asked), {}, {}, &known);
    const std::int64_t ample = measures::peak_of(graph, made.value(), machine).count;
    for (const std::int64_t percent : {85, 70, 90}) look(1, ample * percent / 100);
    if (devices == 1) {
      look(2, plenty);
      look(2, ample * 80 / 100);
    }
    const ml::node& first = graph.nodes[ml::node_id{0}];
    for (const std::string& axis : {std::string(), graph.sizes[graph.micro_batched].name}) {
      asked.pins = {{first.name, "outer", axis}};
      look(1, plenty);
    }
    asked.pins.clear();
    look(1, plenty);
  }
}

/// Checks what is said of plans beforehand on random ones; returns how many.
int check_outlooks(const ml::problem& posed, std::uint64_t seed) {
  std::mt19937_64 dice(seed);
  ml::shared_paths paths(posed.graph);
  int plans = 0;
  joint::every_frame(posed, [&](const ml::plan& frame) {
    joint::completion all(posed, frame, paths);
    for (int attempt = 0; attempt < 200; ++attempt) {
      const auto look = [&](const ml::plan& made, const joint::outlook& seen) {
        ++plans;
        REQUIRE(ml::check(posed.graph, made).empty());
        const picoseconds time = ml::predict(posed.graph, made, posed.cluster, paths);
        CHECK(seen.time <= time);
        if (made.stages.size() == 1) CHECK(seen.time == time);
        CHECK(seen.peak <= measures::peak_of(posed.graph, made, posed.cluster));
      };
      all.run([](const joint::outlook&) { return false; }, look, false, &dice);
    }
  });
  return plans;
}

}  // namespace

TEST_CASE("no plan is faster: a perceptron that infers") {
  for (const std::int64_t samples : {2, 4})
    compare_on(perceptron({samples, 6, 8, 5}, false), {{1, 2}, {2, 1}, {1, 4}, {2, 2}}, 6, 1);
}

TEST_CASE("no plan is faster: a perceptron that trains") {
  compare_on(perceptron({4, 6, 8, 5}, true), {{1, 2}, {2, 1}}, 10, 2);
  compare_on(perceptron({2, 16, 3, 4}, true), {{1, 2}, {2, 1}}, 10, 3);
}

TEST_CASE("no plan is faster: a repeated layer, of which copies may recompute") {
  compare_on(squares(2, 4, 6), {{1, 2}, {2, 1}}, 6, 4);
  compare_on(squares(3, 2, 16), {{1, 2}, {2, 1}}, 3, 5);
}

TEST_CASE("no plan is faster: groups of hosts with other devices and links") {
  compare_on_groups(perceptron({4, 6, 8, 5}, false), {{{1, 1}, {1, 1}}, {{1, 2}, {1, 1}}, {{1, 1}, {2, 1}}}, 6, 41);
  compare_on_groups(perceptron({4, 6, 8, 5}, true), {{{1, 1}, {1, 1}}}, 10, 42);
  compare_on_groups(squares(2, 4, 6), {{{1, 1}, {1, 1}}}, 6, 43);
  compare_on_groups(perceptron({2, 6, 8, 5}, false), {{{1, 1}, {1, 2}, {1, 1}}}, 3, 44);
}

TEST_CASE("with less memory on one group no plan is faster, and where there is none that is said") {
  compare_tight_groups(perceptron({4, 6, 8, 5}, false), {{1, 2}, {1, 1}}, 3, 45);
  compare_tight_groups(perceptron({4, 6, 8, 5}, true), {{1, 1}, {1, 1}}, 2, 46);
}

TEST_CASE("two groups that are equal in everything are planned as one, where stages do not straddle them") {
  std::mt19937_64 random(47);
  for (int round = 0; round < 6; ++round) {
    for (const ml::graph& graph : {perceptron({4, 6, 8, 5}, true), squares(3, 2, 16)}) {
      const ml::cluster one = random_cluster(random, 2, 1);
      ml::cluster two = one;
      two.hosts = 1;
      two.others.push_back({one.device, 1, 1, one.within_host, one.between_hosts});
      const ml::plan apart = ml::solve(ml::formulate(graph, two)).value();
      const ml::plan pipelined = ml::solve(ml::formulate(graph, one, ml::automatic() & ml::pipeline(2))).value();
      CHECK(apart.predicted == pipelined.predicted);
      CHECK(apart.bound == pipelined.bound);
      CHECK(apart.predicted == ml::predict(graph, apart, one));
      CHECK(apart.predicted >= ml::solve(ml::formulate(graph, one)).value().predicted);  // where they may straddle
    }
  }
}

TEST_CASE("what is said of plans beforehand is what the referees say, or less") {
  std::mt19937_64 random(6);
  int plans = 0;
  for (const auto& [hosts, devices] : {hosts_of_devices{1, 2}, {2, 2}}) {
    for (const ml::graph& graph : {perceptron({4, 6, 8, 5}, true), squares(2, 4, 6), perceptron({4, 6, 8, 5}, false)})
      plans += check_outlooks(ml::formulate(graph, random_cluster(random, hosts, devices)), 7);
  }
  CHECK(plans > 300);
}

TEST_CASE("what is left out while looking for the fastest plan is not faster") {
  std::mt19937_64 random(8);
  for (const auto& [hosts, devices] : {hosts_of_devices{1, 2}, {2, 1}}) {
    ml::problem posed = ml::formulate(perceptron({2, 4, 6, 3}, false), random_cluster(random, hosts, devices));
    const joint::optimum pruned = joint::fastest(posed), all = joint::fastest(posed, joint::never, false);
    CHECK(pruned.time == all.time);
    CHECK(pruned.plans < all.plans);
    CHECK(joint::fastest(posed, all.time).time == all.time);
    CHECK(joint::fastest(posed, all.time + picoseconds{1}).time == all.time);
  }
  for (const auto& [hosts, devices] : {hosts_of_devices{1, 2}, {2, 1}, {1, 2}, {2, 1}}) {
    for (const ml::graph& graph : {perceptron({2, 4, 6, 3}, true), squares(2, 2, 4)}) {
      ml::problem posed = ml::formulate(graph, random_cluster(random, hosts, devices));
      const picoseconds below = ml::solve(posed).value().predicted + picoseconds{1};
      const joint::optimum merged = joint::fastest(posed, below);
      posed.cluster.device.memory = joint::plenty(graph) - bytes{1};  // now it might matter: plans are not merged
      const joint::optimum each = joint::fastest(posed, below);
      CHECK(each.time == merged.time);
      CHECK(each.best);
      CHECK(merged.steps < each.steps);
    }
  }
}

TEST_CASE("a plan that is not the fastest is found out") {
  std::mt19937_64 random(9);
  int slower = 0;
  for (int round = 0; round < 4; ++round) {
    const ml::graph graph = perceptron({4, 6, 8, 5}, true);
    const ml::cluster machine = random_cluster(random, 1, 2);
    const picoseconds best = ml::solve(ml::formulate(graph, machine)).value().predicted;
    for (const ml::manual& preset : {ml::data_parallel(2), ml::zero(3, 2), ml::pipeline(2)}) {
      const ml::plan made = ml::solve(ml::formulate(graph, machine, preset)).value();
      const joint::optimum found = joint::fastest(ml::formulate(graph, machine), made.predicted);
      CHECK(found.time == best);
      slower += found.time < made.predicted ? 1 : 0;
    }
  }
  CHECK(slower > 8);
}

TEST_CASE("with less memory no plan is faster, and where there is none that is said: a perceptron that infers") {
  compare_tight(perceptron({4, 6, 8, 5}, false), {{1, 2}, {2, 1}, {1, 4}, {2, 2}}, 2, 10);
}

TEST_CASE("with less memory no plan is faster, and where there is none that is said: training") {
  compare_tight(perceptron({4, 6, 8, 5}, true), {{1, 2}, {2, 1}}, 1, 10, {95, 80, 65, 10});
  compare_tight(perceptron({2, 16, 3, 4}, true), {{1, 2}, {2, 1}}, 1, 21, {95, 80, 65, 10});
  compare_tight(squares(2, 4, 6), {{1, 2}, {2, 1}}, 1, 21, {95, 80, 65, 10});
}

TEST_CASE("no plan is faster after the problem has changed") {
  compare_again(perceptron({2, 6, 8, 5}, false), 2, 10, 31);
  compare_again(perceptron({2, 6, 8, 5}, false), 1, 10, 32);
}

TEST_SUITE("all") {
  TEST_CASE("no plan is faster after the problem has changed: more clusters") {
    compare_again(perceptron({2, 6, 8, 5}, false), 2, 100, 33);
    compare_again(perceptron({2, 6, 8, 5}, false), 1, 100, 34);
    compare_again(perceptron({2, 4, 6, 3}, true), 1, 2, 35);
    compare_again(squares(2, 2, 4), 1, 2, 36);
  }

  TEST_CASE("no plan is faster: more clusters") {
    compare_on(perceptron({4, 6, 8, 5}, true), {{1, 2}, {2, 1}}, 60, 12);
    compare_on(perceptron({3, 24, 24, 6}, true), {{1, 2}, {2, 1}}, 40, 13);
    compare_on(squares(3, 4, 8), {{1, 2}, {2, 1}}, 10, 14);
    compare_on_groups(perceptron({4, 6, 8, 5}, true), {{{1, 1}, {1, 1}}}, 60, 48);
    compare_on_groups(squares(3, 4, 8), {{{1, 1}, {1, 1}}}, 10, 49);
    compare_on_groups(perceptron({4, 6, 8, 5}, false), {{{1, 2}, {1, 1}}, {{1, 1}, {1, 2}}, {{2, 1}, {1, 1}}}, 30, 50);
    compare_on(perceptron({4, 6, 8, 5}, false), {{1, 2}, {2, 1}, {1, 4}, {2, 2}}, 60, 15);
  }

  TEST_CASE("with less memory no plan is faster: more clusters") {
    for (const std::uint64_t seed : {11, 12, 13, 14})
      compare_tight(perceptron({4, 6, 8, 5}, false), {{1, 2}, {2, 1}, {1, 4}, {2, 2}}, 3, seed);
    compare_tight(perceptron({4, 6, 8, 5}, true), {{1, 2}, {2, 1}}, 3, 21);
    compare_tight(perceptron({2, 16, 3, 4}, true), {{1, 2}, {2, 1}}, 3, 21);
    compare_tight(squares(2, 4, 6), {{1, 2}, {2, 1}}, 3, 21);
    compare_tight(squares(3, 2, 16), {{1, 2}, {2, 1}}, 1, 21);
  }
}
