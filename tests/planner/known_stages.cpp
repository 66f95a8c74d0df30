// SPDX-License-Identifier: Apache-2.0
// planner/known_stages.hpp: a plan made with what is known of other problems keeps the laws of one made without, and
// does not depend on what those problems were for; where nothing is known it is the same plan. That no plan is faster
// is in joint.cpp.
#include <meshloom/planner/known_stages.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/memories.hpp>
#include <meshloom/report/evaluate.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <optional>

namespace ml = meshloom;

namespace {

constexpr std::int64_t noise = 50;  ///< one part in so many: either search leaves something open

ml::manual on_two_axes() {
  ml::manual asked = ml::automatic();
  asked.mesh = {{"outer", 0}, {"inner", 0}};
  return asked;
}

/// Two hosts of two ranks, in a memory that is somewhat scarce.
ml::problem scarce() {
  ml::cluster machine = models::near_ranks(2);
  machine.hosts = 2;
  ml::problem posed = ml::formulate(models::vectors({.layers = 2, .samples = 4}), machine, on_two_axes());
  const auto peaks = ml::peaks_of(posed.graph, ml::solve(posed).value(), posed.cluster);
  posed.cluster.device.memory.count = std::max_element(peaks.begin(), peaks.end())->count * 9 / 10;
  return posed;
}

ml::problem with_memory(ml::problem posed, std::int64_t percent) {
  posed.cluster.device.memory.count = posed.cluster.device.memory.count * percent / 100;
  return posed;
}

ml::problem with_hosts(ml::problem posed, std::int32_t hosts) {
  posed.cluster.hosts = hosts;
  return posed;
}

void check_sound(const ml::problem& posed, const ml::result<ml::plan>& made) {
  REQUIRE(made);
  CHECK(made.value().bound <= made.value().predicted);
  CHECK(ml::evaluate(posed, made.value()).violations.empty());
}

/// The problems that are asked about one after the other.
ml::vector<ml::problem> problems() {
  const ml::problem base = scarce();
  return {base,
          with_memory(base, 95),
          with_memory(base, 120),
          with_hosts(with_memory(base, 200), 1),
          with_memory(base, 110),
          base};
}

}  // namespace

TEST_CASE("where nothing is known the plan is the one that is found without") {
  for (const ml::problem& posed : problems()) {
    ml::known_stages known;
    CHECK(ml::solve(posed, {}, {}, &known).value() == ml::solve(posed).value());
  }
}

TEST_CASE("with what is known of other problems plans are sound, about as good, and the same every time") {
  ml::known_stages known, other;
  for (const ml::problem& posed : problems()) {
    const auto made = ml::solve(posed, {}, {}, &known);
    check_sound(posed, made);
    const ml::plan alone = ml::solve(posed).value();
    CHECK(made.value().predicted.count <= alone.predicted.count + alone.predicted.count / noise);
    CHECK(made.value().bound <= alone.predicted);
    CHECK(alone.bound <= made.value().predicted);
    CHECK(ml::solve(posed, {}, {}, &other).value() == made.value());
  }
}

/// A model that takes millions of prices to plan for, on four hosts in a memory that is scarce.
ml::problem large() {
  ml::cluster machine = models::near_ranks(8);
  machine.hosts = 4;
  ml::problem posed = ml::formulate(models::gpt({.layers = 24, .samples = 256}), machine);
  const auto peaks = ml::peaks_of(posed.graph, ml::solve(posed).value(), posed.cluster);
  posed.cluster.device.memory.count = std::max_element(peaks.begin(), peaks.end())->count * 8 / 10;
  return posed;
}

/// Pins the first operator that can be to split its result otherwise than the plan does.
ml::problem with_broken_pin(ml::problem posed, const ml::plan& made) {
  for (const ml::node& at : posed.graph.nodes) {
    for (const ml::axis_id axis : posed.graph.values[at.results.front()].axes) {
      if (at.when != ml::phase::forward) continue;
      posed.constraints.pins = {{at.name, "outer", posed.graph.sizes[axis].name}};
      if (ml::check(posed).empty() && !ml::evaluate(posed, made).violations.empty()) return posed;
    }
  }
  return posed;
}

/// A plan, and the prices that were read for it.
struct answer {
  ml::plan made;
  std::int64_t work = 0;
};

answer plan_for(const ml::problem& posed, ml::known_stages* known) {
  std::optional<std::int64_t> first;
  std::int64_t last = 0;
  const ml::planning_watch watch{[&](const ml::planning_progress& now) {
    first = first.value_or(now.work);
    last = now.work;
    CHECK(now.promise.has_value() == (now.racing > 0));
    return true;
  }};
  const auto made = ml::solve(posed, {}, watch, known);
  check_sound(posed, made);
  return {made.value(), last - first.value_or(0)};
}

TEST_CASE("planning again reads fewer prices, and the plan is about as good") {
  const ml::problem base = large();
  const ml::plan before = ml::solve(base).value();
  const ml::problem pinned = with_broken_pin(base, before);
  REQUIRE(!pinned.constraints.pins.empty());
  for (const ml::problem& changed :
       {with_memory(base, 90), with_memory(base, 110), with_hosts(base, 2), with_hosts(base, 8), pinned}) {
    ml::known_stages known, other;
    for (ml::known_stages* each : {&known, &other}) CHECK(ml::solve(base, {}, {}, each).value() == before);
    REQUIRE(known.of(base, {}).work() > 20'000'000);  // where less is known, all that may win is looked at again
    const answer alone = plan_for(changed, nullptr), again = plan_for(changed, &known);
    const bool has_memory_alone = changed.cluster.hosts == base.cluster.hosts && changed.constraints.pins.empty();
    CHECK(again.work <= alone.work / (has_memory_alone ? 10 : 1));
    CHECK(again.made.predicted.count <= alone.made.predicted.count + alone.made.predicted.count / noise);
    CHECK(again.made.bound <= alone.made.predicted);
    CHECK(alone.made.bound <= again.made.predicted);
    CHECK(plan_for(changed, &other).made == again.made);
  }
}

TEST_CASE("planning again looks for stages that are as large as before") {
  ml::cluster machine = models::near_ranks(4);
  machine.hosts = 8;
  machine.between_hosts = machine.within_host;
  const ml::problem base = ml::formulate(models::gpt({.layers = 6, .samples = 64}), machine);
  ml::known_stages known;
  const ml::plan before = ml::solve(base, {}, {}, &known).value();
  REQUIRE(before.stages[ml::stage_id(0)].mesh.ranks() > machine.devices_per_host);
  REQUIRE(known.of(base, {}).work() > 20'000'000);
  const ml::problem pinned = with_broken_pin(base, before);
  REQUIRE(!pinned.constraints.pins.empty());
  const answer alone = plan_for(pinned, nullptr), again = plan_for(pinned, &known);
  CHECK(again.work < alone.work);
  CHECK(again.made.predicted.count <= alone.made.predicted.count + alone.made.predicted.count / noise);
}

TEST_CASE("what is known outlives the problems that it was found for") {
  ml::known_stages known;
  const auto plan_for = [&](std::int64_t percent) {
    const auto posed = std::make_unique<ml::problem>(with_memory(scarce(), percent));
    const auto made = ml::solve(*posed, {}, {}, &known);
    check_sound(*posed, made);
    return made.value();
  };
  plan_for(100);
  CHECK(plan_for(110).predicted <= plan_for(95).predicted);
}

TEST_CASE("stages of a mesh that is said are known again, whatever other submeshes there are") {
  ml::cluster machine = models::near_ranks(2);
  machine.hosts = 2;
  ml::manual asked = ml::automatic();
  asked.mesh = {{"outer", 2}};  // none on one rank
  const ml::problem posed = ml::formulate(models::vectors({.layers = 4, .samples = 8}), machine, asked);
  ml::known_stages known;
  const ml::plan made = ml::solve(posed, {}, {}, &known).value();
  check_sound(with_memory(posed, 200), ml::solve(with_memory(posed, 200), {}, {}, &known));
  const ml::problem pinned = with_broken_pin(posed, made);
  REQUIRE(!pinned.constraints.pins.empty());
  check_sound(pinned, ml::solve(pinned, {}, {}, &known));
}

/// A problem with each pin of a forward operator's result to mesh axis outer that it can have, besides its own.
ml::vector<ml::problem> with_one_pin_more(const ml::problem& posed) {
  ml::vector<ml::problem> found;
  const std::string split = posed.graph.sizes[posed.graph.micro_batched].name;
  const auto is_pinned = [&](const ml::node& at) {
    const auto& pins = posed.constraints.pins;
    return std::any_of(pins.begin(), pins.end(), [&](const ml::path_pin& each) { return each.path == at.name; });
  };
  for (const ml::node& at : posed.graph.nodes) {
    if (is_pinned(at)) continue;
    for (const std::string& axis : {std::string(), split}) {
      ml::problem pinned = posed;
      pinned.constraints.pins.push_back({at.name, "outer", axis});
      if (at.when == ml::phase::forward && ml::check(pinned).empty()) found.push_back(std::move(pinned));
    }
  }
  return found;
}

TEST_CASE("a plan that keeps to what is asked besides is the plan, and its bound holds") {
  const ml::problem posed = with_one_pin_more(scarce()).front();
  ml::known_stages known;
  const ml::plan made = ml::solve(posed, {}, {}, &known).value();
  CHECK(ml::solve(posed, {}, {}, &known).value() == made);

  int kept = 0, broken = 0;
  for (const ml::problem& pinned : with_one_pin_more(posed)) {
    const auto answer = known.answer_for(pinned, {});
    CHECK(known.bound_for(pinned) == made.bound);
    const bool keeps = ml::evaluate(pinned, made).violations.empty();
    CHECK(answer.has_value() == keeps);
    (keeps ? kept : broken) += 1;
    ml::known_stages before;
    CHECK(ml::solve(posed, {}, {}, &before).value() == made);
    const auto again = ml::solve(pinned, {}, {}, &before), alone = ml::solve(pinned);
    REQUIRE(static_cast<bool>(again) == static_cast<bool>(alone));
    if (!again) continue;
    check_sound(pinned, again);
    CHECK(again.value().predicted.count <= alone.value().predicted.count + alone.value().predicted.count / noise);
    CHECK(again.value().bound >= made.bound);
    CHECK(again.value().bound <= alone.value().predicted);
    if (!keeps) continue;
    CHECK(answer->stages == made.stages);
    CHECK(again.value() == *answer);
  }
  CHECK(kept > 0);
  CHECK(broken > 0);

  CHECK(known.bound_for(with_memory(posed, 95)) == made.bound);
  CHECK(known.bound_for(with_memory(posed, 105)).count == 0);
  CHECK(!known.answer_for(with_memory(posed, 101), {}));
  CHECK(!known.answer_for(with_memory(posed, 10), {}));
  CHECK(!known.answer_for(with_hosts(posed, 3), {}));
  ml::intra_options fewer;
  fewer.rounds = 7;
  CHECK(!known.answer_for(posed, fewer));
  ml::problem other = posed;
  other.graph.sizes[other.graph.micro_batched].extent *= 2;
  CHECK(!known.answer_for(other, {}));
}

TEST_CASE("once an axis is named there are more meshes, of which nothing is proven, but what is known is as good") {
  const ml::problem posed = scarce();
  int kept = 0, broken = 0;
  for (const ml::problem& pinned : with_one_pin_more(posed)) {
    ml::known_stages known;
    const ml::plan made = ml::solve(posed, {}, {}, &known).value();
    CHECK(!known.answer_for(pinned, {}));
    CHECK(known.bound_for(pinned).count == 0);
    const bool keeps = ml::evaluate(pinned, made).violations.empty();
    CHECK(known.plans_for(pinned).empty() != keeps);
    (keeps ? kept : broken) += 1;
    const auto again = ml::solve(pinned, {}, {}, &known), alone = ml::solve(pinned);
    REQUIRE(static_cast<bool>(again) == static_cast<bool>(alone));
    if (!again) continue;
    check_sound(pinned, again);
    if (keeps) CHECK(again.value().predicted <= made.predicted);
    CHECK(again.value().predicted.count <= alone.value().predicted.count + alone.value().predicted.count / noise);
    CHECK(again.value().bound <= alone.value().predicted);
  }
  CHECK(kept > 0);
  CHECK(broken > 0);
}

TEST_CASE("stages cost the same in another memory and among other hosts, and not at other rates") {
  const ml::problem posed = scarce();
  const ml::priced_stages known(posed, {});
  CHECK(known.are_of(with_memory(posed, 80), {}));
  CHECK(known.are_of(with_hosts(posed, 5), {}));
  CHECK(!known.are_of(with_hosts(posed, 1), {}));  // messages stay within the host
  ml::problem other = posed;
  other.constraints.stages = 2;
  CHECK(known.are_of(other, {}));
  other.constraints.pins = {{posed.graph.nodes[ml::node_id{0}].name, "outer", ""}};
  CHECK(!known.are_of(other, {}));
  CHECK(known.are_freer_than(other, {}));
  CHECK(!ml::priced_stages(other, {}).are_freer_than(posed, {}));
  other = posed;
  other.cluster.device.bytes_per_second /= 2;
  CHECK(!known.are_of(other, {}));
  other = posed;
  other.cluster.between_hosts.latency.count += 1;
  CHECK(!known.are_of(other, {}));
  ml::intra_options fewer;
  fewer.nodes = 3;
  CHECK(!known.are_of(posed, fewer));
}
