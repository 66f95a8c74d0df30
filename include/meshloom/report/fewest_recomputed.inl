// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/report/fewest_recomputed.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

class recompute_search {
 public:
  recompute_search(const problem& posed, plan made)
      : posed_(posed), made_(std::move(made)), blocks_(blocks_of(posed.graph)), order_(made_.stages.size()) {
    for (const stage_plan& stage : made_.stages) given_.push_back(stage.recompute);
    const vector<bytes> now = kept_bytes();
    vector<vector<std::pair<bytes, std::size_t>>> left(order_.size());
    for (std::size_t r = 0; r < posed.graph.regions.size(); ++r) {
      const vector<bytes> then = kept_without(static_cast<region_id>(r));
      for (std::size_t s = 0; s < order_.size(); ++s) {
        for (const std::size_t b : keeping(s, static_cast<region_id>(r))) {
          if (then[s] < now[s]) left[s].push_back({then[s], b});
        }
      }
    }
    for (std::size_t s = 0; s < order_.size(); ++s) {
      std::sort(left[s].begin(), left[s].end());
      for (const auto& each : left[s]) order_[s].push_back(each.second);
    }
  }

  /// The fewest of every stage's blocks, in its order, that make it fit; all stages are looked at together.
  std::optional<vector<bool>> fewest() {
    vector<std::size_t> few(order_.size()), many;  // the one too few, unless it is 0; the other enough
    for (const auto& blocks : order_) many.push_back(blocks.size());
    const vector<bool> fit_now = fits(few), fit_all = fits(many);
    for (std::size_t s = 0; s < order_.size(); ++s) {
      if (fit_now[s]) many[s] = 0;
      if (!fit_now[s] && !fit_all[s]) return std::nullopt;
    }
    const auto is_open = [&](std::size_t s) { return few[s] + 1 < many[s]; };
    for (bool open = true; open;) {
      vector<std::size_t> middle(few.size());
      for (std::size_t s = 0; s < few.size(); ++s) middle[s] = is_open(s) ? (few[s] + many[s]) / 2 : many[s];
      const vector<bool> fit = fits(middle);
      open = false;
      for (std::size_t s = 0; s < few.size(); ++s) {
        if (is_open(s)) (fit[s] ? many : few)[s] = middle[s];
        open = open || is_open(s);
      }
    }
    return more(many);
  }

 private:
  /// The blocks of a region in a stage, counted from its first, that keep by rule.
  vector<std::size_t> keeping(std::size_t s, region_id area) const {
    const auto first = static_cast<std::size_t>(made_.stages[static_cast<stage_id>(s)].first_block);
    vector<std::size_t> found;
    for (std::size_t b = 0; b < given_[s].size(); ++b) {
      if (!given_[s][b] && blocks_[first + b].region == area) found.push_back(b);
    }
    return found;
  }

  /// What stages keep if one more copy of a layer recomputes in each, the last, which stands for all of them.
  vector<bytes> kept_without(region_id area) {
    for (std::size_t s = 0; s < given_.size(); ++s) {
      vector<bool>& again = made_.stages[static_cast<stage_id>(s)].recompute;
      again = given_[s];
      if (const auto copies = keeping(s, area); !copies.empty()) again[copies.back()] = true;
    }
    return kept_bytes();
  }

  vector<bytes> kept_bytes() const {
    vector<bytes> all;
    for (const stage_program& stage : lower(posed_.graph, made_, posed_.cluster).stages) all.push_back(stage.kept);
    return all;
  }

  /// Lets so many blocks of each stage recompute that keep by rule.
  void recompute(const vector<std::size_t>& counts) {
    for (std::size_t s = 0; s < counts.size(); ++s) {
      vector<bool>& again = made_.stages[static_cast<stage_id>(s)].recompute;
      again = given_[s];
      for (std::size_t n = 0; n < counts[s]; ++n) again[order_[s][n]] = true;
    }
  }

  vector<bool> fits(const vector<std::size_t>& counts) {
    recompute(counts);
    vector<bool> all;
    for (const stage_program& stage : lower(posed_.graph, made_, posed_.cluster).stages)
      all.push_back(stage.peak() <= device_of(posed_.cluster, stage.first_rank).memory);
    return all;
  }

  vector<bool> more(const vector<std::size_t>& counts) {
    recompute(counts);
    vector<bool> blocks;
    for (std::size_t s = 0; s < counts.size(); ++s) {
      const vector<bool>& again = made_.stages[static_cast<stage_id>(s)].recompute;
      for (std::size_t b = 0; b < again.size(); ++b) blocks.push_back(again[b] && !given_[s][b]);
    }
    return blocks;
  }

  const problem& posed_;
  plan made_;
  vector<block> blocks_;
  vector<vector<bool>> given_;         ///< by stage, what recomputes by rule
  vector<vector<std::size_t>> order_;  ///< by stage, what may recompute besides; first what saves most
};

}  // namespace detail

MESHLOOM_INLINE std::optional<vector<bool>> fewest_recomputed(const problem& posed) {
  if (posed.constraints.automatic || !trains(posed.graph)) return std::nullopt;
  const auto made = solve(posed);
  if (!made || made.value().ranks > posed.cluster.ranks()) return std::nullopt;
  return detail::recompute_search(posed, made.value()).fewest();
}

MESHLOOM_INLINE problem recomputing(const problem& posed, const vector<bool>& blocks) {
  problem changed = posed;
  const auto all = blocks_of(posed.graph);
  for (std::size_t b = 0, end = 0; b < blocks.size(); b = end) {
    for (end = b + 1; end < blocks.size() && blocks[end] == blocks[b] && all[end].region == all[b].region;) ++end;
    const std::int32_t first = all[b].copy, last = all[end - 1].copy;
    if (blocks[b]) changed.constraints.recompute.push_back({posed.graph.regions[all[b].region].name, first, last + 1});
  }
  return changed;
}

}  // namespace meshloom
