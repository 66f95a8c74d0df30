// SPDX-License-Identifier: Apache-2.0
// planner/baselines.hpp: every baseline answers with a sound plan that fits, the best of the space that it is said to
// search; the automatic plan is not slower than any.
#include <meshloom/model/moe.hpp>
#include <meshloom/model/wide_resnet.hpp>
#include <meshloom/planner/baselines.hpp>
#include <meshloom/report/evaluate.hpp>

#include "../plan/measures.hpp"
#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <set>

namespace ml = meshloom;
using measures::peak_of;

namespace {

const ml::graph& experts() {
  static const ml::graph made = ml::trace(ml::moe_training(ml::find_moe("moe-tiny"), ml::adamw{}));
  return made;
}

const ml::graph& images() {
  static const ml::graph made = ml::trace(ml::wide_resnet_training(ml::wrn_tiny, ml::adamw{}));
  return made;
}

const ml::graph& small_gpt() {
  static const ml::graph made = models::gpt({.layers = 2, .samples = 8});
  return made;
}

ml::cluster with_memory(ml::cluster machine, std::int64_t bytes) {
  machine.device.memory = {bytes};
  return machine;
}

/// Two hosts of two ranks, as near as the ranks of one.
ml::cluster two_hosts() {
  ml::cluster machine = models::near_ranks(2);
  machine.hosts = 2;
  return machine;
}

void check_sound(const ml::graph& whole, const ml::cluster& machine, const ml::plan& made) {
  const auto violations = ml::evaluate(ml::formulate(whole, machine), made).violations;
  CHECK_MESSAGE(violations.empty(), violations.front());
  CHECK(peak_of(whole, made, machine) <= machine.device.memory);
}

/// Checks every baseline's plan, if it has one, against the automatic one. Returns how many had.
int compare_all(const ml::graph& whole, const ml::cluster& machine) {
  const ml::plan ours = ml::solve(ml::formulate(whole, machine)).value();
  int answers = 0;
  for (const ml::baseline each : ml::all_baselines) {
    const std::string name(ml::name_of(each));
    CAPTURE(name);
    const auto made = ml::solve(whole, machine, each, {.walk = {.steps = 300}});
    if (!made) {
      CHECK(!made.error().empty());
      continue;
    }
    check_sound(whole, machine, made.value());
    CHECK(ours.predicted <= made.value().predicted);
    ++answers;
  }
  return answers;
}

/// What a preset takes in any number of micro-batches that leaves `data` ranks a sample, with activations kept or
/// computed again, if it fits; all lowered.
void try_preset(const ml::graph& whole, const ml::cluster& machine, const std::string& preset, std::int32_t data,
                std::optional<ml::picoseconds>& best) {
  const std::int64_t batch = whole.sizes[whole.micro_batched].extent;
  for (std::int32_t parts = 1; parts * data <= batch; ++parts) {
    if (batch % parts != 0) continue;
    for (const bool again : {false, true}) {
      ml::manual asked = ml::parse_manual(preset, machine.ranks()).value();
      asked.micro_batches = parts;
      const auto made = ml::solve(ml::formulate(whole, machine, again ? asked & ml::recompute() : asked));
      if (!made || peak_of(whole, made.value(), machine) > machine.device.memory) continue;
      if (!best || made.value().predicted < *best) best = made.value().predicted;
    }
  }
}

std::optional<ml::picoseconds> best_of_megatron(const ml::graph& whole, const ml::cluster& machine) {
  std::optional<ml::picoseconds> best;
  const std::int32_t ranks = machine.ranks();
  for (std::int32_t data = 1; data <= ranks; ++data) {
    for (std::int32_t tensor = 1; tensor <= machine.devices_per_host; ++tensor) {
      if (ranks % (data * tensor) != 0 || machine.devices_per_host % tensor != 0) continue;
      const std::string rest = "=" + std::to_string(data) + ",tensor=" + std::to_string(tensor) +
                               ",pipeline=" + std::to_string(ranks / data / tensor);
      for (const std::string spread : {"data", "zero1"}) try_preset(whole, machine, spread + rest, data, best);
    }
  }
  return best;
}

std::optional<ml::picoseconds> best_of_presets(const ml::graph& whole, const ml::cluster& machine,
                                               const std::string& preset) {
  std::optional<ml::picoseconds> best;
  try_preset(whole, machine, preset + "=" + std::to_string(machine.ranks()), machine.ranks(), best);
  return best;
}

void check_answer(const ml::graph& whole, const ml::cluster& machine, ml::baseline which,
                  const std::optional<ml::picoseconds>& oracle) {
  const auto made = ml::solve(whole, machine, which);
  REQUIRE(static_cast<bool>(made) == oracle.has_value());
  if (oracle) CHECK(made.value().predicted == *oracle);
}

/// With ever less memory, until nothing fits: then other points of the grid win. Returns how many different ones did.
std::size_t tighten(const ml::graph& whole, ml::cluster machine) {
  std::set<std::int64_t> answers;
  for (std::optional<ml::picoseconds> best = ml::picoseconds{}; best;) {
    best = best_of_megatron(whole, machine);
    check_answer(whole, machine, ml::baseline::megatron, best);
    if (!best) break;
    answers.insert(best->count);
    const ml::plan made = ml::solve(whole, machine, ml::baseline::megatron).value();
    machine.device.memory = peak_of(whole, made, machine) - ml::bytes{1};
  }
  return answers.size();
}

}  // namespace

TEST_CASE("baselines answer with sound plans that fit, and ours is not slower") {
  CHECK(compare_all(small_gpt(), models::near_ranks(4)) == 8);
  CHECK(compare_all(models::all()[2].graph, two_hosts()) == 8);
  CHECK(compare_all(models::all()[2].graph, ml::local(1)) == 8);
}

TEST_CASE("Megatron's grid equals all its presets, solved and lowered one by one") {
  for (const ml::cluster& machine : {ml::local(2), models::near_ranks(4), two_hosts()})
    check_answer(small_gpt(), machine, ml::baseline::megatron, best_of_megatron(small_gpt(), machine));
  CHECK(tighten(small_gpt(), models::near_ranks(2)) > 3);
}

TEST_CASE("data parallelism and ZeRO-3 equal their presets, in memory for all and for few of their plans") {
  for (const auto& [which, preset] :
       {std::pair(ml::baseline::data_parallel, "data"), std::pair(ml::baseline::zero_3, "zero3")}) {
    ml::cluster machine = models::near_ranks(2);
    for (int tried = 0; tried < 6; ++tried) {
      check_answer(small_gpt(), machine, which, best_of_presets(small_gpt(), machine, preset));
      const auto made = ml::solve(small_gpt(), machine, which);
      if (!made) break;
      machine.device.memory = peak_of(small_gpt(), made.value(), machine) - ml::bytes{1};
    }
  }
}

TEST_CASE("DeepSpeed splits experts over their mesh axis, and the state of all else over all ranks") {
  const ml::cluster machine = models::near_ranks(4);
  std::set<std::int32_t> degrees;
  for (const ml::manual& asked : ml::deepspeed_grid(experts(), machine)) {
    const ml::problem posed = ml::formulate(experts(), machine, asked);
    const auto made = ml::solve(posed);
    REQUIRE_MESSAGE(made, made.error());
    const auto faults = ml::check(experts(), made.value());
    CHECK_MESSAGE(faults.empty(), faults.front());
    const ml::stage_plan& stage = *made.value().stages.begin();
    const auto named = std::find(stage.mesh_axes.begin(), stage.mesh_axes.end(), "expert");
    const bool split = named != stage.mesh_axes.end();
    const auto along = static_cast<int>(named - stage.mesh_axes.begin());
    degrees.insert(split ? stage.mesh.size[static_cast<std::size_t>(along)] : 1);
    for (std::size_t p = 0; p < stage.parameters.size(); ++p) {
      const auto& axes = experts().values[experts().parameters[p].value].axes;
      const auto expert = std::find(axes.begin(), axes.end(), ml::find_axis(experts().sizes, "expert"));
      const ml::placement stored = split ? stage.parameters[p].stored.on(along) : ml::placement{};
      const bool of_expert = split && expert != axes.end();
      CHECK((stored.kind == ml::placement::split) == of_expert);
      for (int axis = 0; axis < stage.mesh.rank; ++axis)
        CHECK(stage.parameters[p].state.on(axis).kind == ml::placement::split);
    }
  }
  CHECK(degrees == std::set<std::int32_t>{1, 2, 4});
  CHECK(ml::deepspeed_grid(small_gpt(), machine).size() == 2 * 2);  // without experts: in 1 and 2 micro-batches
}

TEST_CASE("intra-only plans have one stage, inter-only plans stages of one rank") {
  const ml::cluster machine = models::near_ranks(4);
  CHECK(ml::solve(small_gpt(), machine, ml::baseline::intra_only).value().stages.size() == 1);
  const ml::plan made = ml::solve(small_gpt(), machine, ml::baseline::inter_only).value();
  CHECK(made.stages.size() == 4);
  for (const ml::stage_plan& stage : made.stages) CHECK(stage.mesh.ranks() == 1);
}

TEST_CASE("stages of PP-DP split nothing but the batch") {
  for (const ml::cluster& machine : {models::near_ranks(4), two_hosts()}) {
    const ml::plan made = ml::solve(small_gpt(), machine, ml::baseline::pipeline_data).value();
    for (const ml::stage_plan& stage : made.stages) {
      if (stage.mesh.rank > 0) CHECK(measures::share_that_splits(small_gpt(), stage, "batch") == 1);
      for (const ml::parameter_plan& each : stage.parameters) CHECK(each.stored.is_whole());
    }
  }
}

TEST_CASE("where nothing fits, what the leanest holds is said; where nothing can be had, why") {
  const ml::cluster machine = with_memory(models::near_ranks(2), 4096);
  for (const ml::baseline each : ml::all_baselines) {
    const std::string name(ml::name_of(each));
    CAPTURE(name);
    const auto made = ml::solve(small_gpt(), machine, each, {.walk = {.steps = 20}});
    REQUIRE(!made);
    CHECK(made.error().find("keeps to the limit of 4096 bytes per rank: the leanest") != std::string::npos);
  }
  const ml::cluster many = models::near_ranks(16);  // more than blocks, and than samples
  CHECK(!ml::solve(small_gpt(), many, ml::baseline::inter_only));
  CHECK(ml::solve(small_gpt(), many, ml::baseline::data_parallel).error() ==
        "axis batch has 8 elements, fewer than the 16 ranks that split it; enlarge the batch or use fewer ranks");
}

TEST_CASE("every baseline has a name of its own") {
  std::set<std::string_view> names;
  for (const ml::baseline each : ml::all_baselines) names.insert(ml::name_of(each));
  CHECK(names.size() == 8);
}

TEST_SUITE("all") {
  TEST_CASE("baselines of all models on more ranks are sound, and ours is not slower") {
    for (const ml::graph* whole : {&experts(), &images(), &models::all()[0].graph, &models::all()[1].graph}) {
      for (const ml::cluster& machine : {ml::local(2), models::near_ranks(4)}) CHECK(compare_all(*whole, machine) >= 6);
    }
  }

  TEST_CASE("Megatron's grid equals all its presets in ever less memory, on more ranks") {
    CHECK(tighten(small_gpt(), models::near_ranks(4)) > 3);
    CHECK(tighten(experts(), models::near_ranks(2)) > 2);
  }
}
