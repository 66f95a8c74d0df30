// SPDX-License-Identifier: Apache-2.0
// Places the buffers of a stage in its arena: fixed and kept ones one after the other, transient ones packed body by
// body by their lifetimes. Law: buffers alive at the same time never overlap, and the three sizes are what is
// allocated.
#pragma once

#include <meshloom/program/program.hpp>
#include <meshloom/schedule/packing.hpp>

namespace meshloom {

/// Per pass, the buffers that messages read after the body has run.
using sent_buffers = std::array<vector<buffer_id>, pass_count>;

/// When the transient buffers of one body are alive: from the first instruction that touches them to the last.
struct body_lifetimes {
  vector<lifetime> lives;  ///< in the order in which they begin
  vector<buffer_id> buffers;
};
body_lifetimes lifetimes_of(const stage_program& stage, pass which, const sent_buffers& sent);

/// Sets every offset, and the sizes of the three regions.
void allocate(stage_program& stage, const sent_buffers& sent);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/arena.inl>
#endif
