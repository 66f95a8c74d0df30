// SPDX-License-Identifier: Apache-2.0
// The door for an integer-programming solver, the last rung of the intra-operator solver. The library needs none;
// whoever has one includes its header (planner/glpk.hpp) and hands it over. Law: its bound is proven, whatever it did.
#pragma once

#include <meshloom/planner/intra_network.hpp>

namespace meshloom {

class integer_solver {
 public:
  struct answer {
    intra::assignment options;  ///< the best that it met; empty: none
    std::int64_t bound = 0;     ///< no legal assignment is cheaper than this and than `upper` both
  };

  virtual ~integer_solver() = default;

  /// Looks for an assignment cheaper than `upper` that fits. Prices are the network's, with its constant.
  virtual answer solve(const intra::network& net, std::int64_t upper) const = 0;
};

}  // namespace meshloom
