// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/arena.hpp>
#include <meshloom/schedule/packing.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// The lifetimes of one body's transient buffers, from the first instruction that touches them to the last.
struct body_lifetimes {
  std::vector<lifetime> lives;
  std::vector<buffer_id> packed;
  std::vector<std::int32_t> entry;  ///< per buffer, its place in `lives`, or −1

  void touch(const stage_program& stage, buffer_id id, std::size_t instruction) {
    if (stage.buffers[id].where != memory::transient) return;
    const auto at = static_cast<std::int32_t>(instruction);
    std::int32_t& known = entry[index_of(id)];
    if (known < 0) {
      known = static_cast<std::int32_t>(lives.size());
      lives.push_back({stage.buffers[id].size, at, at + 1});
      packed.push_back(id);
    }
    lives[static_cast<std::size_t>(known)].end = at + 1;
  }
};

inline void pack_body(stage_program& stage, const std::vector<instruction>& body, const std::vector<buffer_id>& sent) {
  body_lifetimes found{{}, {}, std::vector<std::int32_t>(stage.buffers.size(), -1)};
  for (std::size_t at = 0; at < body.size(); ++at) {
    for (const auto* list : {&body[at].operands, &body[at].results, &body[at].exchanged, &body[at].visiting}) {
      for (const buffer_id id : *list) found.touch(stage, id, at);
    }
  }
  for (const buffer_id id : sent) found.touch(stage, id, body.size());
  const packing made = pack(found.lives, arena_alignment);
  for (std::size_t k = 0; k < found.packed.size(); ++k) stage.buffers[found.packed[k]].offset = made.offset[k];
  stage.transient = std::max(stage.transient, made.total);
  stage.transient_bound = std::max(stage.transient_bound, made.bound);
}

}  // namespace detail

MESHLOOM_INLINE void allocate(stage_program& stage, const sent_buffers& sent) {
  for (buffer& each : stage.buffers) {
    if (each.where == memory::transient) continue;
    bytes& region = each.where == memory::fixed ? stage.fixed : stage.kept;
    each.offset = region;
    region += each.size;
  }
  for (std::size_t which = 0; which < stage.bodies.size(); ++which)
    detail::pack_body(stage, stage.bodies[which], sent[which]);
}

}  // namespace meshloom
