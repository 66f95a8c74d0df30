// SPDX-License-Identifier: Apache-2.0
// report/space.hpp: what is said of the space is what an enumeration finds in it, and every constraint is seen to leave
// something out.
#include <meshloom/model/pin.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/planner/stage_tables.hpp>
#include <meshloom/report/space.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

const ml::graph& vectors() { return models::all()[2].graph; }

/// The row of a choice.
ml::vector<std::string> row(const ml::text_table& table, const std::string& choice) {
  const auto found =
      std::find_if(table.rows.begin(), table.rows.end(), [&](const auto& each) { return each.front() == choice; });
  REQUIRE(found != table.rows.end());
  return *found;
}

std::string between(const ml::problem& posed, const std::string& choice) {
  return row(ml::space_table(posed), choice)[1];
}

/// What constraints leave out of a choice; empty if of none.
std::string left(const ml::problem& posed, const std::string& choice) {
  const auto found = row(ml::space_table(posed), choice);
  return found.size() < 3 ? "" : found[2];
}

bool begins(const std::string& text, const std::string& with) { return text.find(with) == 0; }

}  // namespace

TEST_CASE("the free space leaves out nothing") {
  ml::cluster machine = ml::local(4);
  machine.hosts = 2;
  const ml::problem posed = ml::formulate(vectors(), machine);
  CHECK(ml::space_table(posed).columns.size() == 2);
  CHECK(between(posed, "micro-batches") == "1, 2, 3, 4, 6, 8, 12, 24: all that divide batch=24");
  CHECK(between(posed, "schedule") == "1f1b, gpipe");
  CHECK(between(posed, "stages") == "1 to 7, cut anywhere between the 7 blocks");
  CHECK(between(posed, "submesh of a stage") ==
        "1, 2, 4 ranks of a host; 2 whole hosts; stages take ranks in their order");
  CHECK(between(posed, "its logical mesh") == "ranks as 1, 2, 4, 2x2, 8, 2x4, 4x2 along mesh axes outer, inner");
  CHECK(between(ml::formulate(vectors(), ml::local(8)), "its logical mesh") ==
        "ranks as 1, 2, 4, 2x2, 8, 2x4 along mesh axes outer, inner; within a host, of grids that differ in order "
        "alone, one");
  CHECK(between(posed, "recomputation") == "any number of the copies of 4 x repeat recompute");
  const ml::problem alone = ml::formulate(vectors(), ml::local(1));
  CHECK(between(alone, "stages") == "1, of all 7 blocks");
  const ml::problem deep = ml::formulate(models::vectors({.layers = 200}), ml::local(2));
  CHECK(between(deep, "stages") ==
        "1 to 2, cut in 102 places between the 203 blocks: copies of a layer stay together by 2");
  CHECK(between(alone, "submesh of a stage") == "1 rank of a host");
  CHECK(between(alone, "operators").find(": 1 way on single") != std::string::npos);
}

TEST_CASE("ways of operators and parameters are those that the search weighs") {
  for (const ml::manual& asked : {ml::automatic(), ml::automatic() & ml::zero(2, 0) & ml::megatron(0)}) {
    const ml::problem posed = ml::formulate(vectors(), ml::local(4), asked);
    ml::stage_plan stage;
    for (const ml::mesh_axis_size& axis : posed.constraints.mesh) {
      stage.mesh_axes.push_back(axis.name);
      stage.mesh.size[static_cast<std::size_t>(stage.mesh.rank++)] = 2;
    }
    ml::stage_tables tables(posed, stage, 1);
    std::size_t least = 1'000, most = 0, count = 0, keeps = 0;
    for (std::size_t n = 0; n < vectors().nodes.size(); ++n) {
      const auto id = static_cast<ml::node_id>(n);
      if (vectors().nodes[id].when == ml::phase::update) continue;
      const std::size_t options = tables.of(id).options.size();
      least = std::min(least, options), most = std::max(most, options), ++count;
    }
    for (std::size_t p = 0; p < vectors().parameters.size(); ++p)
      keeps = std::max(keeps, tables.of_parameter(p).options.size());
    const std::string ways =
        least == most ? std::to_string(most) : std::to_string(least) + " to " + std::to_string(most);
    const std::string operators = between(posed, "operators"), parameters = between(posed, "parameters");
    CAPTURE(operators);
    CAPTURE(parameters);
    CHECK(begins(operators, std::to_string(count) + " of forward and backward, "));
    CHECK(operators.find(": " + ways + (most == 1 ? " way on " : " ways on ")) != std::string::npos);
    CHECK(begins(parameters, std::to_string(vectors().parameters.size()) + ", each stored whole or split"));
    CHECK(parameters.find(std::to_string(keeps) + (keeps == 1 ? " way on " : " ways on ")) != std::string::npos);
  }
}

TEST_CASE("what constraints leave out is said where they do") {
  const auto posed_for = [](const ml::manual& asked) {
    return ml::formulate(vectors(), models::near_ranks(4), ml::automatic() & asked);
  };
  const ml::problem free = posed_for({});
  struct saying {
    const char* choice;
    ml::manual asked;
    std::string between, left;
  };
  const ml::vector<saying> all{
      {"micro-batches", {.micro_batches = 6}, "6", "all but this"},
      {"schedule", {.schedules = {ml::schedule_kind::gpipe}}, "gpipe", "all but this"},
      {"stages", ml::pipeline(2), "2, cut anywhere between the 7 blocks", "other numbers of stages"},
      {"stages", ml::pipeline(2) & ml::stage(3), "2, cut in front of repeat[2]", "other cuts"},
      {"its logical mesh", {.mesh = {{"outer", 2}}}, "ranks as 2 along mesh axis outer", "all but outer=2"},
      {"submesh of a stage", {.mesh = {{"outer", 2}}}, "2 ranks of a host", "1, 4 ranks of a host"},
      {"recomputation", ml::recompute("repeat", 1, 3), between(free, "recomputation"), "to keep what 2 blocks make"},
  };
  for (const saying& each : all) {
    CAPTURE(each.choice);
    const ml::problem posed = posed_for(each.asked);
    CHECK(between(posed, each.choice) == each.between);
    CHECK(left(posed, each.choice) == each.left);
    CHECK(left(free, each.choice).empty());
  }
}

TEST_CASE("rules, ZeRO and pins are named, with what they leave out") {
  const ml::cluster machine = models::near_ranks(4);
  const ml::manual any = ml::automatic();
  const ml::problem ruled = ml::formulate(vectors(), machine, any & ml::zero(3, 0));
  CHECK(left(ruled, "operators").find(" strategies there, by rule batch@data") != std::string::npos);
  CHECK(left(ruled, "parameters").find(" ways there, by ZeRO 3@data") != std::string::npos);
  ml::manual pinned = any;
  pinned.pins = {{"repeat.linear.dot", "outer", "mlp"}};
  const ml::problem bound = ml::formulate(vectors(), machine, pinned);
  CHECK(left(bound, "operators").find(" strategies there, by 1 pin of the plan") != std::string::npos);
  CHECK(left(bound, "parameters").empty());
  CHECK(left(bound, "its logical mesh") == "for pinned operators, those without the axes of their pins");
  CHECK(between(bound, "its logical mesh") == "ranks as 1, 2, 4, 2x2 along mesh axes outer, inner");
  const ml::graph model = ml::trace(models::token_training(
      ml::embedding<vocab, embed>{} | ml::pinned(ml::linear<embed, mlp>{}, ml::split<seq, ml::mesh::tensor>{}) |
      ml::linear<mlp, vocab>{}));
  CHECK(left(ml::formulate(model, machine), "operators").find(" by 1 pin of the model") != std::string::npos);
}

TEST_CASE("of several groups of hosts each has its own submeshes, and a stage stands on one") {
  ml::cluster machine = ml::local(4);
  machine.others.push_back({machine.device, 2, 3, machine.within_host, machine.between_hosts});
  const ml::problem posed = ml::formulate(vectors(), machine);
  CHECK(between(posed, "stages") == "2 to 7, cut anywhere between the 7 blocks");
  CHECK(
      between(posed, "submesh of a stage") ==
      "in group 1 1, 2, 4 ranks of a host; in group 2 1, 3 ranks of a host; 2 whole hosts; stages take ranks in their "
      "order");
  CHECK(between(posed, "its logical mesh") == "ranks as 1, 2, 4, 2x2, 3, 6, 2x3, 3x2 along mesh axes outer, inner");
}
