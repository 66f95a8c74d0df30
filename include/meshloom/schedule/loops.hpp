// SPDX-License-Identifier: Apache-2.0
// The steady state of an order of actions as a loop, so that the size of a program does not grow with the number of
// micro-batches.
// Law: expand(fold(actions)) == actions, for any actions. The folded size of a schedule has a bound that does not
// depend on the number of micro-batches.
#pragma once

#include <meshloom/schedule/rendezvous.hpp>

namespace meshloom {

/// The body, `count` times; iteration i adds i * `advance` to every micro-batch in it. An iteration is one micro-batch,
/// except where messages that skip stages make the order repeat only every few. Tasks of reduce and update and their
/// messages belong to micro-batch 0 alone and are therefore only found in loops that run once.
struct loop {
  std::int32_t count = 1;
  vector<action> body;
  std::int32_t advance = 1;
  bool operator==(const loop&) const = default;
};

/// The most actions of a body that `fold` looks for.
inline constexpr std::size_t longest_body = 1024;

/// Takes the loop that saves most actions (the shortest and then the first among equals), then folds what lies before
/// and after it in the same way.
vector<loop> fold(std::span<const action> actions);

/// Calls `visit(action)` for every action of the loops, one after the other.
template <class Visit>
void for_each_action(std::span<const loop> loops, const Visit& visit) {
  for (const loop& each : loops) {
    for (std::int32_t i = 0; i < each.count; ++i) {
      for (action now : each.body) {
        now.micro_batch += i * each.advance;
        visit(now);
      }
    }
  }
}

vector<action> expand(std::span<const loop> loops);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/schedule/loops.inl>
#endif
