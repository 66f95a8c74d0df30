// SPDX-License-Identifier: Apache-2.0
// A few moments of a network stand for all of them. Of thousands, a dozen decide what fits; with those alone sizes
// rarely differ, so that presolve and bounds do their work. Law: what is legal at all moments is legal at a few, so a
// bound with few holds for all; what is found with few is looked at at all, and the moments that it overfills are
// added.
#pragma once

#include <meshloom/planner/intra_network.hpp>

namespace meshloom::intra {

/// The network with these moments alone, given in order.
network at_moments(const network& net, const vector<std::int32_t>& moments);

/// The fullest moment of every run of overfull ones.
vector<std::int32_t> overfull(const network& net, const vector<std::int64_t>& bytes_held);

/// Adds what is not there yet to numbers in order; whether there was any.
bool add_moments(vector<std::int32_t>& moments, const vector<std::int32_t>& more);

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_moments.inl>
#endif
