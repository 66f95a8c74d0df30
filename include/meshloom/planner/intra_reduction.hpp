// SPDX-License-Identifier: Apache-2.0
// A reduction: a smaller network that stands for a larger one, and how to get back. Law: what an assignment of the
// smaller network is lifted to has the same price, and fits exactly if it does.
#pragma once

#include <meshloom/planner/intra_network.hpp>

namespace meshloom::intra {

/// One step that removed a variable; its option follows from those of variables that outlived it.
struct removal {
  struct table {
    std::int32_t neighbour = 0;
    vector<std::int32_t> options;  ///< of the neighbour, those that were left
    vector<std::int64_t> cost;     ///< own options by these
  };
  std::int32_t variable = 0;
  vector<std::int32_t> options;  ///< those that were left; of a must-match, by option of its one neighbour
  vector<std::int64_t> cost;     ///< it takes the cheapest of them, by these prices (a must-match has none)
  vector<table> tables;          ///< and these
};

struct reduction {
  network net;
  bool possible = true;                    ///< false: proven that no assignment is legal
  std::size_t variables = 0;               ///< of the network that was given
  vector<std::int32_t> variable_of;        ///< given variable of each variable left
  vector<vector<std::int32_t>> option_of;  ///< given option of each option left
  vector<removal> removals;                ///< in the order in which they were made
};

/// The assignment of the given network that an assignment of the reduced one stands for.
assignment lift(const reduction& made, const assignment& options);

/// An assignment of the reduced network like one of the given: options that are gone become the first that is left.
assignment lower(const reduction& made, const assignment& options);

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_reduction.inl>
#endif
