// SPDX-License-Identifier: Apache-2.0
#include <meshloom/train/averages.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE void take_averages(const host_run& from, host_run& into) {
  const vector<std::string> kept = from.names();
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
