// SPDX-License-Identifier: Apache-2.0
// Parity of a model: its training under every plan that presets, their products and the planner make of it equals the
// training on one rank in as many micro-batches. A model says how it is trained, on what, and which presets suit it.
#pragma once

#include "../plan/measures.hpp"
#include "comparison.hpp"

namespace parity {

namespace ml = meshloom;

/// Slow ranks of one host: a message starts at once, and moves a byte in the time of two flops.
inline ml::cluster near_ranks(std::int32_t ranks) {
  ml::cluster machine = ml::local(ranks);
  machine.device.flops_per_second = 2e9;
  machine.device.launch = {100'000};
  machine.within_host = {.latency = {1'000}, .bytes_per_second = 1'000'000'000};
  return machine;
}

/// The same with links that are hardly felt.
inline ml::cluster joined_ranks(std::int32_t ranks) {
  ml::cluster machine = near_ranks(ranks);
  machine.within_host.bytes_per_second = 100'000'000'000;
  return machine;
}

/// Hosts of one such rank on a slow network.
inline ml::cluster far_ranks(std::int32_t ranks) {
  ml::cluster machine = near_ranks(1);
  machine.hosts = ranks;
  machine.between_hosts = {.latency = {50'000'000}, .bytes_per_second = 20'000'000};
  return machine;
}

/// How far a training may be from that of one rank.
struct tolerance {
  double losses;  ///< relative
  double kept;    ///< absolute: parameters, optimizer states, running statistics
  double outputs = 10 * losses;
  bool sharpens = true;  ///< starts with large weights
};

/// What 16 bits may change in a training: losses by 5e-3 of those in f32.
constexpr tolerance rounded{5e-3, 0.5};

/// The trainings of one model in one precision; in 16 bits they are compared with that on one rank in f32.
template <class Precision, class Model>
class trainings {
 public:
  trainings(const Model& model, const tolerance& allowed)
      : allowed_(allowed),
        compared_(model.template training<Precision>(), model.template samples<ml::computed<Precision>>(),
                  model.template training<ml::computed<Precision>>()) {
    compared_.outputs = allowed.outputs / allowed.losses;
    compared_.sharpens = allowed.sharpens;
  }

  /// Trains under one plan in `every`, from number `from` on, numbers of micro-batches and recomputation in turn.
  void check_presets(int from, int every) {
    int turn = 0;
    const auto visit = [&](const std::string& text, int ranks) {
      const int at = turn / every;
      if (turn++ % every == from)
        compared_.check({text, ranks, runs::micro_batch_counts[at % 3], at / 3 % 2 == 1}, allowed_.losses);
    };
    runs::for_each_plan(visit, Model::presets());
  }

  /// Trains under all of them, in all numbers of micro-batches, with and without recomputation.
  void check_all_presets() {
    const auto visit = [&](const std::string& text, int ranks) {
      for (const int micro_batches : runs::micro_batch_counts) {
        for (const bool recomputes : {false, true})
          compared_.check({text, ranks, micro_batches, recomputes}, allowed_.losses);
      }
    };
    runs::for_each_plan(visit, Model::presets());
  }

  /// Trains under the planner's choice, of which `asked` may say a part, and returns it.
  ml::plan check_automatic(const ml::cluster& machine, const ml::manual& asked = {}) {
    return compared_.check("auto on " + std::to_string(machine.ranks()) + " ranks", ml::automatic() & asked, machine,
                           allowed_.losses);
  }

  /// A number of micro-batches above one, if the batch can be cut.
  std::int32_t some_micro_batches() const {
    const ml::graph& whole = compared_.graph();
    return whole.sizes[whole.micro_batched].extent % 2 == 0 ? 2 : 1;
  }

  /// The share of operators that could be split along an axis, and are in the whole of a plan of one stage.
  double share_that_splits(const ml::plan& made, const std::string& axis) const {
    REQUIRE(made.stages.size() == 1);
    return measures::share_that_splits(compared_.graph(), made.stages[ml::stage_id{0}], axis);
  }

  /// After presets: some shards must have been uneven, and some empty.
  void report(const std::string& what) const {
    compared_.report(what);
    CHECK(compared_.largest_kept <= allowed_.kept);
  }

  void report_automatic(const std::string& what) const {
    compared_.describe(what);
    CHECK(compared_.largest_kept <= allowed_.kept);
  }

 private:
  tolerance allowed_;
  decltype(runs::comparison(std::declval<Model>().template training<Precision>(),
                            std::declval<Model>().template samples<ml::computed<Precision>>(),
                            std::declval<Model>().template training<ml::computed<Precision>>())) compared_;
};

/// Trains under plans of which only a part is said: numbers, a mesh, then each of the rules.
template <class Trainings>
void check_parts(Trainings& of, const ml::cluster& machine, const ml::vector<ml::manual>& rules) {
  const std::int32_t parts = of.some_micro_batches();
  CHECK(of.check_automatic(machine, {.micro_batches = parts}).micro_batches == parts);
  const std::int32_t stages = machine.ranks() % 2 == 0 ? 2 : machine.ranks();
  CHECK(of.check_automatic(machine, ml::pipeline(stages)).stages.size() == static_cast<std::size_t>(stages));
  const ml::plan meshed = of.check_automatic(machine, {.mesh = {{"rows", machine.ranks()}}});
  CHECK(meshed.stages[ml::stage_id{0}].mesh_axes == ml::vector<std::string>{"rows"});
  for (const ml::manual& rule : rules) of.check_automatic(machine, rule);
}

/// Trains under automatic plans, and those of which a part is said, on clusters of every kind.
template <class Trainings>
void check_all_automatic(Trainings& of, const ml::vector<ml::manual>& rules) {
  for (const std::int32_t ranks : {2, 3, 4, 8}) {
    if (sanitized && ranks > 3) continue;
    for (const auto cluster : {near_ranks, joined_ranks, far_ranks}) {
      of.check_automatic(cluster(ranks));
      check_parts(of, cluster(ranks), rules);
    }
  }
}

}  // namespace parity
