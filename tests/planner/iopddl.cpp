// SPDX-License-Identifier: Apache-2.0
// planner/iopddl.hpp: the format is read as it is written, in any order of keys; every planted fault is named with its
// place; the referee agrees with one that looks at every time; and problems come through as intra problems.
#include "intra_cases.hpp"

#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/iopddl.hpp>

#include <doctest/doctest.h>

#include <string>

namespace ml = meshloom;
using intra_cases::dice;

namespace {

/// The example that the contest explains its format with.
const std::string example = R"({"problem": {"name": "example",
  "nodes": {"intervals": [[30, 70], [40, 70], [50, 120], [110, 140], [110, 150]],
            "costs": [[15], [55, 65], [25, 45, 35], [85, 75], [95]],
            "usages": [[10], [25, 25], [15, 20, 15], [10, 10], [15]]},
  "edges": {"nodes": [[0, 1], [0, 2], [1, 3], [2, 4], [3, 4]],
            "costs": [[30, 40], [50, 10, 40], [90, 10, 20, 80], [60, 20, 30], [70, 60]]},
  "usage_limit": 50}})";

ml::iopddl_problem random_problem(dice& roll, std::int64_t dearest, std::int64_t largest) {
  ml::iopddl_problem made{"random", {}, {}, 0};
  const std::int64_t thousandth = std::max<std::int64_t>(largest / 1000, 1);
  for (std::int32_t n = roll(1, 5); n > 0; --n) {
    ml::iopddl_problem::node next;
    next.lower = roll(0, 9);
    next.upper = next.lower + roll(0, 9);
    for (std::int32_t k = roll(1, 4); k > 0; --k) {
      next.costs.push_back(roll.one_in(12) ? ml::iopddl_infinity : dearest / 1000 * roll(0, 1000));
      next.usages.push_back(thousandth * roll(0, 1000));
    }
    made.nodes.push_back(next);
  }
  const auto last = static_cast<std::int32_t>(made.nodes.size()) - 1;
  for (std::int32_t e = roll(0, 6); e > 0; --e) {
    const std::int32_t left = roll(0, last), right = roll(0, last);
    ml::vector<std::int64_t> costs(made.nodes[static_cast<std::size_t>(left)].costs.size() *
                                   made.nodes[static_cast<std::size_t>(right)].costs.size());
    for (std::int64_t& each : costs) each = roll.one_in(5) ? ml::iopddl_infinity : dearest / 1000 * roll(0, 1000);
    made.edges.push_back({left, right, ml::packed_costs(costs)});
  }
  made.usage_limit = thousandth * roll(500, 3000);
  return made;
}

std::string list(const ml::vector<std::int64_t>& numbers) {
  std::string text;
  for (const std::int64_t each : numbers) text += (text.empty() ? "" : ", ") + std::to_string(each);
  return "[" + text + "]";
}

/// Edges first, as the contest's files have them.
std::string text_of(const ml::iopddl_problem& posed) {
  std::string nodes, costs, usages, intervals, edges;
  const auto add = [](std::string& to, const ml::vector<std::int64_t>& numbers) {
    to += (to.empty() ? "" : ",") + list(numbers);
  };
  for (const auto& each : posed.nodes) {
    add(costs, each.costs);
    add(usages, each.usages);
    add(intervals, {each.lower, each.upper});
  }
  for (const auto& each : posed.edges) {
    add(nodes, {each.left, each.right});
    add(edges, each.costs.unpacked());
  }
  return "{\"problem\":{\"edges\":{\"costs\":[" + edges + "],\"nodes\":[" + nodes + "]},\"name\":\"" + posed.name +
         "\",\"nodes\":{\"costs\":[" + costs + "],\"intervals\":[" + intervals + "],\"usages\":[" + usages +
         "]},\"usage_limit\":" + std::to_string(posed.usage_limit) + "}}";
}

/// The contest's rules once more, time by time.
std::optional<ml::wide_integer> cost_of(const ml::iopddl_problem& posed, const ml::vector<std::int32_t>& chosen) {
  ml::wide_integer sum = 0;
  for (std::size_t n = 0; n < chosen.size(); ++n) {
    const std::int64_t cost = posed.nodes[n].costs[static_cast<std::size_t>(chosen[n])];
    if (cost == ml::iopddl_infinity) return {};
    sum += cost;
  }
  for (const auto& each : posed.edges) {
    const auto left = static_cast<std::size_t>(each.left), right = static_cast<std::size_t>(each.right);
    const std::size_t columns = posed.nodes[right].costs.size();
    const std::int64_t cost =
        each.costs
            .unpacked()[static_cast<std::size_t>(chosen[left]) * columns + static_cast<std::size_t>(chosen[right])];
    if (cost == ml::iopddl_infinity) return {};
    sum += cost;
  }
  for (std::int64_t time = 0; time < 160; ++time) {
    ml::wide_integer used = 0;
    for (std::size_t n = 0; n < chosen.size(); ++n) {
      const auto& node = posed.nodes[n];
      if (node.lower <= time && time < node.upper) used += node.usages[static_cast<std::size_t>(chosen[n])];
    }
    if (used > posed.usage_limit) return {};
  }
  return sum;
}

std::optional<ml::wide_integer> best_of(const ml::iopddl_problem& posed) {
  std::optional<ml::wide_integer> best;
  ml::vector<std::size_t> counts;
  for (const auto& each : posed.nodes) counts.push_back(each.costs.size());
  intra_cases::for_each_assignment(counts, [&](const ml::vector<std::int32_t>& chosen) {
    const auto cost = cost_of(posed, chosen);
    const ml::iopddl_price price = evaluate(posed, chosen);
    CHECK(price.possible == cost.has_value());
    CHECK(price.possible == price.fault.empty());
    if (cost) CHECK((price.cost == *cost));
    if (cost && (!best || *cost < *best)) best = cost;
  });
  return best;
}

/// The sentence that a text is refused with.
std::string refusal(const std::string& text) {
  try {
    ml::read_iopddl(text);
  } catch (const ml::error& why) {
    return why.what();
  }
  return "";
}

std::string with(const std::string& old, const std::string& planted) {
  const auto here = example.find(old);
  REQUIRE(here != std::string::npos);
  return std::string(example).replace(here, old.size(), planted);
}

}  // namespace

TEST_CASE("the contest's example costs what its limit allows") {
  const ml::iopddl_problem posed = ml::read_iopddl(example);
  CHECK(posed.name == "example");
  CHECK(posed.nodes.size() == 5);
  CHECK(posed.edges[2].costs.unpacked() == ml::vector<std::int64_t>{90, 10, 20, 80});
  const ml::iopddl_price price = evaluate(posed, {0, 0, 2, 1, 0});
  CHECK(price.possible);
  CHECK((price.cost == 445));
  CHECK((price.peak == 50));
  CHECK((*best_of(posed) == 445));
  CHECK(ml::solve_intra(ml::intra_of(posed).posed).value().cost.count == 445);
}

TEST_CASE("what is written is read again, however it is cut into pieces") {
  dice roll(3);
  for (int round = 0; round < 200; ++round) {
    const ml::iopddl_problem posed = random_problem(roll, roll.one_in(2) ? 1000 : 999'999'999'999'999'000, 1000);
    std::string_view rest;
    const std::string text = text_of(posed);
    rest = text;
    const auto piece = static_cast<std::size_t>(roll(1, 40));
    CHECK(ml::read_iopddl([&](char* buffer, std::size_t) {
            const std::size_t count = rest.copy(buffer, piece);
            rest.remove_prefix(count);
            return count;
          }) == posed);
  }
}

TEST_CASE("packed costs are the costs, at every width") {
  for (const std::int64_t most : {0L, 254L, 255L, 65534L, 65535L, 4294967294L, 4294967295L, 999999999999999999L}) {
    const ml::vector<std::int64_t> costs{most, 0, ml::iopddl_infinity, most / 3};
    CHECK(ml::packed_costs(costs).unpacked() == costs);
  }
  CHECK(ml::packed_costs({ml::iopddl_infinity + 5})[0] == ml::iopddl_infinity);
}

TEST_CASE("the solver finds the best assignment of small problems, and proves it") {
  dice roll(5);
  int infeasible = 0, scaled = 0;
  for (int round = 0; round < 300; ++round) {
    const bool enormous = round % 3 == 0;
    const ml::iopddl_problem posed = random_problem(roll, enormous ? 999'999'999'999'999'000 : 1000,
                                                    round % 4 == 0 ? 900'000'000'000'000'000 : 1000);
    const auto best = best_of(posed);
    const ml::scaled_intra made = ml::intra_of(posed);
    const auto found = ml::solve_intra(made.posed);
    if (made.exact_usages) REQUIRE(bool(found) == best.has_value());
    infeasible += !found;
    scaled += made.cost_shift > 0;
    if (!found) continue;
    const ml::iopddl_price price = evaluate(posed, found.value().options);
    CHECK(price.possible);
    CHECK((made.bound_of(found.value().bound) <= *best));
    if (made.cost_shift == 0 && made.exact_usages) CHECK((price.cost == *best));
  }
  CHECK(infeasible > 0);
  CHECK(scaled > 0);
}

TEST_CASE("planted faults are named with their place") {
  const std::pair<std::string, std::string> faults[] = {
      {with("\"usage_limit\": 50", "\"limit\": 50"), "no \"usage_limit\""},
      {with("[55, 65]", "[55, 65"), "line 3, column"},
      {with("[55, 65]", "[55, -65]"), "line 3, column 34 (byte 147)"},
      {with("[55, 65]", "[55, 65.5]"), "not whole"},
      {with("[55, 65]", "[55, 06]"), "superfluous zero"},
      {with("[55, 65]", "[55, 99999999999999999999]"), "64 bits"},
      {with("[55, 65]", "[55, \"65\"]"), "expected a number"},
      {with("[55, 65]", "[55]"), "costs and usages of node 1"},
      {with("[15], [55", "[], [55"), "node 0 has no strategy"},
      {with("[30, 70], ", ""), "costs and intervals of nodes"},
      {with("[30, 70]", "[30, 70, 80]"), "an interval: there must be two"},
      {with("[30, 70]", "[70, 30]"), "ends before it begins"},
      {with("[3, 4]", "[3, 5]"), "edge 4 names node 5; there are 5"},
      {with("[3, 4]", "[3]"), "the nodes of an edge: there must be two"},
      {with("[70, 60]", "[70, 60, 1]"), "edge 4 has 3 costs; the strategies of its nodes need 2"},
      {with(", [70, 60]", ""), "nodes and costs of edges"},
      {with("\"usages\"", "\"costs\""), "\"costs\" is there twice"},
      {with("\"usages\"", "\"uses\""), "the nodes need"},
      {with("\"problem\"", "\"task\""), "no \"problem\""},
      {with("50}}", "50}} x"), "something follows"},
      {with("50}}", "50}"), "but the text ends"},
      {"", "but the text ends"},
      {"[]", "line 1, column 1 (byte 0): expected '{'"}};
  for (const auto& [text, part] : faults) {
    const std::string why = refusal(text);
    CAPTURE(why);
    CHECK(why.find(part) != std::string::npos);
  }
  CHECK(refusal(example).empty());
  CHECK(refusal(with("\"name\"", "\"note\": {\"by\": [1.5e3, null, true, \"\\\"\"]}, \"name\"")).empty());
}

TEST_CASE("the referee says what is wrong with an assignment") {
  const ml::iopddl_problem posed = ml::read_iopddl(example);
  CHECK(evaluate(posed, {0, 0, 2, 1}).fault == "there is not one strategy per node");
  CHECK(evaluate(posed, {0, 0, 3, 1, 0}).fault == "node 2 has no strategy 3");
  CHECK(evaluate(posed, {0, 0, 1, 1, 0}).fault == "the usage limit is exceeded at time 50");
  const ml::iopddl_problem shut = ml::read_iopddl(with("[15]", "[1000000000000000000]"));
  CHECK(evaluate(shut, {0, 0, 2, 1, 0}).fault == "node 0 costs infinity");
}
