// SPDX-License-Identifier: Apache-2.0
// What the stages on one logical mesh have in common, whichever blocks they run: which strategies and storages are
// allowed, what each takes and holds, and the forms of values that it reads and makes. Everything is found when it is
// first asked for, and forms are compared by number. Law: a stage formed from tables that others have asked is the one
// formed from its own.
#pragma once

#include <meshloom/planner/allowed.hpp>
#include <meshloom/planner/read_value.hpp>
#include <meshloom/planner/reshard_prices.hpp>

#include <memory>

namespace meshloom {

/// A spec of a value, and its number among the specs of that value.
struct numbered_spec {
  spec layout;
  std::int32_t number = -1;  ///< −1: there is none
  bool operator==(const numbered_spec& other) const { return number == other.number; }
};

/// One form of a value, or two.
struct forms {
  numbered_spec first, second = {};
  bool pair() const { return second.number >= 0; }
  bool has(const numbered_spec& one) const { return first == one || (pair() && second == one); }
  bool operator==(const forms&) const = default;
};

/// The forms that every option of a choice stands for.
struct form_list {
  vector<forms> entries;       ///< the different ones, in order
  vector<std::int32_t> which;  ///< of them, by option

  void add(const forms& next);
  void add_once(const forms& next);
};

/// An operator under each strategy that it may take.
struct operator_options {
  vector<strategy> options;
  vector<picoseconds> price;      ///< of running once
  vector<bytes> size;             ///< of the results
  vector<bytes> passing;          ///< what is held while it runs alone; empty: nothing
  vector<form_list> reads, made;  ///< by operand, by result
};

/// One copy of a parameter in each way in which it may be kept.
struct parameter_options {
  vector<storage> options;
  form_list stored, state;
  vector<picoseconds> update;  ///< the price, once per step
  vector<bytes> held;          ///< with its states
  vector<form_list> sums;      ///< per gradient, the forms in which it may be summed over micro-batches
  vector<region_id> readers;   ///< a stage keeps it if it runs a block of these
};

class stage_tables {
 public:
  /// `stage` says which ranks and mesh. Keeps a reference to the problem.
  stage_tables(const problem& posed, const stage_plan& stage, std::int32_t micro_batches,
               std::shared_ptr<value_uses> uses = nullptr);

  /// The same tables with only those options of what some stages run that one of them takes: operators that run in none
  /// of them keep all of theirs.
  stage_tables(std::shared_ptr<stage_tables> all, vector<stage_plan> some);

  /// Those with all options; none: these have them.
  const std::shared_ptr<stage_tables>& all() const { return all_; }

  bool are_of(const stage_plan& stage, std::int32_t micro_batches) const;

  /// What is found is kept, and references to it stay good.
  const operator_options& of(node_id id);
  const parameter_options& of_parameter(std::size_t number);

  /// The parameter that each node of the update belongs to; −1 for other nodes.
  const table<node_id, std::int32_t>& updated() const { return updated_; }

  /// Nodes that read the value as it is named.
  const vector<node_id>& readers_of(value_id id) const { return readers_[id]; }

  value_uses& uses() { return *uses_; }

  numbered_spec numbered(value_id id, const spec& layout);
  bytes size_of_shard(value_id id, const spec& layout) const;
  const cluster& machine() const { return posed_.cluster; }
  /// The price of making one form of a value from another; `forbidden` if it cannot be made.
  picoseconds price(value_id id, const numbered_spec& from, const numbered_spec& to);

 private:
  operator_options some_of(node_id id) const;
  parameter_options some_of_parameter(std::size_t number);
  std::size_t shape_of(value_id id);
  void find_lists(node_id id, operator_options& made);
  picoseconds update_price(std::size_t number, const spec& state);
  void find_sums(std::size_t number, parameter_options& made);
  void find_readers(std::size_t number, parameter_options& made) const;

  const problem& posed_;
  const graph& whole_;
  stage_plan stage_;  ///< its ranks and mesh
  std::int32_t micro_batches_;
  size_table sizes_;
  mesh_links links_;
  reshard_prices prices_;
  std::shared_ptr<value_uses> uses_;
  table<value_id, std::int32_t> shapes_;  ///< in `prices_`; −1: not asked for yet
  table<node_id, std::int32_t> updated_;
  table<value_id, vector<node_id>> readers_;
  table<node_id, std::shared_ptr<const operator_options>> operators_;
  vector<std::shared_ptr<const parameter_options>> parameters_;
  std::shared_ptr<stage_tables> all_;  ///< none: these are all
  vector<stage_plan> some_;            ///< whose options are taken
};

/// The tables of some meshes, all of them on the first ranks of a cluster.
class shared_stage_tables {
 public:
  std::shared_ptr<stage_tables> of(const problem& posed, const stage_plan& mesh, std::int32_t micro_batches);

 private:
  std::shared_ptr<value_uses> uses_;
  vector<std::shared_ptr<stage_tables>> all_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/stage_tables.inl>
#endif
