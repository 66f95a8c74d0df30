// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/arena.hpp>

#include <algorithm>

namespace meshloom {
MESHLOOM_INLINE body_lifetimes lifetimes_of(const stage_program& stage, pass which, const sent_buffers& sent) {
  body_lifetimes found;
  vector<std::int32_t> entry(stage.buffers.size(), -1);  // per buffer, its place among those found
  const auto touch = [&](buffer_id id, std::size_t instruction) {
    if (stage.buffers[id].where != memory::transient) return;
    const auto at = static_cast<std::int32_t>(instruction);
    std::int32_t& known = entry[index_of(id)];
    if (known < 0) {
      known = static_cast<std::int32_t>(found.lives.size());
      found.lives.push_back({stage.buffers[id].size, at, at + 1});
      found.buffers.push_back(id);
    }
    found.lives[static_cast<std::size_t>(known)].end = at + 1;
  };
  const auto& body = stage.bodies[static_cast<std::size_t>(which)];
  for (std::size_t at = 0; at < body.size(); ++at) {
    for (const auto* list : {&body[at].operands, &body[at].results, &body[at].exchanged, &body[at].visiting}) {
      for (const buffer_id id : *list) touch(id, at);
    }
  }
  for (const buffer_id id : sent[static_cast<std::size_t>(which)]) touch(id, body.size());
  return found;
}

MESHLOOM_INLINE void allocate(stage_program& stage, const sent_buffers& sent) {
  for (buffer& each : stage.buffers) {
    if (each.where == memory::transient) continue;
    bytes& region = each.where == memory::fixed ? stage.fixed : stage.kept;
    each.offset = region;
    region += each.size;
  }
  for (int which = 0; which < pass_count; ++which) {
    const body_lifetimes found = lifetimes_of(stage, static_cast<pass>(which), sent);
    const packing made = pack(found.lives, arena_alignment);
    for (std::size_t k = 0; k < found.buffers.size(); ++k) stage.buffers[found.buffers[k]].offset = made.offset[k];
    stage.transient = std::max(stage.transient, made.total);
    stage.transient_bound = std::max(stage.transient_bound, made.bound);
  }
}

}  // namespace meshloom
