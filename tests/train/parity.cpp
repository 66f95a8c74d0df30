// SPDX-License-Identifier: Apache-2.0
// Every preset and product of presets trains like one rank: same micro-batches, same losses, step by step. Shards are
// uneven and empty on purpose: 3 ranks for 4 heads, 8 for 4 heads and for 6 rows, 50 words over anything.
#include "runs.hpp"

#include <doctest/doctest.h>

namespace {

namespace ml = meshloom;

constexpr ml::gpt_shape shape{.name = "parity", .vocab = 50, .seq = 16, .batch = 24, .embed = 32, .layers = 8, .heads = 4};
constexpr unsigned steps = 8;

template <class Optimizer, class Precision>
auto training_of(const Optimizer& with, Precision precision) {
  return ml::training{.model = ml::gpt(shape.layers), .loss = ml::cross_entropy<ml::axis::vocab>{}, .optimizer = with,
                      .sizes = ml::gpt_sizes(shape), .precision = precision};
}

const ml::sgd momentum{.rate = 0.05, .momentum = 0.9, .decay = 1e-4};
const ml::adamw adamw{.rate = 1e-3};

/// What a program shows about how it divides the work.
struct division {
  int ranks = 0;         ///< that run something in forward, backward and update
  bool by_all = true;    ///< no mesh axis of 2 or more only repeats the work of its first rank
  bool uneven = false;   ///< ranks have shards of different sizes
  bool empty = false;    ///< a rank has no part of something
};

bool divided(const ml::stage_program& stage, int axis) {
  for (const ml::instruction& each : stage.bodies[0]) {
    for (const ml::buffer_id result : each.results) {
      if (each.kind == ml::instruction::compute && stage.buffers[result].layout.on(axis).kind != ml::placement::whole) return true;
    }
  }
  return false;
}

division division_of(const ml::program& made) {
  division found;
  for (const ml::stage_program& stage : made.stages) {
    const bool runs = !stage.bodies[0].empty() && !stage.bodies[1].empty() && !stage.bodies[3].empty();
    if (runs) found.ranks += stage.mesh.ranks();
    for (int axis = 0; axis < stage.mesh.rank; ++axis) {
      if (stage.mesh.size[static_cast<std::size_t>(axis)] > 1 && !divided(stage, axis)) found.by_all = false;
    }
    for (const ml::buffer& each : stage.buffers) {
      const std::int64_t first = ml::shard_view(stage, each, 0).count();
      for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member) {
        const std::int64_t count = ml::shard_view(stage, each, member).count();
        found.uneven = found.uneven || count != first;
        found.empty = found.empty || count == 0;
      }
    }
  }
  return found;
}

/// The trainings that others are compared with: one rank, by micro-batches.
template <class Task>
class comparison {
 public:
  explicit comparison(const Task& task) : task_(task), graph_(ml::trace(task)) {
    for (unsigned at = 0; at < steps; ++at) samples_.push_back(runs::draw(shape, at));
  }

  /// Trains under a plan; its losses must be those of one rank within `tolerance`.
  void check(const runs::request& asked, double tolerance) {
    CAPTURE(name_of(asked));
    if (alone_.count(asked.micro_batches) == 0) alone_[asked.micro_batches] = train({"data=1", 1, asked.micro_batches});
    const runs::outcome& expected = alone_[asked.micro_batches];
    const runs::outcome left = train(asked);
    const double apart = runs::deviation(left.losses, expected.losses);
    CHECK(apart <= tolerance);
    ++count;
    if (apart >= largest) furthest = name_of(asked);
    largest = std::max(largest, apart);
    for (const auto& [name, values] : expected.kept) {
      for (std::size_t at = 0; at < values.size(); ++at) largest_kept = std::max(largest_kept, std::abs(left.kept.at(name).at(at) - values[at]));
    }
  }

  int count = 0;
  double largest = 0;        ///< relative difference of a loss, of all that was checked
  double largest_kept = 0;   ///< difference of a number that is kept, parameter or state
  std::string furthest;
  bool uneven = false, empty = false;

 private:
  runs::outcome train(const runs::request& asked) {
    ml::program made = runs::program_of(graph_, asked);
    const division how = division_of(made);
    CHECK(how.ranks == asked.ranks);
    CHECK(how.by_all);
    uneven = uneven || how.uneven;
    empty = empty || how.empty;
    runs::outcome left = runs::train(task_, std::move(made), samples_);
    CHECK(left.losses.back() < left.losses.front());
    return left;
  }

  Task task_;
  ml::graph graph_;
  std::vector<runs::sample> samples_;
  std::map<int, runs::outcome> alone_;
};

template <class Task>
void report(const std::string& what, const comparison<Task>& made) {
  MESSAGE(what << ": " << made.count << " runs, largest relative difference of a loss " << made.largest << " (" << made.furthest
               << "), of a number kept " << made.largest_kept);
  CHECK(made.uneven);
  CHECK(made.empty);
}

constexpr int rank_counts[] = {1, 2, 3, 4, 8};
constexpr int micro_batch_counts[] = {1, 2, 4};

template <class Visit>
void for_each_plan(const Visit& visit) {
  for (const int ranks : rank_counts) {
    for (const std::string& text : runs::plans_of(ranks)) visit(text, ranks);
  }
}

}  // namespace

TEST_CASE("every plan trains like one rank, micro-batches and optimizers in turn") {
  comparison by_sgd(training_of(momentum, float{}));
  comparison by_adamw(training_of(adamw, float{}));
  int turn = 0;
  for_each_plan([&](const std::string& text, int ranks) {
    const runs::request asked{text, ranks, micro_batch_counts[turn % 3]};
    if (turn / 3 % 2 == 0) by_sgd.check(asked, 2e-5);
    else by_adamw.check(asked, 2e-5);
    ++turn;
  });
  report("SGD with momentum, f32", by_sgd);
  report("AdamW, f32", by_adamw);
}

TEST_CASE("in double precision losses, parameters and states agree to rounding, under every fourth plan") {
  comparison exact(training_of(adamw, double{}));
  int turn = 0;
  for_each_plan([&](const std::string& text, int ranks) {
    if (turn % 4 == 0) exact.check({text, ranks, micro_batch_counts[turn / 4 % 3]}, 1e-12);
    ++turn;
  });
  report("AdamW, f64", exact);
  CHECK(exact.largest_kept < 1e-9);
}

TEST_CASE("every plan trains like one rank, with all micro-batches and optimizers" * doctest::test_suite("all")) {
  comparison by_sgd(training_of(momentum, float{}));
  comparison by_adamw(training_of(adamw, float{}));
  comparison exact(training_of(adamw, double{}));
  for_each_plan([&](const std::string& text, int ranks) {
    for (const int micro_batches : micro_batch_counts) {
      by_sgd.check({text, ranks, micro_batches}, 2e-5);
      by_adamw.check({text, ranks, micro_batches}, 2e-5);
      exact.check({text, ranks, micro_batches}, 1e-12);
    }
  });
  report("SGD with momentum, f32", by_sgd);
  report("AdamW, f32", by_adamw);
  report("AdamW, f64", exact);
  CHECK(exact.largest_kept < 1e-9);
}
