// SPDX-License-Identifier: Apache-2.0
// plan/problem.hpp: `check` accepts what can be planned and names every planted fault with its cure; `solve` says the
// first of them.
#include <meshloom/plan/problem.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

namespace ml = meshloom;

namespace {

using sentences = ml::vector<std::string>;

sentences faults_of(const ml::manual& asked, std::int32_t ranks) {
  const ml::problem posed = ml::formulate(models::all()[0].graph, ml::local(ranks), asked);
  const sentences faults = ml::check(posed);
  const auto made = ml::solve(posed);
  CHECK(static_cast<bool>(made) == faults.empty());
  if (!faults.empty()) CHECK(made.error() == faults.front());
  return faults;
}

ml::manual with_pin(const ml::path_pin& bound) {
  ml::manual asked = ml::megatron(2);
  asked.pins = {bound};
  return asked;
}

}  // namespace

TEST_CASE("presets and their products can be planned") {
  for (const std::int32_t ranks : {1, 2, 4, 8}) {
    for (const std::string& preset : models::products(ranks)) {
      CHECK(ml::check(models::posed(models::all()[0].graph, preset, ranks)).empty());
    }
  }
}

TEST_CASE("a mesh that the cluster does not have is named") {
  CHECK(
      faults_of(ml::data_parallel(4), 8) ==
      sentences{"the plan uses 4 ranks, but the cluster has 8; make the product of stages and mesh axes equal to it"});
  CHECK(faults_of(ml::pipeline(0), 1).empty());  // not said
  CHECK(faults_of(ml::pipeline(-1), 1) == sentences{"the plan has -1 stages; give it 1 or more"});
  CHECK(models::says(faults_of(ml::data_parallel(0), 1), "mesh axis data has size 0; give it 1 or more"));
  CHECK(models::says(faults_of(ml::data_parallel(-4), 4), "mesh axis data has size -4; give it 1 or more"));
  CHECK(faults_of(ml::data_parallel(2) & ml::data_parallel(4), 8) ==
        sentences{"mesh axis data is given two sizes, 2 and 4; presets that share a mesh axis must agree on its size"});
  ml::manual deep{.mesh = {{"a", 2}, {"b", 2}, {"c", 2}, {"d", 2}}};
  CHECK(faults_of(deep, 16) == sentences{"the plan has 4 mesh axes; a mesh has at most 3"});
  CHECK(faults_of({.mesh = {{"", 2}}}, 2) == sentences{"a mesh axis has no name; give it one"});
}

TEST_CASE("a mesh axis of one rank takes no part") {
  const ml::problem posed = ml::formulate(models::all()[0].graph, ml::local(2), ml::zero(2, 1) & ml::megatron(2));
  CHECK(ml::check(posed).empty());
  REQUIRE(posed.constraints.mesh.size() == 1);
  CHECK(posed.constraints.mesh[0].name == "tensor");
  CHECK(posed.constraints.zero.empty());
}

TEST_CASE("constraints about what does not exist are named") {
  const std::string no_mesh_axis =
      "a constraint names mesh axis 'expert', which the plan does not have; add it with a size";
  CHECK(faults_of({.mesh = {{"data", 2}}, .rules = {{"batch", "expert"}}}, 2) == sentences{no_mesh_axis});
  CHECK(faults_of({.mesh = {{"data", 2}}, .zero = {{"expert", 1}}}, 2) == sentences{no_mesh_axis});
  CHECK(faults_of(with_pin({"positions.pointwise", "expert", "seq"}), 2) == sentences{no_mesh_axis});
  CHECK(faults_of(ml::zero(4, 2), 2) == sentences{"zero: level 4 does not exist; use 1, 2 or 3"});
  CHECK(faults_of(ml::zero(-1, 2), 2) == sentences{"zero: level -1 does not exist; use 1, 2 or 3"});
  CHECK(faults_of(with_pin({"position.pointwise", "tensor", "seq"}), 2) ==
        sentences{"pin: the model has no operator 'position.pointwise'; its operators are named in the printed plan"});
  CHECK(faults_of(with_pin({"positions.pointwise", "tensor", "sequence"}), 2) ==
        sentences{"pin: the model has no axis 'sequence'"});
  CHECK(faults_of(with_pin({"positions.weight.adamw", "tensor", "seq"}), 2) ==
        sentences{"pin: operator 'positions.weight.adamw' is an update, which computes where the optimizer's state "
                  "lies; pin an operator of a layer"});
  CHECK(faults_of(with_pin({"positions.pointwise", "tensor", "seq"}), 2).empty());
  CHECK(faults_of(with_pin({"positions.pointwise", "tensor", ""}), 2).empty());
}

TEST_CASE("layers to recompute that there are not are named") {
  const auto faults = [](const ml::manual& asked) { return faults_of(ml::data_parallel(2) & asked, 2); };
  CHECK(faults(ml::recompute()).empty());
  CHECK(faults(ml::recompute("repeat") & ml::recompute("loss")).empty());
  CHECK(faults(ml::recompute("repeat", 1, 4)).empty());
  CHECK(faults(ml::recompute("repeated")) ==
        sentences{"recompute: the model has no layer 'repeated'; its layers are embedding, positions, repeat, "
                  "layer_norm, linear, loss"});
  for (const auto& [first, end] : {std::pair{2, 5}, {-1, 2}, {3, 3}, {4, -1}}) {
    CHECK(faults(ml::recompute("repeat", first, end)) ==
          sentences{"recompute: copies " + std::to_string(first) + " to " + std::to_string((end < 0 ? 4 : end) - 1) +
                    " of layer repeat are not there; it has copies 0 to 3"});
  }
  CHECK(ml::check(models::posed(models::bypassed(), "data=2", 2)).empty());
  ml::problem unrepeated = models::posed(models::bypassed(), "data=2", 2);
  unrepeated.constraints = unrepeated.constraints & ml::recompute();
  CHECK(ml::check(unrepeated) == sentences{"recompute: the model repeats no layer; its layers are embedding, first, "
                                           "second, join, linear, loss"});
  CHECK(faults_of(ml::automatic() & ml::recompute(), 2).empty());
}

TEST_CASE("blocks recompute as rules say") {
  const auto said = [](const ml::manual& asked, std::int32_t first, std::int32_t end) {
    ml::problem posed = models::posed(models::all()[0].graph, "data=2", 2);
    posed.constraints = posed.constraints & asked;
    std::string text;
    for (const bool each : ml::recomputed_by_rule(posed, first, end)) text += each ? 'x' : '.';
    const ml::plan made = ml::solve(posed).value();
    const auto& whole = made.stages[ml::stage_id{0}].recompute;
    const auto part = ml::recomputed_by_rule(posed, 0, static_cast<std::int32_t>(whole.size()));
    CHECK(whole == part);
    return text;
  };
  CHECK(said({}, 0, 9) == ".........");
  CHECK(said(ml::recompute(), 0, 9) == "..xxxx...");
  CHECK(said(ml::recompute("repeat", 1, 3), 0, 9) == "...xx....");
  CHECK(said(ml::recompute("repeat", 2, -1) & ml::recompute("loss"), 0, 9) == "....xx..x");
  CHECK(said(ml::recompute(), 4, 8) == "xx..");
}

TEST_CASE("a batch that cannot be cut so is named") {
  ml::manual asked = ml::data_parallel(2);
  for (const std::int32_t parts : {5, 48, -1}) {
    asked.micro_batches = parts;
    CHECK(faults_of(asked, 2) == sentences{"axis batch has 24 elements, which " + std::to_string(parts) +
                                           " micro-batches do not divide; choose a divisor"});
  }
  asked.micro_batches = 24;
  CHECK(faults_of(asked, 2).empty());
  CHECK(faults_of(ml::data_parallel(24), 24).empty());
  CHECK(faults_of(ml::data_parallel(25), 25) == sentences{"axis batch has 24 elements, fewer than the 25 ranks that "
                                                          "split it; enlarge the batch or use fewer ranks for it"});
  CHECK(faults_of(ml::data_parallel(12) & ml::zero(1, 12), 12).empty());  // one rule, said twice
  const ml::manual twice = ml::data_parallel(5) & ml::split_all<ml::axis::batch, ml::mesh::expert>(5);
  CHECK(faults_of(twice, 25) == sentences{"axis batch has 24 elements, fewer than the 25 ranks that split it; enlarge "
                                          "the batch or use fewer ranks for it"});
}

TEST_CASE("stages that the model cannot be cut into, and schedules that disagree, are named") {
  CHECK(faults_of(ml::pipeline(9), 9).empty());  // 4 layers, embedding, positions, norm, head, loss
  CHECK(faults_of(ml::pipeline(10), 10) ==
        sentences{"the plan has 10 stages, but the model can be cut into at most 9"});
  CHECK(faults_of(ml::stage(3) & ml::stage(8), 3).empty());
  for (const std::int32_t block : {0, -1, 9, 100}) {
    CHECK(faults_of(ml::stage(block), 2) == sentences{"stage: a cut in front of block " + std::to_string(block) +
                                                      " is not possible; cuts rise between 1 and 8"});
  }
  CHECK(faults_of(ml::stage(3) & ml::stage(3), 3) ==
        sentences{"stage: a cut in front of block 3 is not possible; cuts rise between 1 and 8"});
  CHECK(faults_of(ml::pipeline(2, ml::schedule_kind::gpipe) & ml::stage(3), 2).empty());
  CHECK(faults_of(ml::pipeline(2, ml::schedule_kind::gpipe) & ml::pipeline(2, ml::schedule_kind::one_f_one_b), 2) ==
        sentences{"the plan asks for two schedules, gpipe and 1f1b; presets of one plan must agree on it"});
  CHECK(faults_of(ml::stage(3) & ml::pipeline(3), 3) ==
        sentences{"the plan has 3 stages but names 1 cuts; name one fewer than stages"});
}

TEST_CASE("what is not said is one stage and one micro-batch, or the planner's to choose") {
  const ml::graph& graph = models::all()[0].graph;
  const ml::manual one = ml::formulate(graph, ml::local(1), {}).constraints;
  CHECK(one.stages == 1);
  CHECK(one.micro_batches == 1);
  const ml::manual free = ml::formulate(graph, ml::local(2)).constraints;
  CHECK(free.automatic);
  CHECK(free.stages == 0);
  CHECK(free.micro_batches == 0);
  REQUIRE(free.mesh.size() == 2);
  CHECK(free.mesh[0].name == "outer");
  CHECK(free.mesh[1].name == "inner");
  CHECK(free.mesh[0].size == 0);
  const ml::manual pinned = ml::pin_result<ml::axis::seq, ml::mesh::tensor>("positions.pointwise");
  const auto mesh = ml::formulate(graph, ml::local(2), ml::automatic() & pinned).constraints.mesh;
  REQUIRE(mesh.size() == 2);
  CHECK(mesh[0].name == "tensor");
  CHECK(mesh[1].name == "outer");
}

TEST_CASE("an automatic plan leaves ranks and sizes open, and is refused what no plan may ask for") {
  const auto faults = [](const ml::manual& asked) {
    return ml::check(ml::formulate(models::all()[0].graph, ml::local(4), ml::automatic() & asked));
  };
  CHECK(faults({}).empty());
  CHECK(faults(ml::data_parallel(0)).empty());
  CHECK(faults(ml::data_parallel(2)).empty());
  CHECK(faults(ml::data_parallel(-1)) == sentences{"mesh axis data has size -1; give it 1 or more"});
  CHECK(faults(ml::pipeline(10)) == sentences{"the plan has 10 stages, but the model can be cut into at most 9"});
}

TEST_CASE("a plan by hand whose stages straddle groups of hosts is refused with the cure") {
  ml::cluster machine = ml::local(2);
  machine.others.push_back({machine.device, 1, 4, machine.within_host, machine.between_hosts});
  const ml::graph graph = models::vectors();
  const auto faults = [&](const ml::manual& asked) { return ml::check(ml::formulate(graph, machine, asked)); };
  CHECK(faults(ml::data_parallel(2) & ml::pipeline(3)).empty());
  CHECK(faults(ml::pipeline(6)).empty());
  CHECK(faults(ml::data_parallel(3) & ml::pipeline(2)) ==
        ml::vector<std::string>{
            "a stage on ranks 0 to 2 straddles groups of hosts, of which one ends with rank 1; take stages of so many "
            "ranks that each stands on one group, or an automatic plan"});
}
