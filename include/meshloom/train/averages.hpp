// SPDX-License-Identifier: Apache-2.0
// Evaluation with averaged weights: an optimizer that is wrapped in `ema` keeps them, and a run of another program of
// the same model (evaluation, generation), under the same plan or another one, takes them over.
#pragma once

#include <meshloom/exec/host_run.hpp>

#include <algorithm>

namespace meshloom {

/// Gives every parameter of `into` its average in `from`, or, if none is kept of it (running statistics), its value.
/// Throws meshloom::error if the two runs share parameters: start the other one without those of the first.
inline void take_averages(const host_run& from, host_run& into) {
  const std::vector<std::string> kept = from.names();
  for (const std::string& name : into.names()) {
    for (std::int32_t rank = 0; rank < std::min(from.executed().ranks, into.executed().ranks); ++rank) {
      const void* const shared = into.shard(name, rank).data;
      if (shared == nullptr || shared != from.shard(name, rank).data) continue;
      throw error("take_averages: both runs keep " + name +
                  " in one place; start the run that takes averages with parameters of its own");
    }
    const std::string average = name + ".average";
    const bool averaged = std::find(kept.begin(), kept.end(), average) != kept.end();
    into.write(name, from.read(averaged ? average : name));
  }
}

}  // namespace meshloom
