// SPDX-License-Identifier: Apache-2.0
// Chooses the strategies of one stage: candidates that the constraints allow, weighed with the reshards to and from
// their neighbours, improved operator by operator until no single change is cheaper (or after 20 sweeps).
// What is weighed is every reshard on its own, straight from its maker; plan/stage_price.hpp prices the choice, where
// one form serves several readers. Law: no choice asks for a reshard that cannot be made; equal problems give equal
// plans.
#pragma once

#include <meshloom/cost/analytic.hpp>
#include <meshloom/plan/known_paths.hpp>
#include <meshloom/planner/allowed.hpp>

namespace meshloom {

/// Where a value flows from one spec to another, and how often per step.
struct flow {
  enum end_type : std::uint8_t {
    operation,    ///< an operator of this stage, in the spec that its strategy says
    storage,      ///< a parameter, as it is stored
    accumulator,  ///< a gradient, as it is summed over micro-batches
    message,      ///< another stage: it comes as it is wanted, and goes as it is made, but never as a pending sum
  };
  end_type begin = storage, end = operation;
  node_id from = node_id::none;  ///< makes the value, if it is made here
  std::size_t result = 0;
  node_id to = node_id::none;  ///< reads the value, if `end` is an operation
  std::size_t operand = 0;
  value_id value = value_id::none;
  std::size_t parameter = 0;  ///< in whose storage or accumulator an end is
  std::int64_t times = 1;
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

 private:
  void find_parameters();
  void find_nodes();
  void find_flows(node_id id, const block& here);
  void find_accumulators();
  void find_messages();
  bool holds(const block& here) const;

  /// A flow from whoever makes an instance; none from inputs and states, which come as they are wanted.
  std::optional<flow> flow_from(const instance& what) const;
  void add_flow(const flow& next);
  void index_flows();

  /// What constraints allow; updates compute where the state is.
  vector<strategy> allowed(node_id id) const;

  /// Picks the cheapest allowed strategy, all else fixed; with `decided`, flows to undecided nodes cost nothing. True
  /// if that changed anything for the better.
  bool choose(node_id id, const vector<bool>* decided);
  picoseconds around_price(node_id id, const vector<bool>* decided);
  picoseconds own_price(node_id id, const strategy& how) const;
  spec begin_of(const flow& each) const;
  spec end_of(const flow& each) const;
  picoseconds flow_price(const flow& each);
  void keep_gradients();

  const problem& posed_;
  const graph& whole_;
  stage_plan& stage_;
  std::int32_t micro_batches_;
  size_table sizes_;
  mesh_links links_;
  table<node_id, std::int64_t> copies_;  ///< how many copies of a node run in this stage; 0: none
  table<node_id, vector<strategy>> candidates_;
  vector<flow> flows_;
  table<node_id, vector<std::size_t>> touching_;
  vector<node_id> order_;
  known_paths paths_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/stage_solver.inl>
#endif
