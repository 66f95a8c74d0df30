// SPDX-License-Identifier: Apache-2.0
// Makes certificates (certificate.hpp) of bounds that the intra-operator solver has found: the same joins, multipliers
// and messages, without the reductions that a checker would have to believe. Laws: what it returns passes `check`; its
// bound is at most the one asked for, and is that one if there were nodes enough.
#pragma once

#include <meshloom/planner/certificate.hpp>
#include <meshloom/planner/intra_options.hpp>

namespace meshloom {

struct certify_options {
  std::int32_t nodes = 500;               ///< of the tree of cases
  std::int32_t rounds = 200;              ///< of raising the bound, for each but the first
  std::int32_t first_rounds = 400;        ///< and for that
  std::int64_t most_prices = 50'000'000;  ///< numbers in all nodes together
  std::function<bool()> stop;             ///< asked again and again, if given
};

/// Proves as much of an answer's bound as it can. The answer must be to this problem, which must be without faults.
intra_certificate certify(const intra_problem& posed, const intra_answer& answer, const certify_options& limits = {});

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/certify.inl>
#endif
