// SPDX-License-Identifier: Apache-2.0
// The ways to run ranges of blocks as stages, for one number of micro-batches, found as they are asked for. Ranges with
// as many copies of every region are one family, and a family on so many ranks is priced at once (stage_ways.hpp).
// What is not priced yet is open: its candidate takes what no way takes less than, so that a pipeline of priced
// candidates that is the best is the best.
#pragma once

#include <meshloom/planner/inter_problem.hpp>
#include <meshloom/planner/known_stages.hpp>

#include <limits>
#include <memory>
#include <optional>

namespace meshloom {

class stage_search {
 public:
  /// Which way of which range a candidate is.
  struct origin {
    std::size_t member = 0;
    std::int32_t ranks = 0;
    std::int32_t way = -1;  ///< −1: not priced yet
    std::int32_t keep = 0;  ///< copies that keep their activations, where the others recompute
    auto operator<=>(const origin&) const = default;
  };

  /// Stages stand on the first group of hosts. `limits` are those of every intra-operator problem. `fewer` has fewer
  /// micro-batches, as have those that it was told of in turn: many small micro-batches take no less than few large
  /// ones of whole numbers of them, so that what is found there is a bound here. The fewest divide all. What `known`
  /// has of the stages is taken up again, and what is found is added to it.
  stage_search(const problem& posed, std::int32_t micro_batches, const intra_options& limits,
               stage_search* fewer = nullptr, known_stages* known = nullptr);
  ~stage_search();

  stage_search(const stage_search&) = delete;  // what is priced asks back
  stage_search& operator=(const stage_search&) = delete;

  /// The candidates of the inter-operator problem: every way to run a range that is priced, and an open one for each
  /// that is not. The numbers of candidates are good until the next refinement.
  const vector<stage_candidate>& candidates() const { return candidates_; }

  /// For each range and number of ranks, candidates that take no more time than any way that fits; the more
  /// micro-batches are in flight, the fewer of them fit.
  vector<stage_candidate> bounds() const;

  /// Prices what the bounds of these candidates do not know yet, until so many prices are read; false if there is
  /// nothing.
  bool tighten(const vector<stage_candidate>& some, std::int64_t most_work);

  /// Finds how little time these may take for a micro-batch, whatever they do once per step, as far as they are priced
  /// and until so many prices are read; false if nothing was found.
  bool find_times(const vector<stage_candidate>& some, std::int64_t most_work);

  /// Ways that make a step no shorter than this need not be candidates.
  void expect(picoseconds best) { worth_ = best; }

  /// One for each range and number of ranks, even of what cannot fit, that takes and holds no more than any way.
  vector<stage_candidate> needs() const;

  /// True if a candidate is not priced yet, or its memory not measured.
  bool is_open(std::int32_t candidate) const;

  /// What candidates are, whatever their numbers.
  vector<origin> origins_of(const vector<std::int32_t>& candidates) const;

  /// The candidates that are ways to run the same blocks on as many ranks.
  vector<std::int32_t> ways_like(std::int32_t candidate) const;

  /// Prices or measures open candidates.
  void refine(const vector<std::int32_t>& open);

  /// Looks for ways with other messages, where little is to be chosen; false if that was done. They become candidates
  /// with the next refinement.
  bool find_others(const vector<std::int32_t>& like);

  /// Prices everything.
  void refine_all();

  /// From now on stages take up to so many ranks; at first, as many as a host of the first group has.
  void reach(std::int32_t ranks);

  /// From now on there is nothing open.
  void close();

  /// The stage plan of a candidate, from `first_block` and `first_rank` on.
  stage_plan plan_of(std::int32_t candidate, std::int32_t first_block, std::int32_t first_rank) const;

  /// An operator that no strategy was allowed for; empty if there was none.
  const std::string& stuck() const { return stuck_; }

  /// Prices in the problems solved so far.
  std::int64_t work() const { return work_; }

  /// Prices in all that were solved for stages that cost the same, or have fewer pins.
  std::int64_t priced_work() const { return priced_.work(); }

 private:
  /// Ranges that differ in how many copies of one region they have, rising.
  struct family {
    vector<std::int32_t> copies;  ///< per region; −1: the one that varies
    vector<block_range> ranges;
    bool starts = true;                 ///< all ranges of the kind begin with the first block
    bool ends = true, may_end = false;  ///< all, or some, end with the last
  };
  /// A range of blocks and those alike that begin up to so many blocks later: the family, and which of its lengths.
  struct member {
    block_range blocks;
    std::size_t family = 0, range = 0;
    std::int32_t shifts = 0;
    bool may_be_stage = true;  ///< some of them begin and end where stages may
  };
  /// Ranges of a family, one after the other, on so many ranks. Those that were priced with others before are apart.
  struct group {
    vector<stage_plan> meshes;
    std::size_t first = 0, end = 0;     ///< of the family's ranges: those that can be had
    std::shared_ptr<stage_ways> ways;   ///< none: not priced yet
    std::size_t skipped = 0;            ///< of its ranges, those before `first`
    std::shared_ptr<stage_ways> freer;  ///< of a problem with fewer pins, of the same first range; none: none are known
    bool is_covered = false;            ///< by those

    std::size_t place_of(std::size_t range) const { return range - first + skipped; }
  };
  /// What a stage takes at the least: proven, or by what is known with fewer pins on some of its meshes.
  enum class belief : std::uint8_t { proven, hoped };
  /// What blocks need in any plan, all ranks together.
  struct need {
    picoseconds time;  ///< of a micro-batch, launches apart
    bytes held;        ///< parameters, states, sums of gradients
    bytes slot;        ///< what the forward of a micro-batch leaves to its backward, in any case
    bytes entering;    ///< more of that: what a copy of a layer reads of the copy before
    bytes remade;      ///< and what a block that recomputes makes anew; of one block
  };
  /// The copies of a repeated layer that are all alike, and by number of ranks what as many as fit take in any stage;
  /// and with large micro-batches, were there room for those. Of a problem with fewer pins, if it was priced there
  /// alone.
  struct layer {
    block_range copies;
    vector<std::shared_ptr<stage_ways>> ways, roomy;
  };

  void find_meshes();
  void find_needs();
  void find_left(vector<need>& of_region) const;
  void add_needs(const vector<need>& of_region);
  void count_copies();
  void find_members();
  void find_places();
  void add_member(const block_range& range, vector<std::int32_t> copies);
  void note_place(family& of, const block_range& range) const;
  void find_groups();
  bool is_possible(const block_range& blocks) const;
  /// True if a stage of the family may stand on the mesh: it has the axes that pins of its operators name.
  bool has_pinned_axes(const family& which, const stage_plan& mesh) const;
  /// How many copies of each region a range has; then, whether its first block differs from the other copies, and which
  /// of its blocks recompute.
  vector<std::int32_t> copies_in(const block_range& blocks) const;
  /// That which a bound is of.
  std::size_t member_of(const stage_candidate& each) const;
  /// None: the range cannot be had on so many ranks.
  group* group_of(std::size_t member, std::int32_t ranks);
  const group* group_of(std::size_t member, std::int32_t ranks) const;
  std::size_t index_of_ranks(std::int32_t ranks) const;
  void find_layers();
  /// True if what is known of a layer says something: that of a problem with fewer pins may be of other meshes.
  bool is_of_use(const stage_ways& ways, std::int32_t ranks, belief sure) const;
  /// How many copies of a layer a stage on so many ranks has at the least, if it has some that count.
  std::int32_t fewest(const layer& of, std::int32_t ranks) const;
  /// Which range of a layer's ways has as many copies, or the most; there must be as many as count.
  std::size_t place_in(const stage_ways& ways, const layer& of, const block_range& part, std::int32_t ranks) const;
  /// The blocks of a range that are copies of a layer.
  static block_range part_of(const block_range& range, const layer& of);
  /// What no way to run the range on so many ranks makes a step less than, as far as its layers say.
  picoseconds least_of_layers(const block_range& range, std::int32_t ranks, std::int32_t slots, belief sure) const;
  /// The search whose micro-batches are the largest: it knows layers for the others.
  const stage_search& coarsest() const { return fewer_ != nullptr ? fewer_->coarsest() : *this; }
  stage_search& coarsest() { return fewer_ != nullptr ? fewer_->coarsest() : *this; }
  /// What no way to run a range makes a step less than, as larger micro-batches say, were there room for those.
  picoseconds least_of_larger(std::size_t member, std::int32_t ranks) const;
  /// By how much prices of a range may differ because they are rounded one by one.
  picoseconds rounding_of(const block_range& range) const;
  /// What no assignment of a layer's part of a range on that mesh comes to with what it holds all the time at a price,
  /// as far as is known for all sizes of micro-batches.
  double least_paid(std::size_t number, const block_range& part, std::int32_t ranks, std::size_t mesh, bool again,
                    double price) const;
  /// Prices the first layer of a range that is not priced yet with large micro-batches; false if all are.
  bool advance_roomy(const block_range& range, std::int32_t ranks);
  /// The same with large micro-batches, and then with these.
  bool advance_layers(const block_range& range, std::int32_t ranks);
  stage_family family_of_layer(const layer& of, std::int32_t ranks, bool roomy) const;
  /// Takes up again what is known of layers and groups.
  void resume();
  void resume_layers();
  stage_ways::section resume(const stage_family& of, std::shared_ptr<stage_ways>& ways);
  /// True if a group is not priced yet, or ways to run a range may be missing.
  bool is_open(const group& which, std::size_t range) const;
  /// Prices the layers of a group, then the group; once that is done, looks for leaner ways.
  void advance(const block_range& range, std::size_t family, group& which);
  /// Prices a group at once among everything, for its bound, after the layers with large micro-batches.
  void price_wide(const block_range& range, std::size_t family, group& which);
  /// What is known of layers on so many ranks.
  vector<const stage_ways*> ways_of_layers(std::int32_t ranks) const;
  /// Lets the ways of a group choose among everything.
  void widen(group& which);
  stage_family family_of(std::size_t number, const group& which) const;
  /// What no way to run a range takes less than, nor holds, as far as is known, with so many micro-batches in flight.
  stage_candidate bound(std::size_t member, std::int32_t ranks, std::int32_t slots, belief sure) const;
  /// What no way takes less than on meshes that were not looked at, where the bound is of the others.
  std::optional<stage_candidate> bound_elsewhere(std::size_t member, std::int32_t ranks) const;
  /// Adds candidates of which one takes and holds no more than any way to run a range that fits: that with many
  /// micro-batches in flight, and what has room for fewer.
  void add_bounds(std::size_t member, std::int32_t ranks, belief sure, vector<stage_candidate>& found) const;
  void list_ways(std::size_t member, std::int32_t ranks);
  void list_candidates();
  /// What no way to run the range on `ranks` ranks undercuts: what its blocks need, divided evenly.
  stage_candidate least(const block_range& blocks, std::int32_t ranks) const;
  /// Of that, what is held all the time.
  bytes least_fixed(const block_range& blocks, std::int32_t ranks) const;
  /// How many micro-batches in flight stages on so many ranks keep: at the most, and at the least if that is less.
  vector<std::int32_t> slots_of(const family& of, std::int32_t ranks) const;

  const problem& posed_;
  std::int32_t micro_batches_;
  intra_options limits_;
  stage_search* fewer_;
  std::unique_ptr<known_stages> own_;  ///< where nothing is kept from one search to the next
  priced_stages& priced_;
  vector<std::int32_t> rank_counts_;                  ///< that submeshes have
  vector<vector<stage_plan>> meshes_;                 ///< by number of ranks
  vector<std::pair<region_id, std::string>> pinned_;  ///< axes that pins of operators name, by region
  vector<need> before_;                               ///< of all blocks before this one
  vector<vector<bytes>> remade_;                      ///< the most of 2^n blocks before this one, by n
  vector<vector<std::int32_t>> copies_before_;        ///< of each region, in blocks before this one
  vector<bool> differs_;                              ///< by block: it is a first copy unlike the others
  vector<family> families_;
  vector<member> members_;
  vector<layer> layers_;
  vector<vector<vector<group>>> groups_;  ///< by family and number of ranks
  vector<stage_candidate> candidates_;
  vector<origin> origins_;  ///< of the candidates
  std::int32_t most_ranks_ = 0;
  picoseconds worth_{std::numeric_limits<std::int64_t>::max()};
  bool closed_ = false;
  std::string stuck_;
  std::int64_t work_ = 0;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/stage_layers.inl>
#include <meshloom/planner/stage_search.inl>
#endif
