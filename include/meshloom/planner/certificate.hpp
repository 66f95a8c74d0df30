// SPDX-License-Identifier: Apache-2.0
// A proof that no legal assignment of an intra problem costs less than a bound, as plain data: choices that determine
// one another are joined, and a tree of cases is closed by prices of bytes and by prices that move between choices and
// couplings (weak duality). Law: `check` believes nothing in it, works in exact 128-bit integers on the problem as it
// was posed, and shares no code with the solver.
#pragma once

#include <meshloom/planner/intra_problem.hpp>

namespace meshloom {

struct intra_certificate {
  /// Every option of one group leaves at most one option of another through a coupling: they become one group, with the
  /// options of the one that stays. At first every choice is a group.
  struct join {
    std::int32_t coupling = 0;
    bool left_stays = true;
    bool operator==(const join&) const = default;
  };
  /// A price for each byte held at a time, in 2^-(shift + grain) ps.
  struct byte_price {
    std::int32_t time = 0;
    std::int64_t price = 0;
    bool operator==(const byte_price&) const = default;
  };
  /// What happens to a case, once `bytes` and `moved` have given it a bound and have excluded the options with which it
  /// is too dear: it is closed, or looked at again with other prices, or split in two by the options of a group.
  enum class fate : std::uint8_t { closed, again, split };
  struct node {
    fate what = fate::closed;
    vector<byte_price> bytes;
    vector<std::int64_t> moved;  ///< by pair of groups in order: from the options of the first, then the second
    std::int32_t choice = 0;     ///< the choice that its group is named after, and those of its options that the
    vector<std::int32_t> first;  ///< first part has; the second has the others
    bool operator==(const node&) const = default;
  };

  picoseconds bound;
  int shift = 0, grain = 0;  ///< prices are moved in 2^-shift ps
  vector<join> joins;
  vector<node> nodes;  ///< a split is followed by all nodes of its first part, then by all of its second
  bool operator==(const intra_certificate&) const = default;
};

/// Nothing, if it proves its bound; otherwise the faults of the problem, or why it does not.
vector<std::string> check(const intra_problem& posed, const intra_certificate& proof);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/certificate.inl>
#endif
