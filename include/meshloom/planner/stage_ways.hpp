// SPDX-License-Identifier: Apache-2.0
// The ways worth knowing to run a family of ranges on so many ranks. On every logical mesh that is the fastest; for
// stages of a pipeline, of which only the slowest delays others by what it does once per step, also those that are
// fastest at some share of that; and, where the fastest holds much, those that are so at some price of a byte (near the
// lower convex hull of time and memory: of what is alive only at times, the fullest time is priced), or recompute.
// Where there is little to choose, all that may be is looked at, in order of time, as far as a limit on work goes.
// What ways of most of the blocks choose is enough to choose from, until it is to be proven that nothing is better.
// Ranges of a family differ in the copies of one repeated layer, along which the price of a way is a line: what is best
// at both ends of an interval is best in between, and planning many layers costs little more than planning two. Laws: a
// way costs what its own problem says; no assignment takes less than the bound.
#pragma once

#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/stage_choices.hpp>
#include <meshloom/planner/stage_memory.hpp>

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>

namespace meshloom {

/// Blocks [first, end).
struct block_range {
  std::int32_t first = 0, end = 0;
  auto operator<=>(const block_range&) const = default;
};

/// One way, for all ranges of the family.
struct stage_way {
  std::size_t mesh = 0;
  bool again = false;  ///< copies recompute that no rule is about, but for some that are said where they matter
  vector<std::int32_t> options;  ///< of the choices of every range
  stage_plan chosen;             ///< of the longest range
  stage_cost shortest, step;     ///< of the shortest range, and what each copy adds
  std::int32_t when = 0;         ///< the longest range holds most
  picoseconds relief;            ///< what a micro-batch saves for each copy that keeps its activations after all
  bytes burden;                  ///< and what more it holds
  /// What `lower` allocates, by range and copies that keep, where it was asked: how buffers pack does not go along a
  /// line.
  std::map<std::pair<std::size_t, std::int32_t>, stage_memory> measured;

  /// If so many of the copies that would recompute keep their activations.
  stage_cost cost(std::size_t range, std::int32_t keep = 0) const;
};

class stage_ways;

/// Ranges of blocks on so many ranks.
struct stage_family {
  vector<block_range> ranges;  ///< of one copy more each, all of at least two copies; or only one range
  vector<stage_plan> meshes;   ///< with a mesh and nothing else
  /// How many micro-batches in flight stages of most pipelines have to keep, at the most and then fewer; 0: only what
  /// is held all the time counts.
  vector<std::int32_t> slots{1};
  vector<bytes> least = {};  ///< by range, what every way to run it holds all the time
  surroundings around = surroundings::other_stages;
  /// What is known of a range on one of the meshes, where copies recompute or not, at a price of a byte held with so
  /// many micro-batches in flight: no assignment comes to less. May be none.
  std::function<double(std::size_t mesh, bool again, const block_range& range, double price, std::int32_t slots)>
      known = {};
  picoseconds worth{std::numeric_limits<std::int64_t>::max()};  ///< ways that take as long are of no use
  /// Of most of the blocks, as far as known: where ways of those fit, these nearly do, and what those choose is enough
  /// to choose from.
  vector<const stage_ways*> alike = {};
  bool looked_at = false;               ///< before, with fewer pins: fewer looks for ways that just fit will do
  bool for_bound = false;               ///< what no way undercuts is asked for, and few ways
  std::optional<cluster> machine = {};  ///< if its memory or its number of hosts is another than the problem's
};

class stage_ways {
 public:
  /// `tables` are those of all stages of the same micro-batch.
  stage_ways(const problem& posed, std::int32_t micro_batches, const intra_options& limits, stage_family of,
             shared_stage_tables* tables = nullptr);

  /// Which of its ranges those of a family are: from `first` on, so many of the family's first ones.
  struct section {
    std::size_t first = 0, count = 0;
  };
  /// None if the family is on other meshes, or asked about in another way.
  section section_of(const stage_family& of, std::int32_t micro_batches) const;

  /// Takes up again what was found, under another limit or among more hosts, for a family of which this has a part.
  void resume(const stage_family& of);

  /// Lets go of what only the search knows that asked.
  void rest();

  /// True if this was found for the same ranges as they are asked about, whatever the meshes.
  bool is_about(const stage_family& of, std::int32_t micro_batches) const;

  /// True if this was found for that very problem.
  bool is_of(const problem& posed) const { return &posed == &posed_; }

  /// True if this was found for all meshes of the family: then its bounds hold where there are more pins.
  bool covers(const stage_family& of) const;

  /// True if ways were looked for that just fit what the family has room for.
  bool is_fitted_for(const stage_family& of) const;

  /// The stages of all ways on a mesh; if it is none of the family's, of those on the same axes the other way round.
  vector<stage_plan> plans_on(const stage_plan& mesh) const;

  const vector<stage_way>& all() const { return ways_; }

  std::size_t range_count() const { return of_.ranges.size(); }

  /// How a range is run in one of the ways, from rank 0 on, if so many of the copies that would recompute keep.
  stage_plan plan_of(const stage_way& way, std::size_t range, std::int32_t keep = 0) const;

  /// How many copies of a range recompute in one of the ways, although no rule says so.
  std::int32_t free_copies(const stage_way& way, std::size_t range) const;

  /// No assignment of a range makes micro-batches · time + once less, if what it holds with `slots` micro-batches in
  /// flight is at most `room`.
  picoseconds bound(std::size_t range, std::int32_t slots, bytes room) const;

  /// True if it is known how little time a micro-batch may take on the meshes that were looked at.
  bool knows_times() const;

  /// Finds that out, where everything could be chosen.
  void find_times();

  /// No assignment of a range on those meshes makes micro-batches · time less; 0 if that is not known.
  picoseconds least_time(std::size_t range) const;

  /// No assignment of a range on the other meshes makes micro-batches · time + once less.
  picoseconds bound_elsewhere(std::size_t range) const;

  /// As `stage_family::known` says; 0 of other meshes than the family's.
  double least_at(const stage_plan& mesh, bool again, std::size_t range, double price, std::int32_t slots) const;

  /// True if a mesh was not looked at that may have ways that take less than `worth`.
  bool may_be_faster(picoseconds worth) const;

  /// Looks at such meshes.
  void find_fast_ways(picoseconds worth);

  /// True if ways that just fit were not looked for yet, and the fastest way to run a range may hold too much.
  bool may_be_leaner(std::size_t range) const;

  /// Looks for ways to run a range that hold no more than there is.
  void find_lean_ways(std::size_t range);

  /// Looks for ways to run a range with other messages, where little is to be chosen; false if that was done.
  bool find_other_ways(std::size_t range);

  /// Asks `lower` what a range holds in one of the ways.
  void measure(std::size_t way, std::size_t range, std::int32_t keep = 0);

  /// The least price of a byte that was found to make ways fit with so many micro-batches in flight; none: none was.
  std::optional<byte_price> fitting(std::int32_t slots) const;

  /// An operator that no strategy was allowed for; empty if there was none.
  const std::string& stuck() const { return stuck_; }

  /// True if ways chose only among what those of nearly the same blocks choose.
  bool is_narrow() const;

  /// From now on all may be chosen: what is found then is a bound as well.
  void widen(picoseconds worth);

  /// Prices in the problems solved so far; short searches for brisk ways are not counted.
  std::int64_t work() const { return work_; }

 private:
  /// One mesh, and whether copies recompute: the problems of the shortest and the longest range, as long as they are
  /// needed; what no assignment of some ranges undercuts, in order; and that of the longest at prices of a byte, in ps,
  /// rising.
  struct face {
    std::size_t mesh = 0;
    bool again = false, open = false;
    bool narrow = false;  ///< not all may be chosen: what is found is no bound
    std::unique_ptr<stage_choices> shortest, longest;
    /// For the longest, at some time; and where messages are paid for too.
    std::unique_ptr<priced_intra> paying, paying_messages;
    vector<std::pair<std::size_t, picoseconds>> optima;
    vector<std::pair<std::size_t, picoseconds>> times;  ///< the same of micro-batches · time alone, if known
    std::map<std::int32_t, vector<std::pair<double, double>>> priced;  ///< by micro-batches in flight
  };
  /// No assignment of the longest range makes micro-batches · time + once, and `price` for each byte that it holds with
  /// `slots` micro-batches in flight, together less than `least`.
  struct support {
    double price = 0, least = 0;
    std::int32_t slots = 1;
  };
  /// A way as a point of the plane in which the hull is looked for, for the longest range.
  struct point {
    picoseconds time;
    bytes held;
  };

  std::size_t last() const { return of_.ranges.size() - 1; }
  const cluster& machine() const { return of_.machine ? *of_.machine : posed_.cluster; }
  /// True if a family is of as many micro-batches, and asked about in the same way.
  bool is_asked_alike(const stage_family& of, std::int32_t micro_batches) const;
  /// True if they are the same to the problem: axes that nothing names are as good as one another.
  bool is_same(const stage_plan& a, const stage_plan& b) const;
  /// True if there are other stages beside.
  bool is_staged() const { return of_.meshes.front().mesh.ranks() < machine().ranks(); }
  /// The tables of a mesh, narrowed to what ways of nearly the same blocks choose; false where there are none.
  bool narrow(std::size_t mesh);
  stage_choices choices_on(const face& on, std::size_t range) const;
  /// Which blocks of a range recompute: by rule, and if `again` all grouped layers, and the others of repeated
  /// ones but `keep`.
  vector<bool> recomputed(std::size_t range, bool again, std::int32_t keep) const;
  std::optional<intra_answer> solve_problem(const intra_problem& asked);
  void form(face& on) const;
  void drop_problems();
  /// What is known of a mesh before it is looked at.
  void expect(face& on) const;
  void open_faces();
  /// True if no way on a mesh can be as fast as what is found, or as is worth it.
  bool is_beaten(const face& on, picoseconds worth) const;
  void open_face(face& on);
  /// Adds the faces on which copies recompute.
  void open_again();
  void find_relief(stage_way& way) const;
  /// Solves ranges between two optima until they are lines, or nearly so.
  void solve_between(face& on, std::size_t low, std::size_t high);
  /// The way of these options; it may be known.
  std::size_t add_way(const face& on, vector<std::int32_t> options);
  /// True if messages take much longer than they need to: then others are looked for that say less.
  bool is_verbose(const stage_way& way) const;
  /// Looks for ways that take less per micro-batch than this one, and more once per step.
  void find_brisk_ways(const face& on, std::size_t thrifty);
  picoseconds step_time(const stage_cost& cost) const { return (cost.time + cost.extra) * micro_batches_ + cost.once; }
  point place(std::size_t way, std::size_t range, std::int32_t slots) const;
  std::size_t fastest(std::size_t range) const;
  /// Where little is to be chosen, looks at all that may be in order of time and adds what holds less, with so many
  /// micro-batches in flight, than all before with like messages.
  void look_through(std::size_t range, std::int32_t slots);
  void look_through(face& on, std::size_t range, std::int32_t slots);
  /// Looks where the hull crosses the memory of a device.
  void look_for_room(std::size_t range, std::int32_t slots);
  /// Looks between a way that does not fit and one that does, the best at a price, until little is left to gain.
  void look_closer(std::size_t full, std::size_t lean, byte_price price, std::size_t range, std::int32_t slots,
                   std::int32_t when);
  /// The two ways next to each other on the hull of what is known of which only the second fits; the first is `full`
  /// and the second none if none fits.
  std::pair<std::size_t, std::optional<std::size_t>> hull_around_room(std::size_t full, std::size_t range,
                                                                      std::int32_t slots) const;
  std::optional<byte_price> fitting_of_alike(std::int32_t slots) const;
  /// The best way to run the longest range at a price of bytes, `known` if none is better.
  std::size_t best_at(const byte_price& each, std::int32_t slots, std::int32_t when, std::size_t known);
  /// What no assignment of the longest range undercuts at a price of a byte: the optimum is concave in the price.
  double least_at(const face& on, double price, std::int32_t slots) const;
  bytes least_of(std::size_t range) const { return of_.least.empty() ? bytes{} : of_.least[range]; }
  /// What is known of some ranges says of one: what it takes is concave along the copies.
  static picoseconds between(const vector<std::pair<std::size_t, picoseconds>>& known, std::size_t range);
  picoseconds bound(const face& on, std::size_t range) const { return between(on.optima, range); }
  picoseconds bound(std::size_t range) const;

  const problem& posed_;
  std::int32_t micro_batches_;
  intra_options limits_;
  stage_family of_;
  vector<std::shared_ptr<stage_tables>> tables_;  ///< by mesh
  vector<std::int32_t> free_before_{0};           ///< of all copies before a block, those that may keep or recompute
  vector<face> faces_;
  vector<stage_way> ways_;
  vector<support> supports_;
  std::map<std::int32_t, byte_price> fitting_;  ///< by micro-batches in flight
  vector<std::size_t> leaned_;                  ///< the ranges for which leaner ways were looked for
  vector<std::size_t> through_;                 ///< the ranges for which all that may be was looked at
  std::string stuck_;
  bool resumed_ = false;  ///< what is known was found for another limit, among other hosts, or with fewer pins
  std::int64_t work_ = 0;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/stage_known_ways.inl>
#include <meshloom/planner/stage_lean_ways.inl>
#include <meshloom/planner/stage_ways.inl>
#endif
