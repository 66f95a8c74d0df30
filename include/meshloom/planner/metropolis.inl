// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/allowed.hpp>
#include <meshloom/planner/grid.hpp>
#include <meshloom/planner/metropolis.hpp>
#include <meshloom/sharding/meshes.hpp>

#include <algorithm>
#include <bit>
#include <limits>

namespace meshloom {

MESHLOOM_INLINE vector<strategy> walked_strategies(const graph& whole, const mesh_shape& mesh, node_id id) {
  const choice_table& rows = whole.nodes[id].op->choices;
  vector<strategy> found;
  for_each_strategy(rows, mesh.rank, [&](const strategy& how) {
    bool waits = how.order != 0;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis)
      waits = waits || rows.rows[how.row[axis]].kind == choice::linear;
    if (!waits) found.push_back(how);
  });
  return found;
}

namespace detail {

/// The row of an operator that splits what `row` of another one splits; the first, which is whole, if it has none.
inline std::uint8_t row_like(const node& at, const node& other, const choice& row) {
  const auto axis_of = [](const node& which, int index) {
    return index < 0 ? axis_id::none : which.indices[static_cast<std::size_t>(index)];
  };
  for (std::uint8_t k = 0; k < at.op->choices.count && row.kind == choice::split; ++k) {
    const choice& own = at.op->choices.rows[k];
    if (own.kind == choice::split && axis_of(at, own.index) == axis_of(other, row.index) &&
        axis_of(at, own.rotated) == axis_of(other, row.rotated))
      return k;
  }
  return 0;
}

/// The strategy of an operator that splits what another one splits, or as much of it as is legal.
inline strategy strategy_like(const node& at, const node& other, const strategy& how, int mesh_rank) {
  strategy made;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh_rank); ++axis) {
    made.row[axis] = row_like(at, other, other.op->choices.rows[how.row[axis]]);
    if (!is_legal(at.op->choices, mesh_rank, made)) made.row[axis] = 0;
  }
  return made;
}

/// How the operator that makes a value leaves it.
inline spec as_made(const graph& whole, const stage_plan& stage, value_id id) {
  const node_id maker = whole.values[id].producer;
  const auto& results = whole.nodes[maker].results;
  const auto at = std::find(results.begin(), results.end(), id) - results.begin();
  return result_spec_in(whole, stage, maker, static_cast<std::size_t>(at));
}

/// Makes plans of one stage out of strategies of its forward operators.
class plan_follower {
 public:
  plan_follower(const graph& whole, const cluster& machine, const mesh_shape& mesh)
      : whole_(whole), machine_(machine), origin_(whole.nodes.size(), node_id::none), reader_(whole.parameters.size()) {
    constexpr std::array<const char*, max_mesh_rank> names{"outer", "inner", "inmost"};
    blank_.mesh = mesh;
    blank_.mesh_axes.assign(names.begin(), names.begin() + mesh.rank);
    blank_.end_block = static_cast<std::int32_t>(blocks_of(whole).size());
    blank_.recompute.assign(static_cast<std::size_t>(blank_.end_block), false);
    blank_.parameters.resize(whole.parameters.size());
    blank_.strategies = table<node_id, strategy>(whole.nodes.size());
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) find_origin(static_cast<node_id>(n));
    for (std::size_t p = 0; p < whole.parameters.size(); ++p) find_reader(p);
  }

  int mesh_rank() const { return blank_.mesh.rank; }

  plan follow(std::int32_t micro_batches, const table<node_id, strategy>& forward) {
    plan made{.model = hash_,
              .sizes = whole_.sizes,
              .ranks = machine_.ranks(),
              .micro_batches = micro_batches,
              .schedule = trains(whole_) ? schedule_kind::one_f_one_b : schedule_kind::forward_only,
              .stages = {},
              .predicted = {},
              .bound = {}};
    stage_plan stage = blank_;
    follow_operators(stage, forward);
    for (std::size_t p = 0; p < stage.parameters.size(); ++p) follow_parameter(stage, p);
    follow_updates(stage);
    made.stages.add(std::move(stage));
    made.predicted = predict(whole_, made, machine_, paths_);
    return made;
  }

 private:
  /// The first operator that reads a parameter, by the number of the operand.
  struct reader {
    node_id by = node_id::none;
    std::size_t operand = 0;
  };

  /// The forward operator that a backward one takes part in the gradient of: it is named after it.
  void find_origin(node_id id) {
    const node& at = whole_.nodes[id];
    if (at.when == phase::forward) origin_[id] = id;
    for (std::size_t n = 0; n < whole_.nodes.size() && at.when == phase::backward; ++n) {
      const node& other = whole_.nodes[static_cast<node_id>(n)];
      if (other.when == phase::forward && at.name.starts_with(other.name + ".d.")) origin_[id] = node_id(n);
    }
  }

  void find_reader(std::size_t p) {
    blank_.parameters[p].used = reads(whole_, blank_, whole_.parameters[p]);
    for (std::size_t n = whole_.nodes.size(); n-- > 0;) {
      const node& at = whole_.nodes[static_cast<node_id>(n)];
      const auto read = std::find(at.operands.begin(), at.operands.end(), whole_.parameters[p].value);
      if (at.when == phase::forward && read != at.operands.end())
        reader_[p] = {node_id(n), static_cast<std::size_t>(read - at.operands.begin())};
    }
  }

  void follow_operators(stage_plan& stage, const table<node_id, strategy>& forward) const {
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      const node_id of = origin_[id];
      if (of == node_id::none) continue;
      stage.strategies[id] =
          of == id ? forward[id] : strategy_like(whole_.nodes[id], whole_.nodes[of], forward[of], stage.mesh.rank);
    }
  }

  void follow_parameter(stage_plan& stage, std::size_t p) const {
    parameter_plan& kept = stage.parameters[p];
    if (!kept.used) return;
    const reader& first = reader_[p];
    if (first.by != node_id::none) kept.stored = operand_spec_in(whole_, stage, first.by, first.operand);
    kept.state = kept.stored;
    for (const value_id gradient : whole_.parameters[p].gradients) {
      const value_id made = resolve(whole_, gradient, {whole_.values[gradient].region, 0}).value;
      kept.accumulated.push_back(as_made(whole_, stage, made));
    }
  }

  void follow_updates(stage_plan& stage) const {
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const node& at = whole_.nodes[static_cast<node_id>(n)];
      if (at.when != phase::update) continue;
      const parameter_plan& kept = stage.parameters[*updated_by(whole_, at)];
      stage.strategies[node_id(n)] = update_strategy(at, stage.mesh, kept.state);
    }
  }

  const graph& whole_;
  const cluster& machine_;
  shared_paths paths_{whole_};
  std::uint64_t hash_ = hash_of(whole_);
  stage_plan blank_;
  table<node_id, node_id> origin_;  ///< whose strategy a forward or backward operator follows
  vector<reader> reader_;
};

/// Draws lots: splitmix64 (Steele et al. 2014).
struct lots {
  std::uint64_t state = 0;

  std::uint64_t bits() {
    std::uint64_t mixed = state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(bits() % count); }
};

/// The walk on one mesh.
class strategy_walk {
 public:
  /// Where a walk is.
  struct place {
    table<node_id, strategy> forward;
    std::size_t count = 0;  ///< which of the numbers of micro-batches
    plan made;
    bytes peak;
  };

  strategy_walk(const graph& whole, const cluster& machine, const mesh_shape& mesh, const walk_limits& limits)
      : whole_(whole), machine_(machine), limits_(limits), follower_(whole, machine, mesh), lots_{limits.seed} {
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      options_.push_back(whole.nodes[id].when == phase::forward ? walked_strategies(whole, mesh, id)
                                                                : vector<strategy>{});
      if (options_.back().size() > 1) moving_.push_back(id);
    }
    const std::int64_t batch = whole.sizes[whole.micro_batched].extent;
    for (std::int64_t each = 1; each <= batch; ++each) {
      if (batch % each == 0) counts_.push_back(static_cast<std::int32_t>(each));
    }
  }

  place run(std::int64_t steps) {
    place here = start(), best = here;
    unit_ = std::max<std::int64_t>(here.made.predicted.count / limits_.halvings, 1);
    if (moving_.empty()) return best;
    for (std::int64_t step = 0, found = 0; step < steps && step - found <= steps / 2; ++step) {
      place next = moved(here);
      if (!is_taken(here, next)) continue;
      here = std::move(next);
      if (!is_better(here, best)) continue;
      best = here;
      found = step;
    }
    return best;
  }

  bool is_better(const place& a, const place& b) const {
    return std::pair(excess(a), a.made.predicted) < std::pair(excess(b), b.made.predicted);
  }

 private:
  bytes excess(const place& of) const { return std::max(of.peak - machine_.device.memory, bytes{}); }

  void measure(place& at) const {
    at.peak = peak_of(whole_, at.made, machine_, {std::numeric_limits<std::int64_t>::max()});
  }

  /// Everything split along the batch that can be, in the best number of micro-batches.
  place start() {
    place at;
    at.forward = table<node_id, strategy>(whole_.nodes.size());
    for (const node_id id : moving_) {
      const auto& options = options_[index_of(id)];
      at.forward[id] = *std::max_element(options.begin(), options.end(), [&](const auto& a, const auto& b) {
        return batch_cuts(id, a) < batch_cuts(id, b);
      });
    }
    std::optional<place> best;
    for (std::size_t count = 0; count < counts_.size(); ++count) {
      at.count = count;
      at.made = follower_.follow(counts_[count], at.forward);
      measure(at);
      if (!best || is_better(at, *best)) best = at;
    }
    return *best;
  }

  /// How many mesh axes split the batch.
  int batch_cuts(node_id id, const strategy& how) const {
    const node& at = whole_.nodes[id];
    int cuts = 0;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(follower_.mesh_rank()); ++axis) {
      const choice& row = at.op->choices.rows[how.row[axis]];
      const bool splits = row.kind == choice::split && row.rotated < 0;
      cuts += splits && at.indices[static_cast<std::size_t>(row.index)] == whole_.micro_batched ? 1 : 0;
    }
    return cuts;
  }

  place moved(place at) {
    constexpr std::size_t often = 16;  // operators move so often before the number of micro-batches does
    if (lots_.below(often) == 0) {
      const bool more = lots_.below(2) == 0;
      if (more && at.count + 1 < counts_.size()) ++at.count;
      if (!more && at.count > 0) --at.count;
    } else {
      move_operators(at.forward);
    }
    at.made = follower_.follow(counts_[at.count], at.forward);
    return at;
  }

  /// One takes a strategy by lot; of those behind it, as long as the lot says so, each splits what it splits.
  void move_operators(table<node_id, strategy>& forward) {
    std::size_t next = lots_.below(moving_.size());
    const node_id first = moving_[next];
    const auto& options = options_[index_of(first)];
    forward[first] = options[lots_.below(options.size())];
    while (++next < moving_.size() && lots_.below(2) == 0) {
      const node_id id = moving_[next];
      forward[id] = strategy_like(whole_.nodes[id], whole_.nodes[first], forward[first], follower_.mesh_rank());
    }
  }

  /// Memory first: where it is too much, less is always welcome; where it fits, it has to go on fitting.
  bool is_taken(const place& here, place& next) {
    const picoseconds longer = next.made.predicted - here.made.predicted;
    const bool fits = excess(here) == bytes{};
    if (fits && !is_welcome(longer)) return false;
    measure(next);
    if (excess(next) != excess(here)) return excess(next) < excess(here);
    return fits || is_welcome(longer);
  }

  bool is_welcome(picoseconds longer) {
    return longer.count <= 0 || std::countl_zero(lots_.bits()) >= (longer.count - 1) / unit_ + 1;
  }

  const graph& whole_;
  const cluster& machine_;
  walk_limits limits_;
  plan_follower follower_;
  lots lots_;
  vector<vector<strategy>> options_;  ///< per node
  vector<node_id> moving_;            ///< the forward operators that have several
  vector<std::int32_t> counts_;
  std::int64_t unit_ = 1;  ///< picoseconds that halve the welcome
};

}  // namespace detail

MESHLOOM_INLINE plan follow(const graph& whole, const cluster& machine, const mesh_shape& mesh,
                            std::int32_t micro_batches, const table<node_id, strategy>& forward) {
  return detail::plan_follower(whole, machine, mesh).follow(micro_batches, forward);
}

MESHLOOM_INLINE result<plan> walk_strategies(const graph& whole, const cluster& machine, const walk_limits& limits) {
  if (limits.halvings < 1) return failure{"walk: halvings is " + std::to_string(limits.halvings) + "; give 1 or more"};
  if (!whole.pins.empty())
    return failure{"walk: the model constrains " + whole.values[whole.pins.front().value].name +
                   ", which a random walk does not keep to; take that out, or solve for strategies"};
  if (!machine.others.empty())
    return failure{"walk: one stage stands on all ranks, and " + machine.name + " has " +
                   std::to_string(machine.others.size() + 1) +
                   " groups of hosts; leave the plan to the planner (automatic), or give one group"};
  const vector<mesh_shape> meshes = logical_meshes(machine.ranks());
  std::optional<detail::strategy_walk::place> best;
  for (const mesh_shape& mesh : meshes) {
    detail::strategy_walk walk(whole, machine, mesh, limits);
    auto found = walk.run(limits.steps / static_cast<std::int64_t>(meshes.size()));
    if (!best || walk.is_better(found, *best)) best = std::move(found);
  }
  const bytes limit = machine.device.memory;
  if (best->peak <= limit) return best->made;
  return failure{"no plan on any walk " + detail::too_much(best->peak, limit)};
}

}  // namespace meshloom
