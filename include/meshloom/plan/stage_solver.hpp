// SPDX-License-Identifier: Apache-2.0
// Chooses the strategies of one stage: candidates that the constraints allow, priced with the reshards to and from
// their neighbours, improved operator by operator until no single change is cheaper. Law: no choice asks for a reshard
// that cannot be made; equal problems give equal plans.
#pragma once

#include <meshloom/cost/analytic.hpp>
#include <meshloom/plan/storage.hpp>
#include <meshloom/sharding/reshard.hpp>

namespace meshloom {

/// Where a spec flows from one operator to another, or from what is kept to an operator, and how often per step.
struct flow {
  node_id from = node_id::none;  ///< none: from a fixed spec
  std::size_t result = 0;
  node_id to = node_id::none;  ///< none: to another stage, which takes no partial
  std::size_t operand = 0;
  value_id value = value_id::none;
  spec fixed;  ///< if `from` is none; a partial operand cannot be made from it
  std::int64_t times = 1;
  phase when = phase::forward;
  bool operator==(const flow&) const = default;
};

/// The price of a reshard that cannot be made: more than any plan, small enough that sums stay exact.
inline constexpr picoseconds impossible{std::int64_t{1} << 56};

/// Chooses the strategies of one stage.
class stage_solver {
 public:
  stage_solver(const problem& posed, stage_plan& stage, std::int32_t micro_batches);

  /// An operator none of whose strategies fits its constraints; empty if all have one.
  std::string run();

  /// Time of the stage's nodes and reshards of one phase: per micro-batch, or per step for the update.
  picoseconds time_of(phase when);

 private:
  void find_parameters();
  void use_parameter(value_id id);
  const parameter_plan* kept(value_id id) const;

  /// The parameter that an update node belongs to.
  const parameter_plan* updated(const node& at) const;
  static bool sums_gradients_of(const node& at, const parameter& each);
  void find_nodes();
  void find_flows(node_id id, const block& here);
  void add_flow(const flow& next);
  void index_flows();

  /// The rows that constraints allow on each mesh axis, combined.
  std::vector<strategy> allowed(node_id id) const;
  std::vector<std::uint8_t> allowed_rows(const node& at, std::size_t axis) const;
  bool meets_pins(const node& at, std::size_t axis, const choice& row) const;

  /// Updates compute where the state is.
  std::uint8_t update_row(const node& at, std::size_t axis) const;

  /// Picks the cheapest allowed strategy, all else fixed; with `decided`, flows to undecided nodes cost nothing. True
  /// if that changed anything for the better.
  bool choose(node_id id, const std::vector<bool>* decided);
  picoseconds around_price(node_id id, const std::vector<bool>* decided);
  picoseconds own_price(node_id id, const strategy& how) const;
  picoseconds flow_price(const flow& each);
  void keep_gradients();

  struct known_price {
    value_id value;
    spec from, to;
    picoseconds time;
  };
  const problem& posed_;
  const graph& whole_;
  stage_plan& stage_;
  std::int32_t micro_batches_;
  size_table sizes_;
  mesh_links links_;
  table<node_id, std::int64_t> copies_;  ///< how many copies of a node run in this stage; 0: none
  table<node_id, std::vector<strategy>> candidates_;
  std::vector<flow> flows_;
  table<node_id, std::vector<std::size_t>> touching_;
  std::vector<node_id> order_;
  std::vector<std::vector<known_price>> known_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/stage_solver.inl>
#endif
