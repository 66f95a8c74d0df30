// SPDX-License-Identifier: Apache-2.0
// A head that is the embedding, transposed. Where a pipeline cuts between the two, each stage keeps a copy of the
// table: gradients cross once per step, and the copies stay equal to the last bit.
#include "comparison.hpp"

namespace {

namespace ml = meshloom;

constexpr ml::gpt_shape shape{
    .name = "tied", .vocab = 50, .seq = 8, .batch = 24, .embed = 16, .layers = 6, .heads = 4, .tied = true};
constexpr unsigned steps = 8;

template <class Optimizer, class Precision>
auto training_of(const Optimizer& with, Precision precision) {
  return ml::training{.model = ml::tied_gpt(shape.layers),
                      .loss = ml::cross_entropy<ml::axis::vocab>{},
                      .optimizer = with,
                      .sizes = ml::gpt_sizes(shape),
                      .precision = precision};
}

const ml::sgd momentum{.rate = 0.05, .momentum = 0.9, .decay = 1e-4};
const ml::adamw adamw{.rate = 1e-3};

template <class Optimizer, class Precision>
auto comparison_of(const Optimizer& with, Precision precision) {
  return runs::comparison(training_of(with, precision), runs::draw_all(shape, steps));
}

/// Plans that keep the table in two stages.
const ml::vector<runs::request> cut{{"pipeline=2", 2, 1},
                                    {"pipeline=2", 2, 4},
                                    {"pipeline=4", 4, 4},
                                    {"gpipe=4", 4, 2},
                                    {"data=2,pipeline=2", 4, 2},
                                    {"tensor=2,pipeline=2", 4, 1},
                                    {"zero1=2,gpipe=2", 4, 2},
                                    {"zero2=2,pipeline=4", 8, 4},
                                    {"zero3=2,pipeline=2", 4, 2},
                                    {"data=2,tensor=2,pipeline=2", 8, 2},
                                    {"zero3=2,tensor=2,pipeline=2", 8, 4}};

int stages_with(const ml::program& made, const std::string& name) {
  return static_cast<int>(std::count_if(made.stages.begin(), made.stages.end(), [&](const ml::stage_program& stage) {
    return std::any_of(stage.placed_values.begin(), stage.placed_values.end(),
                       [&](const ml::placed_value& each) { return each.name == name; });
  }));
}

/// How often rank `rank` sent transfer `which` in the last step.
auto sent(const ml::host_run& run, int rank, std::size_t which) {
  const auto events = run.events();
  return std::count_if(events.begin(), events.end(), [&](const ml::event& each) {
    return each.rank == rank && each.kind == ml::action::send && each.index == static_cast<std::int32_t>(which);
  });
}

/// Gradients for the update leave a stage once per step, activations once per micro-batch; returns the number of the
/// former.
int check_messages(const ml::host_run& run) {
  const ml::program& made = run.executed();
  int gradients = 0;
  for (std::size_t which = 0; which < made.transfers.size(); ++which) {
    const ml::message& route = made.transfers[which].route;
    const int from = made.stages[ml::stage_id{route.from_stage}].first_rank;
    const bool once = route.to == ml::pass::update;
    CHECK(sent(run, from, which) == (once ? 1 : made.micro_batches));
    gradients += once ? 1 : 0;
  }
  return gradients;
}

}  // namespace

TEST_CASE("a tied head trains like one rank under every second plan, micro-batches and optimizers in turn") {
  auto by_sgd = comparison_of(momentum, float{});
  auto by_adamw = comparison_of(adamw, float{});
  int turn = 0;
  runs::for_each_plan([&](const std::string& text, int ranks) {
    const runs::request asked{text, ranks, runs::micro_batch_counts[turn % 3]};
    if (turn % 4 == 0) by_sgd.check(asked, 2e-5);
    if (turn % 4 == 2) by_adamw.check(asked, 2e-5);
    ++turn;
  });
  by_sgd.report("tied, SGD with momentum, f32");
  by_adamw.report("tied, AdamW, f32");
}

TEST_CASE("a tied head in double precision agrees to rounding, table and states in two stages") {
  runs::comparison exact(training_of(adamw, double{}), runs::draw_all(shape, steps));
  for (const runs::request& asked : cut) exact.check(asked, 1e-12);
  MESSAGE("tied, AdamW, f64: " << exact.count << " runs, largest relative difference of a loss " << exact.largest
                               << ", largest difference of a number kept " << exact.largest_kept);
  CHECK(exact.largest_kept < 1e-9);
}

TEST_CASE("both copies of a tied table stay equal, bit by bit, step by step") {
  const auto task = training_of(adamw, float{});
  for (const runs::request& asked : cut) {
    CAPTURE(name_of(asked));
    auto run = ml::start(ml::host{}, runs::program_of(ml::trace(task), asked), task, 7);
    run.record(true);
    CHECK(stages_with(run.executed(), "tokens") == 2);
    for (unsigned at = 0; at < steps; ++at) {
      const auto before = run.read("tokens");
      runs::step(run, runs::draw(shape, at));
      CHECK(run.read("tokens") != before);
      for (const char* name : {"tokens", "tokens.moment1", "tokens.moment2"}) {
        const runs::copies found = runs::copies_of(run, name);
        CHECK(found.count > 0);
        CHECK(found.different == 0);
      }
      CHECK(check_messages(run) == 2);
    }
  }
}

TEST_CASE("a copy that differs in one bit is found") {
  const auto task = training_of(adamw, float{});
  auto run = ml::start(ml::host{}, runs::program_of(ml::trace(task), {"pipeline=2", 2, 1}), task, 7);
  CHECK(runs::copies_of(run, "tokens").different == 0);
  run.shard("tokens", 1).as<std::uint32_t>()[17] ^= 1;
  CHECK(runs::copies_of(run, "tokens").different == 1);
}

TEST_CASE("a tied head trains like one rank, with all micro-batches and optimizers" * doctest::test_suite("all")) {
  auto by_sgd = comparison_of(momentum, float{});
  auto by_adamw = comparison_of(adamw, float{});
  auto exact = comparison_of(adamw, double{});
  runs::for_each_plan([&](const std::string& text, int ranks) {
    for (const int micro_batches : runs::micro_batch_counts) {
      by_sgd.check({text, ranks, micro_batches}, 2e-5);
      by_adamw.check({text, ranks, micro_batches}, 2e-5);
      exact.check({text, ranks, micro_batches}, 1e-12);
    }
  });
  by_sgd.report("tied, SGD with momentum, f32");
  by_adamw.report("tied, AdamW, f32");
  exact.report("tied, AdamW, f64");
  CHECK(exact.largest_kept < 1e-9);
}
