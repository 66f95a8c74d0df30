// SPDX-License-Identifier: Apache-2.0
// Exact variable elimination: variables are taken out one by one, each leaving a table of its best price for every
// combination of its neighbours (Bertelè & Brioschi 1972). The order depends on the network alone, so that other
// prices of the options, say with the price of memory in them, cost another run over the same tables, not another plan.
// Law: exact wherever the order is narrow enough; memory is not looked at.
#pragma once

#include <meshloom/planner/intra_network.hpp>

#include <memory>

namespace meshloom::intra {

/// The least price and an assignment that has it; its options are only meaningful below `never`.
struct optimum {
  std::int64_t price = never;
  assignment options;
};

class elimination {
 public:
  /// An order for the network, if all tables together have at most `most_entries` and a run is at most `most_work`.
  static std::optional<elimination> plan(const network& net, std::int64_t most_entries, std::int64_t most_work = never);

  /// The optimum when the option with number n costs `prices[n]`, which must be ≥ 0; the constant is added.
  optimum run(const vector<std::int64_t>& prices);

  /// The least price of an assignment with each option, by number: the tables once more, from the last to the first.
  vector<std::int64_t> bounds(const vector<std::int64_t>& prices);

  /// Entries that a run adds up.
  std::int64_t work() const { return work_; }

 private:
  /// A table over some variables; those to be eliminated last come first.
  struct table {
    vector<std::int32_t> scope;
    std::size_t entries = 1;
    std::int64_t* cost = nullptr;
  };
  /// A table as a step reads it: one stride for each variable of the step's scope, zero if it is not in the table.
  struct factor {
    std::size_t table = 0;
    vector<std::size_t> strides;
    bool has_last = false;  ///< the last variable of the step's scope is in the table
  };
  /// Takes out one variable; the n-th step leaves the n-th table.
  struct step {
    std::int32_t variable = 0;
    vector<factor> factors;
  };

  explicit elimination(const network& net);
  bool find_order(const network& net, std::int64_t most_entries);
  void place_edges(const network& net);
  void place_messages();
  void add_factor(std::int32_t v, std::size_t number);
  void count_work();
  void fill(const network& net);
  void run_step(std::size_t number, const std::int64_t* prices);
  void add_row(const step& each, const vector<std::size_t>& at, const std::int64_t* prices);
  std::int64_t least(std::size_t last);
  template <std::size_t Tables>
  std::int64_t least_of(const std::int64_t* row, std::size_t last) const;
  void run_step_back(std::size_t number, const std::int64_t* prices, std::int64_t* bounds);
  const std::int64_t* base_of(const factor& known, const vector<std::size_t>& at) const;
  bool advance(const vector<std::int32_t>& scope, vector<std::size_t>& at, std::size_t dimensions) const;
  std::int32_t best_option(std::size_t number, const std::int64_t* prices, const assignment& chosen) const;

  vector<std::size_t> counts_, number_;  ///< options of each variable, and the number of the first
  vector<std::size_t> position_;         ///< of each variable in the order
  vector<step> steps_;
  vector<table> tables_;                     ///< of the steps, then of the edges
  std::unique_ptr<std::int64_t[]> entries_;  ///< of all tables; those of steps are written before they are read
  vector<vector<std::int64_t>> outside_;     ///< for each step's table, the best price of everything else
  vector<std::int64_t> row_, sum_;           ///< for one combination of neighbours, by option of the step's variable
  vector<const std::int64_t*> bases_;        ///< where the factors that have the scope's last variable begin, and
  vector<std::size_t> jumps_;                ///< their strides for it
  std::int64_t constant_ = 0, work_ = 0;
};

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_elimination.inl>
#endif
