// SPDX-License-Identifier: Apache-2.0
// Ring attention: ranks that share a sequence send keys and values around and learn what one rank learns; no rank ever
// has the whole sequence, so what a sequence takes falls as one over the ranks.
#include <meshloom/exec/simulate.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/plan/text.hpp>
#include <meshloom/planner/allowed.hpp>
#include <meshloom/program/check.hpp>
#include <meshloom/program/rotation.hpp>
#include <meshloom/report/evaluate.hpp>
#include <meshloom/report/explain.hpp>

#include "../model/trial.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace meshloom;

namespace {

constexpr int steps = 4, vocab = 11;

/// 7 positions: no number of ranks divides them, and 8 ranks leave one without any.
constexpr gpt_shape uneven{.name = "uneven", .vocab = vocab, .seq = 7, .batch = 4, .embed = 8, .layers = 2, .heads = 2};

template <class Precision>
auto training_of(const gpt_shape& shape, int layers, Precision precision) {
  return training{.model = gpt(layers),
                  .loss = cross_entropy<axis::vocab>{},
                  .optimizer = sgd{.rate = 0.1},
                  .sizes = gpt_sizes(shape),
                  .precision = precision};
}
auto small_training() { return training_of(uneven, 2, double{}); }

manual asked_for(const std::string& text, std::int32_t ranks) { return parse_manual(text, ranks).value(); }

int rotations_in(const program& made) {
  int found = 0;
  for (const stage_program& stage : made.stages) {
    for (const auto& body : stage.bodies) found += static_cast<int>(std::count_if(body.begin(), body.end(), rotates));
  }
  return found;
}

/// The losses of a few steps, and the parameters after them.
vector<double> learnt(const program& made) {
  host_run run = start(host{}, made, small_training(), 7);
  const trials::batch_of_numbers batch(made, vocab, 3);
  vector<double> all;
  for (int step = 0; step < steps; ++step) all.push_back(run.step({batch[0], batch[1]}).loss);
  auto names = run.names();
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    for (const double each : run.read(name)) all.push_back(each);
  }
  CHECK(check(made) == vector<std::string>{});
  const vector<std::int64_t> arenas = run.arena_bytes();
  for (const stage_program& stage : made.stages) {
    for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member)
      CHECK(arenas[static_cast<std::size_t>(stage.first_rank + member)] == stage.peak().count);
  }
  return all;
}

bool same(const vector<double>& left, const vector<double>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](double a, double b) { return std::abs(a - b) < 1e-11 * std::max(1.0, std::abs(a)); });
}

const graph& small_graph() {
  static const graph made = trace(small_training());
  return made;
}
const vector<double>& learnt_alone() {
  static const vector<double> made = learnt(trials::program_of(small_graph(), {}));
  return made;
}

/// What the simulator says of a stage, leaving out what only moves memory on a rank: that is in no stage_price.
picoseconds simulated(const stage_program& stage, const cluster& machine) {
  const mesh_links links = links_of(machine, stage.mesh, stage.first_rank);
  picoseconds sum;
  for (const auto& body : stage.bodies) {
    for (const instruction& at : body) {
      const bool moves = at.kind == instruction::load || at.kind == instruction::store ||
                         at.kind == instruction::accumulate ||
                         (at.kind == instruction::redistribute && at.how == collective::slice);
      if (!moves) sum += price(stage, at, machine.device, links);
    }
  }
  return sum;
}

/// Any strategies that attention and its gradient may have, drawn until they fit together.
plan random_plan(const graph& whole, plan made, std::mt19937_64& dice) {
  stage_plan& stage = made.stages[stage_id{0}];
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (whole.nodes[id].op->op.rotates.of < 0) continue;
    const strategy before = stage.strategies[id];
    vector<strategy> all;
    for_each_strategy(whole.nodes[id].op->choices, stage.mesh.rank, [&](const strategy& how) {
      if (rotating_axis(whole.nodes[id].op->choices, stage.mesh, how) >= 0) all.push_back(how);
    });
    stage.strategies[id] = all[dice() % all.size()];
    if (!check(whole, made).empty()) stage.strategies[id] = before;
  }
  return made;
}

}  // namespace

TEST_CASE("ranks that share a sequence learn what one rank learns") {
  CHECK(learnt_alone()[steps - 1] < learnt_alone()[0]);
  const std::pair<const char*, int> plans[] = {
      {"context=2", 2},        {"context=3", 3},          {"context=4", 4},         {"context=8", 8},
      {"data=2,context=2", 4}, {"context=3,tensor=2", 6}, {"zero3=2,context=3", 6}, {"context=2,pipeline=2", 4}};
  for (const auto& [text, ranks] : plans) {
    CAPTURE(text);
    for (const int micro_batches : {1, 2}) {
      const manual asked = asked_for(text, ranks) & manual{.micro_batches = micro_batches};
      const program made = trials::program_of(small_graph(), asked);
      CHECK(rotations_in(made) == 2 * uneven.layers);
      CHECK(same(learnt_alone(), learnt(made)));
      const program again = trials::program_of(small_graph(), asked & recompute());
      CHECK(rotations_in(again) == 3 * uneven.layers);
      CHECK(same(learnt_alone(), learnt(again)));
    }
  }
}

TEST_CASE("under any strategies that rotate, steps learn the same and take what was planned") {
  std::mt19937_64 dice(5);
  int rotating = 0;
  for (const auto& [text, ranks] : {std::pair{"context=3", 3},
                                    {"data=2,context=3", 6},
                                    {"context=2,tensor=2", 4},
                                    {"data=2,context=2,tensor=2", 8}}) {
    const cluster machine = local(ranks);
    const plan sound = solve(formulate(small_graph(), machine, asked_for(text, ranks))).value();
    for (int round = 0; round < 8; ++round) {
      const plan made = random_plan(small_graph(), sound, dice);
      CHECK(from_text(to_text(small_graph(), made), small_graph(), ranks).value() == made);
      const program lowered = lower(small_graph(), made, machine);
      const stage_price paid = prices_of(small_graph(), made, machine).front();
      const picoseconds apart =
          simulated(lowered.stages[stage_id{0}], machine) - paid.forward - paid.backward - paid.update;
      CHECK(std::abs(apart.count) <= 40);  // operators with statistics are rounded up part by part
      rotating += rotations_in(lowered);
      CHECK(same(learnt_alone(), learnt(lowered)));
    }
  }
  CHECK(rotating == 4 * 8 * 2 * uneven.layers);
}

TEST_CASE("no rank has a whole sequence, and what one takes falls as one over the ranks") {
  for (const std::int64_t length : {1024, 2048, 4096, 8192}) {
    const gpt_shape shape{.name = "long", .vocab = 96, .seq = length, .batch = 2, .embed = 64, .layers = 3, .heads = 4};
    const graph whole = trace(training_of(shape, 3, float{}));
    bytes kept, most;
    std::string row = "sequence " + std::to_string(length) + ", peak arena in KiB";
    for (const int ranks : {1, 2, 4}) {
      const program made = trials::program_of(whole, asked_for("context", ranks));
      const stage_program& stage = made.stages[stage_id{0}];
      REQUIRE(check(made) == vector<std::string>{});
      row += ", on " + std::to_string(ranks) + " ranks: " + std::to_string(stage.peak().count / 1024);
      if (ranks == 1) kept = stage.kept;
      if (ranks == 1) most = stage.transient;
      CHECK(stage.kept * ranks == kept);
      for (const buffer& each : stage.buffers) {
        for (int axis = 0; axis < each.rank; ++axis) {
          const bool long_axis = each.global[static_cast<std::size_t>(axis)] == length;
          if (ranks > 1 && long_axis && each.where != memory::fixed)
            CHECK(shard_view(stage, each, 0).extent[axis] * ranks == length);
        }
      }
      // Visiting keys and values, and the gradients on their way, are at most six blocks of [batch, seq, embed].
      const bytes block{shape.batch * length / ranks * shape.embed * 4};
      const bytes gradients{shape.embed * 4 * shape.embed * 4};
      CHECK(stage.transient.count <= most.count / ranks + 6 * block.count + gradients.count);
    }
    MESSAGE(row);
  }
}

TEST_CASE("a plan says which rows go around, what that takes, and keeps its rule") {
  const cluster machine = local(4);
  const problem posed = formulate(small_graph(), machine, asked_for("context", 4));
  const plan made = solve(posed).value();
  CHECK(to_text(small_graph(), made).find("ring seq") != std::string::npos);
  const verdict judged = evaluate(posed, made);
  CHECK(judged.violations == vector<std::string>{});
  CHECK(mean_times(*judged.parts)[work::rotation] > picoseconds{});
  CHECK(explain(posed, made).find("rotation") != std::string::npos);
  // What a rule asks for is kept to: neither the other row nor this one is taken where the other was asked for.
  problem gathered = posed;
  gathered.constraints.rules.front().around = false;
  const auto says = [](const verdict& of) {
    return std::any_of(of.violations.begin(), of.violations.end(), [](const std::string& each) {
      return each.find("as a rule of the problem says") != std::string::npos;
    });
  };
  CHECK(says(evaluate(gathered, made)));
  const plan other = solve(gathered).value();
  CHECK(to_text(small_graph(), other).find("ring seq") == std::string::npos);
  CHECK(says(evaluate(posed, other)));
  CHECK_FALSE(says(evaluate(gathered, other)));
}

TEST_CASE("blocks go around one mesh axis at most, wherever a plan comes from") {
  const cluster machine = local(4);
  plan made = solve(formulate(small_graph(), machine, asked_for("data=2,context=2", 4))).value();
  stage_plan& stage = made.stages[stage_id{0}];
  const std::string text = to_text(small_graph(), made), sound = "split batch | ring seq";
  std::string crowded = text;
  REQUIRE(text.find(sound) != std::string::npos);
  crowded.replace(text.find(sound), sound.size(), "ring seq | ring seq | order data>context");
  const auto read = from_text(crowded, small_graph(), 4);
  REQUIRE_FALSE(read);
  CHECK(read.error().find("two mesh axes split 'seq', which meets blocks that go around; leave it to one of them") !=
        std::string::npos);
  int proposed = 0;
  const problem free = formulate(small_graph(), machine, automatic());
  for (std::size_t n = 0; n < small_graph().nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    const node& at = small_graph().nodes[id];
    if (at.op->op.rotates.of < 0) continue;
    for (const strategy& how : allowed_strategies(free, stage, id)) {
      CHECK(is_legal(at.op->choices, stage.mesh.rank, how));
      proposed += rotating_axis(at.op->choices, stage.mesh, how) >= 0 ? 1 : 0;
    }
    std::uint8_t ring = 0;
    while (at.op->choices.rows[ring].rotated < 0) ++ring;
    stage.strategies[id] = {{ring, ring, 0}, 0};
  }
  CHECK(proposed > 0);
  CHECK_FALSE(check(small_graph(), made).empty());
}
