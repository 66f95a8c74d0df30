// SPDX-License-Identifier: Apache-2.0
// Laws of report/compare.hpp: no plan differs from itself, whatever its mesh axes are called; of two plans it names
// exactly the operators and parameters that some copy of a layer is split otherwise in, found anew copy by copy.
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/report/compare.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

namespace ml = meshloom;
using strings = ml::vector<std::string>;

namespace {

const ml::problem& posed() {
  static const ml::problem made = ml::formulate(models::all()[1].graph, ml::local(8));
  return made;
}

/// Plans of 8 ranks that have little in common, and one that differs from another in its stages only.
const ml::vector<ml::plan>& plans() {
  static const ml::vector<ml::plan> made = [] {
    ml::vector<ml::plan> all;
    for (const char* preset : {"data=8", "zero3=8", "tensor=8", "data=2,tensor=2,pipeline=2", "zero2=4,gpipe=2",
                               "data=2,tensor=4", "data=4,tensor=2", "zero1=2,pipeline=4"})
      all.push_back(models::planned(posed().graph, preset, 8, 4));
    return all;
  }();
  return made;
}

/// The plan with mesh axes of other names.
ml::plan renamed(ml::plan made) {
  for (ml::stage_plan& stage : made.stages) {
    for (std::string& name : stage.mesh_axes) name = "my " + name;
  }
  return made;
}

/// How a copy splits something, by position and size of mesh axes alone: strides, sizes and `what` of each.
template <class What>
ml::vector<std::array<int, 3>> split_of(const ml::stage_plan& stage, const What& what) {
  ml::vector<std::array<int, 3>> all;
  for (int axis = 0; axis < stage.mesh.rank; ++axis) {
    int stride = 1;
    for (int inner = axis + 1; inner < stage.mesh.rank; ++inner)
      stride *= stage.mesh.size[static_cast<std::size_t>(inner)];
    if (what(axis) != 0) all.push_back({stride, stage.mesh.size[static_cast<std::size_t>(axis)], what(axis)});
  }
  return all;
}

const ml::stage_plan& stage_at(const ml::plan& made, ml::region_id area, std::int32_t copy) {
  return made.stages[ml::stage_of(made, ml::block_number(posed().graph, {area, copy}))];
}

/// Names of layers' operators that some copy splits otherwise.
std::set<std::string> operators_that_differ(const ml::plan& a, const ml::plan& b) {
  std::set<std::string> names;
  const ml::graph& graph = posed().graph;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    const ml::node& at = graph.nodes[id];
    for (std::int32_t copy = 0; at.when != ml::phase::update && copy < graph.regions[at.region].count; ++copy) {
      const auto split_in = [&](const ml::plan& made) {
        const ml::stage_plan& stage = stage_at(made, at.region, copy);
        return split_of(stage, [&](int axis) { return stage.strategies[id].row[static_cast<std::size_t>(axis)]; });
      };
      if (split_in(a) != split_in(b)) names.insert(at.name);
    }
  }
  return names;
}

std::set<std::string> parameters_that_differ(const ml::plan& a, const ml::plan& b) {
  std::set<std::string> names;
  const ml::graph& graph = posed().graph;
  for (std::size_t p = 0; p < graph.parameters.size(); ++p) {
    const auto kept_in = [&](const ml::plan& made, ml::region_id area, std::int32_t copy) {
      const ml::stage_plan& stage = stage_at(made, area, copy);
      std::set<ml::vector<std::array<int, 3>>> sums;
      const auto of = [&](const ml::spec& layout) {
        return split_of(stage, [&](int axis) { return layout.on(axis).kind * 10 + layout.on(axis).axis + 1; });
      };
      for (const ml::spec& layout : stage.parameters[p].accumulated) sums.insert(of(layout));
      return std::tuple(of(stage.parameters[p].stored), of(stage.parameters[p].state), sums);
    };
    for (const ml::node& at : graph.nodes) {
      const ml::value_id id = graph.parameters[p].value;
      if (at.when == ml::phase::update || std::count(at.operands.begin(), at.operands.end(), id) == 0) continue;
      for (std::int32_t copy = 0; copy < graph.regions[at.region].count; ++copy) {
        if (kept_in(a, at.region, copy) != kept_in(b, at.region, copy)) names.insert(graph.values[id].name);
      }
    }
  }
  return names;
}

/// The names in a table of differences, with those of their layers before them.
std::set<std::string> names_in(const ml::text_table& table) {
  std::set<std::string> names, known;
  for (const ml::node& at : posed().graph.nodes) known.insert(at.name);
  for (const ml::parameter& each : posed().graph.parameters) known.insert(posed().graph.values[each.value].name);
  std::string layer;
  for (const auto& row : table.rows) {
    if (!row[0].empty()) layer = row[0].substr(row[0].find(" x ") == std::string::npos ? 0 : row[0].find(" x ") + 3);
    CHECK(row[2] != row[3]);
    for (std::size_t from = 0; from < row[1].size();) {
      const std::size_t end = std::min(row[1].find(", ", from), row[1].size());
      const std::string name = row[1].substr(from, end - from);
      CHECK(names.insert(known.count(name) != 0 ? name : layer + "." + name).second);
      from = end + 2;
    }
  }
  return names;
}

void check_width(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    REQUIRE(end != std::string::npos);
    CHECK(end - at <= ml::text_width);
    CHECK((end == at || text[end - 1] != ' '));
    at = end + 1;
  }
}

strings row_of(const ml::text_table& table, const std::string& first) {
  for (const auto& row : table.rows) {
    if (row[0] == first) return row;
  }
  return {};
}

}  // namespace

TEST_CASE("no plan differs from itself, by whatever names its mesh axes go") {
  for (const ml::plan& each : plans()) {
    CHECK(ml::operator_comparison(posed().graph, each, renamed(each)).rows.empty());
    CHECK(ml::parameter_comparison(posed().graph, each, renamed(each)).rows.empty());
    const std::string text = ml::compare(posed(), each, each);
    check_width(text);
    CHECK(text.find("\nEvery operator and parameter is split alike.\n") != std::string::npos);
    CHECK(text.find("another way") == std::string::npos);
    CHECK(text.find("Violations") == std::string::npos);
    const ml::breakdown parts = *ml::evaluate(posed(), each).parts;
    for (const auto& row : ml::cost_comparison(each, parts, each, parts).rows) {
      CHECK(row[1] == row[2]);
      CHECK(row[3].empty());
    }
  }
}

TEST_CASE("what differs in some copy is named, and nothing else") {
  std::size_t named = 0;
  for (const ml::plan& a : plans()) {
    for (const ml::plan& b : plans()) {
      const auto operators = names_in(ml::operator_comparison(posed().graph, a, b));
      CHECK(operators == operators_that_differ(a, b));
      CHECK(names_in(ml::parameter_comparison(posed().graph, a, b)) == parameters_that_differ(a, b));
      check_width(ml::compare(posed(), a, b));
      named += operators.size();
    }
  }
  CHECK(named > 500);
}

TEST_CASE("one strategy, in one stage, is one row; copies of a layer share it") {
  const ml::plan& a = plans()[3];
  ml::plan b = a;
  const std::string name = "repeat.residual_2.linear.dot";
  b.stages[ml::stage_id{1}].strategies[models::node_named(posed().graph, name)].row[0] = 0;
  const ml::text_table table = ml::operator_comparison(posed().graph, a, b);
  REQUIRE(table.rows.size() == 1);
  CHECK(table.rows[0] == strings{"4 x repeat", "residual_2.linear.dot", "split batch@data=2, split mlp@tensor=2",
                                 "stage 0: split batch@data=2, split mlp@tensor=2; stage 1: split mlp@tensor=2"});
  CHECK(ml::parameter_comparison(posed().graph, a, b).rows.empty());

  b = a;
  ml::parameter_plan& kept =
      b.stages[ml::stage_id{1}].parameters[models::parameter_named(posed().graph, "layer_norm.gain")];
  kept.state = ml::spec{}.with(0, {ml::placement::split, 0});
  CHECK(ml::operator_comparison(posed().graph, a, b).rows.empty());
  const ml::text_table other = ml::parameter_comparison(posed().graph, a, b);
  REQUIRE(other.rows.size() == 1);
  CHECK(other.rows[0][0] == "layer_norm");
  CHECK(other.rows[0][1] == "gain");
  CHECK(other.rows[0][2].starts_with("stored whole, updated whole, summed partial(sum@data=2"));
  CHECK(other.rows[0][3].starts_with("stored whole, updated split(embed@data=2), summed partial(sum@data=2"));

  b = a;  // the head reads the embedding's table, in another stage
  b.stages[ml::stage_id{1}].parameters[models::parameter_named(posed().graph, "tokens")].state = {};
  const ml::text_table tied = ml::parameter_comparison(posed().graph, a, b);
  REQUIRE(tied.rows.size() == 1);
  CHECK(tied.rows[0][0] == "embedding");
  CHECK(tied.rows[0][1] == "tokens");
}

TEST_CASE("the same words for other ranks are not said to be alike") {
  const ml::plan a = models::planned(posed().graph, "data=2,tensor=4", 8, 4);
  ml::plan b = a;
  ml::stage_plan& stage = b.stages[ml::stage_id{0}];
  std::swap(stage.mesh.size[0], stage.mesh.size[1]);
  std::swap(stage.mesh_axes[0], stage.mesh_axes[1]);
  for (ml::strategy& each : stage.strategies) std::swap(each.row[0], each.row[1]);
  for (const auto& row : ml::operator_comparison(posed().graph, a, b).rows) {
    const bool both = row[2].find(", ") != std::string::npos;
    CHECK((row[3] == "the same, on other ranks or copies") != both);  // with two parts, they come in another order
  }
}

TEST_CASE("costs and stages stand side by side") {
  const ml::plan &a = plans()[0], &b = plans()[3];
  const ml::verdict in_a = ml::evaluate(posed(), a), in_b = ml::evaluate(posed(), b);
  const ml::text_table costs = ml::cost_comparison(a, *in_a.parts, b, *in_b.parts);
  const double more = ml::seconds(b.predicted) / ml::seconds(a.predicted) - 1;
  CHECK(row_of(costs, "step, predicted") == strings{"step, predicted", ml::describe_time(a.predicted),
                                                    ml::describe_time(b.predicted),
                                                    (more > 0 ? "+" : "") + ml::describe_share(more)});
  CHECK(row_of(costs, "step, simulated")[2] == ml::describe_time(in_b.parts->step));
  CHECK(row_of(costs, "no plan takes less than") == strings{"no plan takes less than", "not proven", "not proven", ""});
  CHECK(row_of(costs, "  messages") ==
        strings{"  messages", "0 ps", ml::describe_time(ml::mean_times(*in_b.parts)[ml::work::messages]), "new"});
  ml::bytes most;
  for (const auto& each : in_b.parts->stages) most = std::max(most, each.peak());
  CHECK(row_of(costs, "memory of the fullest rank")[2] == ml::describe_bytes(most));
  CHECK(
      ml::stage_comparison(posed().graph, a, b).rows ==
      ml::vector<strings>{{"0", "ranks 0-7, data=8: embedding, positions, repeat[0..3], layer_norm, unembedding, loss",
                           "ranks 0-3, data=2 x tensor=2: embedding, positions, repeat[0..1]"},
                          {"1", "", "ranks 4-7, data=2 x tensor=2: repeat[2..3], layer_norm, unembedding, loss"}});
}

TEST_CASE("what recomputes is said, and what it takes") {
  ml::plan b = plans()[0];
  for (std::size_t k : {2, 3, 5}) b.stages[ml::stage_id{0}].recompute[k] = true;
  b.predicted = ml::predict(posed().graph, b, posed().cluster);
  const ml::verdict in_a = ml::evaluate(posed(), plans()[0]), in_b = ml::evaluate(posed(), b);
  CHECK_MESSAGE(in_b.violations.empty(), in_b.violations.front());
  const ml::text_table costs = ml::cost_comparison(plans()[0], *in_a.parts, b, *in_b.parts);
  CHECK(row_of(costs, "  recomputed").back() == "new");
  const std::string said = ml::stage_comparison(posed().graph, plans()[0], b).rows[0][2];
  CHECK(said.ends_with("layer_norm, unembedding, loss; recomputes repeat[0..1], repeat[3]"));
}

TEST_CASE("a plan that is wrong is said to be, and not compared if it cannot be lowered") {
  ml::plan b = plans()[0];
  b.predicted += b.predicted;
  std::string text = ml::compare(posed(), plans()[1], b);
  CHECK(text.find("\nViolations of b\n") != std::string::npos);
  CHECK(text.find("\nStages\n") != std::string::npos);
  b.stages[ml::stage_id{0}].first_rank = 1;
  text = ml::compare(posed(), b, plans()[1]);
  check_width(text);
  CHECK(text.find("\nViolations of a\n") != std::string::npos);
  CHECK(text.find("rank 0: in no stage") != std::string::npos);
  CHECK(text.find("\nStages\n") == std::string::npos);
}
