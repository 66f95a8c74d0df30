// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/recomputation.hpp>
#include <meshloom/plan/shortened.hpp>

namespace meshloom {
namespace detail {

/// Copies of one region, in one stage, that all recompute or all do not.
struct alike_blocks {
  static constexpr std::int32_t most = 5;  ///< that are kept

  stage_id stage;
  region_id region;
  bool recomputes;
  std::int32_t count;

  std::int32_t kept() const { return std::min(count, most); }
};

inline vector<alike_blocks> find_alike(const graph& whole, const plan& made) {
  const auto blocks = blocks_of(whole);
  vector<alike_blocks> found;
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const auto which = static_cast<stage_id>(s);
    const stage_plan& stage = made.stages[which];
    for (std::int32_t b = stage.first_block; b < stage.end_block; ++b) {
      const region_id area = blocks[static_cast<std::size_t>(b)].region;
      const bool again = stage.recompute[static_cast<std::size_t>(b - stage.first_block)];
      const bool goes_on = !found.empty() && found.back().stage == which && found.back().region == area &&
                           found.back().recomputes == again;
      if (goes_on) ++found.back().count;
      if (!goes_on) found.push_back({which, area, again, 1});
    }
  }
  return found;
}

/// Leaves out copies; the stages keep what they keep.
inline shortened_plan without_middles(const graph& whole, const plan& made, const vector<alike_blocks>& runs) {
  shortened_plan shorter{whole, made, {}};
  for (region& each : shorter.whole.regions) each.count = 0;
  for (stage_plan& each : shorter.made.stages) each.recompute.clear();
  for (const alike_blocks& run : runs) {
    shorter.whole.regions[run.region].count += run.kept();
    stage_plan& stage = shorter.made.stages[run.stage];
    for (std::int32_t k = 0; k < run.kept(); ++k) {
      stage.recompute.push_back(run.recomputes);
      shorter.times.push_back(k == alike_blocks::most / 2 ? run.count - run.kept() + 1 : 1);
    }
  }
  std::int32_t next = 0;
  for (stage_plan& each : shorter.made.stages) {
    each.first_block = next;
    each.end_block = next += static_cast<std::int32_t>(each.recompute.size());
  }
  return shorter;
}

/// True if the copies in the middle of each run make the same again: then so would any between them.
inline bool recompute_alike(const shortened_plan& shorter, const vector<alike_blocks>& runs) {
  std::int32_t first = 0;
  for (std::size_t r = 0; r < runs.size();) {
    const stage_plan& stage = shorter.made.stages[runs[r].stage];
    const recomputation recomputed(shorter.whole, stage);
    for (const stage_id here = runs[r].stage; r < runs.size() && runs[r].stage == here; first += runs[r++].kept()) {
      if (!runs[r].recomputes || runs[r].count == runs[r].kept()) continue;
      const auto middle = recomputed.again(first + 2);
      if (recomputed.again(first + 1) != middle || recomputed.again(first + 3) != middle) return false;
    }
  }
  return true;
}

}  // namespace detail

MESHLOOM_INLINE std::optional<shortened_plan> shortened(const graph& whole, const plan& made) {
  const auto runs = detail::find_alike(whole, made);
  std::int32_t blocks = 0, kept = 0;
  for (const detail::alike_blocks& run : runs) {
    blocks += run.count;
    kept += run.kept();
  }
  if (2 * kept > blocks) return std::nullopt;
  shortened_plan shorter = detail::without_middles(whole, made, runs);
  if (!detail::recompute_alike(shorter, runs)) return std::nullopt;
  return shorter;
}

}  // namespace meshloom
