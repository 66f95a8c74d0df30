// SPDX-License-Identifier: Apache-2.0
// report/why_infeasible.hpp: with less and less memory plans split parameters and their states, until nothing fits and
// it is said what limits and by how much; what is said to be enough is, and not much less is.
#include <meshloom/model/gpt.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/report/compare.hpp>
#include <meshloom/report/why_infeasible.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace ml = meshloom;
using ml::bytes;

namespace {

ml::graph gpt(std::int64_t samples, std::int64_t width) {
  return ml::trace(ml::gpt_training(
      {.vocab = 256, .seq = 16, .batch = samples, .embed = width, .layers = 2, .heads = 4}, ml::adamw{}));
}

ml::cluster machine_of(std::int32_t ranks, double flops_per_second, ml::link within) {
  ml::cluster made = ml::local(ranks);
  made.device.flops_per_second = flops_per_second;
  made.device.launch = {100'000};
  made.within_host = within;
  return made;
}

/// The one stage of a sound plan, and what lies in its arena.
struct judged_stage {
  ml::plan made;
  ml::stage_breakdown holds;

  const ml::stage_plan& stage() const { return *made.stages.begin(); }
};

judged_stage judged(const ml::problem& posed, const ml::plan& made) {
  const ml::verdict found = ml::evaluate(posed, made);
  CHECK_MESSAGE(found.violations.empty(), found.violations.front());
  REQUIRE(found.parts);
  REQUIRE(found.parts->stages.size() == 1);
  const ml::stage_breakdown& holds = *found.parts->stages.begin();
  CHECK(holds.peak() <= posed.cluster.device.memory);
  return {made, holds};
}

std::int64_t elements(const ml::graph& whole, const ml::stage_plan& stage, std::size_t p, const ml::spec& layout) {
  std::int64_t count = 1;
  const auto extents = ml::extents_of(whole.sizes, whole.values[whole.parameters[p].value].axes);
  for (const std::int64_t extent : extents) count *= extent;
  for (int axis = 0; axis < stage.mesh.rank; ++axis) {
    if (layout.on(axis).kind == ml::placement::split) count /= stage.mesh.size[static_cast<std::size_t>(axis)];
  }
  return count;
}

/// Every parameter of which a rank holds, or updates, another share is named by the comparison.
int check_named(const ml::problem& posed, const judged_stage& before, const judged_stage& after) {
  std::string named;
  for (const auto& row : ml::parameter_comparison(posed.graph, before.made, after.made).rows) named += row[1] + ", ";
  int changed = 0;
  for (std::size_t p = 0; p < posed.graph.parameters.size(); ++p) {
    const auto share = [&](const judged_stage& of) {
      const ml::parameter_plan& kept = of.stage().parameters[p];
      return std::pair(elements(posed.graph, of.stage(), p, kept.stored),
                       elements(posed.graph, of.stage(), p, kept.state));
    };
    if (share(before) == share(after)) continue;
    const ml::value& entry = posed.graph.values[posed.graph.parameters[p].value];
    const std::string layer = posed.graph.regions[entry.region].name + ".";
    const std::string name = entry.name.starts_with(layer) ? entry.name.substr(layer.size()) : entry.name;
    CAPTURE(named);
    CHECK_MESSAGE((", " + named).find(", " + name + ", ") != std::string::npos, name);
    ++changed;
  }
  const std::string text = ml::compare(posed, before.made, after.made);
  if (changed > 0) CHECK(text.find("Parameters that are kept in another way") != std::string::npos);
  return changed;
}

/// What makes the plan fit, by how a change begins.
const ml::relaxation* find(const ml::infeasibility& why, const std::string& change) {
  for (const ml::relaxation& each : why.relaxations) {
    if (each.change.starts_with(change)) return &each;
  }
  return nullptr;
}

bool is_wide(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos || end - at > ml::text_width) return true;
    at = end + 1;
  }
  return false;
}

/// Why a problem has no plan, once everything said is seen to be so.
ml::infeasibility explained(const ml::problem& posed) {
  const auto why = ml::why_infeasible(posed);
  REQUIRE(why);
  for (const ml::relaxation& each : why->relaxations) {
    CAPTURE(each.change);
    const auto again = ml::solve(each.posed);
    REQUIRE(again);
    CHECK(again.value() == each.found);
    const auto violations = ml::evaluate(each.posed, each.found).violations;
    CHECK_MESSAGE(violations.empty(), violations.front());
  }
  const bytes has = posed.cluster.device.memory;
  if (const ml::relaxation* memory = find(*why, "give each device ")) {
    ml::problem less = memory->posed;
    const bytes needs = less.cluster.device.memory;
    CHECK(needs > has);
    CHECK(memory->change.find("(" + std::to_string(needs.count) + " bytes)") != std::string::npos);
    CHECK(why->reason.starts_with("the memory of a device limits: it has " + std::to_string(has.count) +
                                  " bytes, and " + std::to_string((needs - has).count) + " more are enough; "));
    less.cluster.device.memory.count = needs.count * 94 / 100;
    const auto made = ml::solve(less);
    CHECK((!made || !ml::evaluate(less, made.value()).violations.empty()));
  } else {
    CHECK(why->reason.find("the memory of a device limits") == std::string::npos);
  }
  const std::string text = ml::explain(*why);
  CHECK(!is_wide(text));
  CHECK(text.find("There is no plan\n") == 0);
  return *why;
}

/// Takes memory away, a tenth at a time, until nothing fits; every step on the way.
ml::vector<judged_stage> shrink(ml::problem& posed) {
  ml::vector<judged_stage> steps;
  for (;;) {
    const auto made = ml::solve(posed);
    if (!made) return steps;
    CHECK(!ml::why_infeasible(posed));
    steps.push_back(judged(posed, made.value()));
    if (steps.size() > 1) {
      const judged_stage& before = steps[steps.size() - 2];
      CHECK(steps.back().made.predicted >= before.made.predicted);
      check_named(posed, before, steps.back());
    }
    posed.cluster.device.memory.count = steps.back().holds.peak().count * 9 / 10;
  }
}

bool keeps_all_whole(const judged_stage& of, bool states) {
  return std::all_of(of.stage().parameters.begin(), of.stage().parameters.end(),
                     [&](const auto& each) { return each.stored.is_whole() && (!states || each.state.is_whole()); });
}

/// One stage and 16 micro-batches, so that only how parameters and values are split is open. `states`: of the optimizer
/// are whole too, as long as there is memory.
void check_story(const ml::graph& graph, const ml::cluster& machine, bool states) {
  CAPTURE(machine.ranks());
  ml::manual asked = ml::automatic() & ml::pipeline(1);
  asked.micro_batches = 16;
  ml::problem posed = ml::formulate(graph, machine, asked);
  const ml::vector<judged_stage> steps = shrink(posed);
  REQUIRE(steps.size() > 2);
  CHECK(keeps_all_whole(steps.front(), states));
  CHECK(!keeps_all_whole(steps.back(), states));
  const auto kept = [](const judged_stage& of) { return of.holds.parameters + of.holds.state; };
  CHECK(kept(steps.back()).count * 5 < kept(steps.front()).count * 4);
  int changed = 0;
  for (std::size_t n = 1; n < steps.size(); ++n) changed += check_named(posed, steps[n - 1], steps[n]);
  CHECK(changed > 0);
  CHECK(find(explained(posed), "give each device "));
}

}  // namespace

TEST_CASE("with less and less memory parameters are split, then nothing fits") {
  const ml::link fast{.latency = ml::picoseconds{5'000'000}, .bytes_per_second = 1'000'000'000};
  for (const std::int32_t ranks : {2, 4}) check_story(gpt(64, 64), machine_of(ranks, 1e9, fast), false);
}

TEST_CASE("where links are slow, the state of the optimizer is whole as long as there is memory, then split") {
  const ml::link slow{.latency = ml::picoseconds{100'000'000}, .bytes_per_second = 10'000'000'000};
  for (const std::int32_t ranks : {2, 4}) check_story(gpt(32, 32), machine_of(ranks, 1e11, slow), true);
}

TEST_CASE("a problem that has a plan is feasible") {
  CHECK(!ml::why_infeasible(ml::formulate(models::vectors(), ml::local(2))));
  CHECK(!ml::why_infeasible(models::posed(models::vectors(), "zero3=2,pipeline=2", 4, 2)));
}

TEST_CASE("more devices, or more hosts where there are several, are enough") {
  ml::problem posed = ml::formulate(models::vectors(), models::near_ranks(2));
  posed.cluster.device.memory = {9'000};
  const ml::infeasibility why = explained(posed);
  const ml::relaxation *devices = find(why, "take 4 devices per host, not 2"), *memory = find(why, "give each device ");
  REQUIRE(devices);
  REQUIRE(memory);
  CHECK(devices->posed.cluster.ranks() == 4);
  CHECK((memory < devices) == (memory->posed.cluster.device.memory.count <= 2 * 9'000));
  posed.cluster.devices_per_host = 3;
  CHECK(!ml::solve(posed));
  posed.cluster.hosts = 2;
  posed.cluster.devices_per_host = 1;
  CHECK(find(explained(posed), "take 4 hosts, not 2"));
}

TEST_CASE("what the constraints fix is left out, one kind at a time") {
  const auto change_for = [](const ml::manual& asked, std::int32_t ranks) {
    const ml::infeasibility why = explained(ml::formulate(models::vectors(), models::near_ranks(ranks), asked));
    std::string all;
    for (const ml::relaxation& each : why.relaxations) all += (all.empty() ? "" : "; ") + each.change;
    return all;
  };
  const ml::manual any = ml::automatic();
  CHECK(change_for(any & ml::pipeline(2), 3) == "leave the number of stages open; take 4 devices per host, not 3");
  CHECK(change_for(any & ml::manual{.mesh = {{"outer", 3}}}, 4) == "leave the sizes of mesh axes open");
  CHECK(change_for(
            any & ml::pipeline(2, ml::schedule_kind::gpipe) & ml::manual{.schedules = {ml::schedule_kind::one_f_one_b}},
            2) == "leave the schedule open");
  CHECK(change_for(any & ml::manual{.stages = 2, .micro_batches = 5}, 2) == "take 6 micro-batches, not 5");
  CHECK(change_for({.mesh = {{"data", 4}, {"data", 2}}}, 4) == "leave everything to the planner");
  ml::manual pinned = any & ml::manual{.mesh = {{"outer", 2}}};
  pinned.pins = {{"repeat.linear.dot", "outer", "vocab"}};
  CHECK(change_for(pinned, 2) == "remove the pins of the plan");
}

TEST_CASE("micro-batches that keep too much give way, and a cut in a bad place") {
  ml::manual even = ml::automatic() & ml::pipeline(2);
  even.micro_batches = 1;
  ml::problem posed = ml::formulate(models::vectors(), models::near_ranks(2), even);
  posed.cluster.device.memory = {22'000};
  const ml::infeasibility why = explained(posed);
  const ml::relaxation* memory = find(why, "give each device ");
  REQUIRE(memory);
  CHECK(find(why, "take 2 micro-batches, not 1"));
  posed.constraints.micro_batches = 2;
  CHECK(ml::solve(posed));
  ml::problem uneven = memory->posed;
  uneven.constraints.cuts = {6};
  CHECK(find(explained(uneven), "leave open where stages begin"));
}

TEST_CASE("a plan by hand that does not fit is told how to") {
  const ml::graph graph = gpt(8, 32);
  ml::problem posed = models::posed(graph, "data=2", 2);
  const bytes ample = ml::evaluate(posed, ml::solve(posed).value()).parts->stages[ml::stage_id{0}].peak();
  posed.cluster.device.memory = ample - bytes{1};
  const ml::infeasibility why = explained(posed);
  CHECK(why.reason.find("; stage 0: each rank needs ") != std::string::npos);
  CHECK(find(why, "keep parameters as ZeRO 1 does on mesh axis data"));
  CHECK(find(why, "take 2 micro-batches, not 1"));
  CHECK(!find(why, "keep parameters as ZeRO 2"));
  CHECK(!find(why, "leave everything"));
}

TEST_CASE("what no change of one kind helps is said") {
  const std::string text = ml::explain({"the reason", {}});
  CHECK(text.find("the reason") != std::string::npos);
  CHECK(text.find("No change of one kind is enough.") != std::string::npos);
  ml::manual both = ml::automatic() & ml::pipeline(7);
  both.micro_batches = 5;
  both.pins = {{"nowhere", "outer", "mlp"}};
  const ml::infeasibility why = explained(ml::formulate(models::vectors(), ml::local(2), both));
  CHECK(find(why, "leave everything to the planner"));
}

TEST_CASE("where groups of hosts have too little memory, all are given more in proportion") {
  ml::cluster machine = ml::local(1);
  machine.others.push_back({machine.device, 1, 1, machine.within_host, machine.between_hosts});
  machine.device.memory = {100'000};
  machine.others[0].device.memory = {50'000};
  const ml::problem posed = ml::formulate(gpt(4, 32), machine);
  const auto why = ml::why_infeasible(posed);
  REQUIRE(why);
  CHECK(why->reason.find("the memory of a device limits: it has 100000 bytes in the first group of hosts, others in "
                         "proportion, and ") == 0);
  const auto more = std::find_if(why->relaxations.begin(), why->relaxations.end(), [](const auto& each) {
    return each.change.find("in the first group of hosts, and others in proportion") != std::string::npos;
  });
  REQUIRE(more != why->relaxations.end());
  const bytes first = more->posed.cluster.device.memory, second = more->posed.cluster.others[0].device.memory;
  CHECK(first > bytes{100'000});
  CHECK(second.count == (first.count + 1) / 2);
  CHECK(ml::evaluate(more->posed, more->found).violations.empty());
}
