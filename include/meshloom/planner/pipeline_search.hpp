// SPDX-License-Identifier: Apache-2.0
// The pipelines of one number of micro-batches, best first: what is open takes part in the dynamic program at the least
// that it can take and hold, and is priced and measured when the best pipeline has it. The dynamic program knows the
// slowest stage, and under 1F1B the rounds of all stages; what it finds is priced once more by the stages in a row that
// are slowest. Where few pipelines are left that may be faster than that, they are all tried. In the end the best are
// polished, by the price of the whole.
// Law: the plan that leads the contest holds, as lowered, no more than a device has.
#pragma once

#include <meshloom/plan/known_paths.hpp>
#include <meshloom/planner/contest.hpp>
#include <meshloom/planner/inter.hpp>
#include <meshloom/planner/stage_searches.hpp>

#include <map>
#include <set>

namespace meshloom {

namespace detail {

/// What crosses the cut in front of every block, forward and backward, for one micro-batch: all of it; and what one of
/// the two blocks beside it makes for the other, which every plan that cuts there sends between those stages.
struct crossings {
  vector<bytes> all, beside;
};

}  // namespace detail

class pipeline_search {
 public:
  /// `limits` are those of every intra-operator problem. `fewer` has fewer micro-batches, as for `stage_search`.
  pipeline_search(const problem& posed, std::int32_t micro_batches, const intra_options& limits,
                  pipeline_search* fewer = nullptr, known_stages* known = nullptr);

  std::int32_t micro_batches() const { return micro_batches_; }

  /// From now on stages take up to so many ranks.
  void reach(std::int32_t ranks) { stages_.reach(ranks); }

  /// From now on only what is priced takes part.
  void close() { stages_.close(); }

  /// Enters a plan under every schedule; by how much it turned out not to fit.
  bytes enter(plan made, contest& plans);

  /// What no pipeline promises less than, or `most` where that is less, found in less time; none if none may win.
  std::optional<picoseconds> floor(const contest& plans, picoseconds most) const;

  /// What the best pipeline that is open or was not entered yet takes by what is known of stages; none if none may
  /// win.
  std::optional<picoseconds> promise(const contest& plans);

  /// Prices or measures what is open in that pipeline, or enters it.
  void step(contest& plans);

  /// Enters all other pipelines that may win, where they are few.
  void finish(contest& plans);

  /// Enters the best pipelines once more, polished, where they are near the best plan; pricing so many stages.
  void polish(contest& plans, std::size_t most_priced);

  /// A bound, and whether more may raise it.
  struct tightened {
    picoseconds bound;
    bool more = false;
  };

  /// Prices the stages of the pipeline that keeps the bound below `worth`, until so many prices are read; none if the
  /// bound is more than `enough`.
  tightened tighten(picoseconds worth, picoseconds enough, std::int64_t most_work);

  /// Prices read so far, and pipelines looked at as far as their stages.
  std::int64_t work() const { return stages_.work() + chained_; }

  /// Prices read for stages that cost the same, or have fewer pins, now and before, for all numbers of micro-batches.
  std::int64_t priced_work() const { return stages_.priced_work(); }

  /// No plan takes less, or less than `worth` where that is the least; sooner, but less, where messages do not matter.
  picoseconds bound(picoseconds worth, bool messages = true) const;

  /// Why there is no plan. Where even what every plan needs does not fit, that is said.
  std::string why() const;

 private:
  /// The candidates as stages of the cluster: with messages or without, each rank having all of its device's memory but
  /// `reserve`.
  inter_problem chain_of(const vector<stage_candidate>& candidates, bool messages, bytes reserve = {}) const;
  /// With messages between hosts, as far as all plans pay them: within a host ranks have links of their own.
  inter_problem with_messages(inter_problem chain) const;
  bool is_wanted(const vector<std::int32_t>& chosen) const;
  vector<std::int32_t> open_in(const vector<std::int32_t>& chosen) const;
  /// The pipeline with ways swapped stage by stage, as long as that makes a step shorter: the dynamic program does not
  /// know what neighbours pay for each other's forms.
  plan polished(const inter_problem& chain, vector<std::int32_t> chosen, std::size_t most_priced);
  /// The chain of what is known, with what messages were found to need.
  inter_problem loaded_chain() const;
  /// Takes note of what a pipeline holds more than was thought; false if it has been noted too often.
  bool note_messages(const inter_problem& chain, const plan& made);
  plan plan_of(const inter_problem& chain, const vector<std::int32_t>& chosen) const;
  /// By how much the rank of the program that lacks most holds more than its device has; less than 0 where all fit.
  bytes excess(const plan& made) const;

  const problem& posed_;
  std::int32_t micro_batches_;
  bytes reserve_;                                    ///< of the memory of each device, what messages were found to need
  bytes missing_;                                    ///< the most by which a pipeline did not fit that was thought to
  std::map<stage_searches::origin, bytes> besides_;  ///< what some ways were found to hold more for their messages
  detail::crossings cuts_;
  vector<std::int32_t> stops_;
  shared_paths paths_;
  stage_searches stages_;
  vector<std::int32_t> next_;  ///< what `promise` found
  std::int64_t chained_ = 0;   ///< work of the inter-operator program
  picoseconds tight_;          ///< what `tighten` knows to be a bound
  std::set<vector<stage_searches::origin>> entered_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/pipeline_search.inl>
#endif
