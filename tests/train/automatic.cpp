// SPDX-License-Identifier: Apache-2.0
// Automatic plans train like one rank. Three worlds, each a training and a cluster invented for it, have best plans of
// three kinds: the batch split, the matrices split, a pipeline. Then the same under plans of which only a part is said.
#include "../plan/measures.hpp"
#include "comparison.hpp"

#include <map>

namespace {

namespace ml = meshloom;
using namespace ml::axis;
using measures::share_that_splits;

constexpr unsigned steps = 6;
const ml::sgd momentum{.rate = 0.02, .momentum = 0.9, .decay = 1e-4};
const ml::adamw adamw{.rate = 1e-3};

// --- what a plan is like

void check_that_batch_is_split(const ml::graph& whole, const ml::plan& made) {
  REQUIRE(made.stages.size() == 1);
  CHECK(share_that_splits(whole, made.stages[ml::stage_id{0}], "batch") > 0.9);
}

/// Each rank keeps a part of every matrix and multiplies by that part: none is gathered before its product.
void check_that_matrices_are_split(const ml::graph& whole, const ml::plan& made) {
  REQUIRE(made.stages.size() == 1);
  const ml::stage_plan& stage = made.stages[ml::stage_id{0}];
  CHECK(share_that_splits(whole, stage, "batch") == 0);
  int products = 0;
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    const ml::node& at = whole.nodes[id];
    for (std::size_t p = 0; p < whole.parameters.size() && at.when == ml::phase::forward; ++p) {
      const ml::spec& stored = stage.parameters[p].stored;
      if (!at.name.ends_with(".dot") || at.operands[1] != whole.parameters[p].value) continue;
      CAPTURE(at.name);
      CHECK(ml::operand_spec_in(whole, stage, id, 1) == stored);
      for (int over = 0; over < stage.mesh.rank; ++over) CHECK(stored.on(over).kind == ml::placement::split);
      ++products;
    }
  }
  CHECK(products == 7);
}

void check_that_stages_are_many(const ml::graph&, const ml::plan& made) {
  CHECK(made.stages.size() > static_cast<std::size_t>(made.ranks) / 2);
  CHECK(made.micro_batches > 1);
}

// --- worlds

/// A training, the cluster on which it is planned, and the kind of plan that is best there.
template <class Training>
struct world {
  std::string_view name;
  ml::gpt_shape shape;
  Training task;
  ml::cluster (*machine)(std::int32_t ranks);
  void (*check_kind)(const ml::graph&, const ml::plan&);
};

/// Slow ranks of one host: a message starts at once, and moves a byte in the time of two flops.
ml::cluster near_ranks(std::int32_t ranks) {
  ml::cluster machine = ml::local(ranks);
  machine.device.flops_per_second = 2e9;
  machine.device.launch = {100'000};
  machine.within_host = {.latency = {1'000}, .bytes_per_second = 1'000'000'000};
  return machine;
}

/// The same with links that are hardly felt.
ml::cluster joined_ranks(std::int32_t ranks) {
  ml::cluster machine = near_ranks(ranks);
  machine.within_host.bytes_per_second = 100'000'000'000;
  return machine;
}

/// Hosts of one such rank on a slow network.
ml::cluster far_ranks(std::int32_t ranks) {
  ml::cluster machine = near_ranks(1);
  machine.hosts = ranks;
  machine.between_hosts = {.latency = {50'000'000}, .bytes_per_second = 20'000'000};
  return machine;
}

/// Two groups of hosts on that network: behind one near rank others that are four times as fast, with less memory.
ml::cluster grouped_ranks(std::int32_t ranks) {
  ml::cluster machine = far_ranks(1);
  const ml::cluster joined = joined_ranks(ranks - 1);
  machine.others.push_back({joined.device, 1, ranks - 1, joined.within_host, machine.between_hosts});
  machine.others[0].device.flops_per_second *= 4;
  machine.others[0].device.memory.count /= 2;
  return machine;
}

/// Many samples, small matrices.
template <class Optimizer, class Precision>
auto large_batch(const Optimizer& with, Precision precision) {
  const ml::gpt_shape shape{.vocab = 50, .seq = 5, .batch = 95, .embed = 16, .layers = 2, .heads = 4};
  const ml::training task{.model = ml::gpt(shape.layers),
                          .loss = ml::cross_entropy<vocab>{},
                          .optimizer = with,
                          .sizes = ml::gpt_sizes(shape),
                          .precision = precision};
  return world{"large batch", shape, task, near_ranks, check_that_batch_is_split};
}

/// One short sample, matrices that are large beside it.
template <class Optimizer, class Precision>
auto large_matrices(const Optimizer& with, Precision precision) {
  const ml::gpt_shape shape{.vocab = 96, .seq = 3, .batch = 1, .embed = 96, .layers = 2, .heads = 24};
  const ml::training task{.model = ml::gpt(shape.layers),
                          .loss = ml::cross_entropy<vocab>{},
                          .optimizer = with,
                          .sizes = ml::gpt_sizes(shape),
                          .precision = precision};
  return world{"large matrices", shape, task, joined_ranks, check_that_matrices_are_split};
}

/// As many blocks as 8 ranks can have, and little to send from one to the next.
template <class Optimizer, class Precision>
auto deep(const Optimizer& with, Precision precision) {
  const ml::gpt_shape shape{.vocab = 50, .seq = 16, .batch = 7, .embed = 24, .layers = 6, .heads = 4};
  const auto layer =
      ml::residual(ml::layer_norm<embed>{}, ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{});
  const ml::training task{
      .model = ml::embedding<vocab, embed>{} | ml::repeat(shape.layers, layer) | ml::linear<embed, vocab>{},
      .loss = ml::cross_entropy<vocab>{},
      .optimizer = with,
      .sizes = ml::gpt_sizes(shape),
      .precision = precision};
  return world{"deep", shape, task, far_ranks, check_that_stages_are_many};
}

/// The first stages stand on the first group, the others on the second.
void check_that_groups_are_apart(const ml::graph&, const ml::plan& made) {
  REQUIRE(made.stages.size() > 1);
  CHECK(made.stages[ml::stage_id{0}].mesh.ranks() == 1);
}

template <class Training>
world<Training> on_groups(world<Training> of) {
  of.name = "two groups of hosts";
  of.machine = grouped_ranks;
  of.check_kind = check_that_groups_are_apart;
  return of;
}

// --- planning and training

/// One world, planned as asked and trained beside one rank.
template <class Training>
class automatic {
 public:
  automatic(const world<Training>& of, double tolerance)
      : world_(of), tolerance_(tolerance), graph_(ml::trace(of.task)), samples_(steps, runs::draw(of.shape, 0)) {}

  /// The plan, once it has trained like one rank.
  ml::plan trained(std::int32_t ranks, const ml::manual& asked = ml::automatic()) {
    const std::string where = std::string(world_.name) + " on " + std::to_string(ranks) + " ranks";
    CAPTURE(where);
    const ml::cluster machine = world_.machine(ranks);
    const auto made = ml::solve(ml::formulate(graph_, machine, asked));
    REQUIRE_MESSAGE(made, made.error());
    const std::int32_t parts = made.value().micro_batches;
    if (alone_.count(parts) == 0) alone_[parts] = losses_of(runs::plan_of(graph_, {"data=1", 1, parts}), ml::local(1));
    const double apart = runs::deviation(losses_of(made.value(), machine), alone_[parts]);
    CHECK(apart <= tolerance_);
    largest_ = std::max(largest_, apart);
    ++count_;
    return made.value();
  }

  void report() const {
    MESSAGE(world_.name << ": " << count_ << " runs, largest relative difference of a loss " << largest_);
  }

  const ml::graph& graph() const { return graph_; }

 private:
  ml::vector<double> losses_of(const ml::plan& made, const ml::cluster& machine) {
    auto run = ml::start(ml::host{}, ml::lower(graph_, made, machine), world_.task, 7);
    const runs::outcome left = runs::train(run, samples_);
    CHECK(left.losses.back() < left.losses.front());
    for (const std::string& name : run.names()) CHECK(runs::copies_of(run, name).different == 0);
    return left.losses;
  }

  world<Training> world_;
  double tolerance_;
  ml::graph graph_;
  ml::vector<runs::sample> samples_;
  std::map<std::int32_t, ml::vector<double>> alone_;  ///< per number of micro-batches
  int count_ = 0;
  double largest_ = 0;
};

/// Trains a world on each number of ranks, on few under a sanitizer; in the precision it was made for, the plan must
/// be of its kind.
template <class Training>
void check_world(const world<Training>& of, double tolerance, bool of_its_kind) {
  automatic under(of, tolerance);
  for (const std::int32_t ranks : {2, 3, 4, 8}) {
    if (sanitized && ranks > 3) continue;
    const ml::plan made = under.trained(ranks);
    if (of_its_kind) of.check_kind(under.graph(), made);
  }
  under.report();
}

// --- plans of which a part is said

/// Only the result of the embedding is pinned, to be split by its width: in whatever mesh has that axis, then in one
/// that is said.
template <class Training>
void check_pinned_embedding(automatic<Training>& under, std::int32_t ranks) {
  const ml::manual pin = ml::automatic() & ml::pin_result<embed, ml::mesh::tensor>("embedding.lookup");
  const ml::vector<ml::mesh_axis_size> mesh{{"tensor", ranks % 2 == 0 ? 2 : ranks}, {"data", 0}};
  for (const ml::manual& asked : {pin, pin & ml::manual{.mesh = mesh}}) {
    const ml::plan made = under.trained(ranks, asked);
    const ml::stage_plan& first = made.stages[ml::stage_id{0}];
    const auto named = std::find(first.mesh_axes.begin(), first.mesh_axes.end(), "tensor");
    REQUIRE(named != first.mesh_axes.end());
    const ml::spec result = ml::result_spec_in(under.graph(), first, ml::node_id{0}, 0);
    CHECK(result.on(static_cast<int>(named - first.mesh_axes.begin())) == ml::placement{ml::placement::split, 2});
  }
}

template <class Training>
void check_parts(const world<Training>& of, const ml::vector<std::int32_t>& numbers) {
  automatic under(of, 2e-5);
  for (const std::int32_t ranks : numbers) {
    CAPTURE(ranks);
    check_pinned_embedding(under, ranks);

    const std::int32_t stages = ranks % 2 == 0 ? 2 : 3;
    const ml::manual cut = stages == 2 ? ml::stage(2) : ml::stage(2) & ml::stage(4);
    const ml::plan made = under.trained(ranks, ml::automatic() & cut);
    CHECK(made.stages.size() == static_cast<std::size_t>(stages));
    CHECK(made.stages[ml::stage_id{1}].first_block == 2);
    for (const std::int32_t many : {1, stages}) {
      CHECK(under.trained(ranks, ml::automatic() & ml::pipeline(many)).stages.size() == static_cast<std::size_t>(many));
    }

    for (const std::int32_t parts : {1, static_cast<std::int32_t>(of.shape.batch)}) {
      CHECK(under.trained(ranks, ml::automatic() & ml::manual{.micro_batches = parts}).micro_batches == parts);
    }

    const ml::plan meshed = under.trained(ranks, ml::automatic() & ml::manual{.mesh = {{"rows", ranks}}});
    CHECK(meshed.stages.size() == 1);
    CHECK(meshed.stages[ml::stage_id{0}].mesh_axes == ml::vector<std::string>{"rows"});
  }
  under.report();
}

}  // namespace

TEST_CASE("where a large batch is best split, it is, and trains like one rank") {
  check_world(large_batch(momentum, float{}), 2e-5, true);
}

TEST_CASE("where large matrices are best split, they are, and train like one rank") {
  check_world(large_matrices(momentum, float{}), 2e-5, true);
}

TEST_CASE("where a pipeline is best, it is made, and trains like one rank") {
  check_world(deep(momentum, float{}), 2e-5, true);
}

TEST_CASE("plans for two groups of hosts train like one rank") {
  check_world(on_groups(large_batch(momentum, float{})), 2e-5, true);
  check_world(on_groups(large_matrices(momentum, float{})), 2e-5, true);
  check_world(on_groups(deep(momentum, float{})), 2e-5, true);
}

TEST_CASE("what is said of a plan is kept to, and it trains like one rank") {
  const ml::vector<std::int32_t> numbers = sanitized ? ml::vector{2} : ml::vector{2, 4};
  check_parts(large_batch(momentum, float{}), numbers);
  check_parts(large_matrices(momentum, float{}), numbers);
  check_parts(deep(momentum, float{}), numbers);
}

TEST_SUITE("all") {
  TEST_CASE("automatic plans train like one rank, with every optimizer and in double precision") {
    check_world(large_batch(adamw, float{}), 2e-5, false);
    check_world(large_batch(adamw, double{}), 1e-12, false);
    check_world(large_matrices(adamw, float{}), 2e-5, false);
    check_world(large_matrices(adamw, double{}), 1e-12, false);
    check_world(deep(adamw, float{}), 2e-5, false);
    check_world(deep(adamw, double{}), 1e-12, false);
  }

  TEST_CASE("what is said of a plan is kept to on more ranks") {
    check_parts(large_batch(momentum, float{}), {3, 8});
    check_parts(large_matrices(momentum, float{}), {3, 8});
    check_parts(deep(momentum, float{}), {3, 8});
  }
}
