// SPDX-License-Identifier: Apache-2.0
// What may be chosen in a small intra problem, cheapest first: combinations of some of its choices, of which each comes
// once, at the least price that the others leave it. So what the prices do not know, as how buffers pack, can be asked
// of the plans themselves, until one is found that will do. Laws: prices never fall; nothing that holds little enough
// is left out. Source: best-first search (Hart, Nilsson & Raphael 1968) by the tables of an elimination, which know
// what is to come exactly (Bertelè & Brioschi 1972), so that it never looks back.
#pragma once

#include <meshloom/planner/intra_problem.hpp>

#include <optional>

namespace meshloom {

class intra_queue {
 public:
  /// The options of the `listed` choices, −1 for the others.
  struct entry {
    picoseconds cost;
    bytes held;  ///< with the least of the others
    vector<std::int32_t> options;
  };

  /// `held` says what each option of each choice holds. None where tables would have more than `most_entries`.
  static std::optional<intra_queue> of(const intra_problem& posed, const vector<bool>& listed,
                                       vector<vector<bytes>> held, std::int64_t most_entries);

  /// The next one that holds at most so much together with the least of the others; none after the last.
  std::optional<entry> next(bytes most);

  /// Beginnings that were looked at so far.
  std::int64_t work() const { return static_cast<std::int64_t>(nodes_.size()); }

 private:
  /// Prices of options of some choices together, the last one's side by side.
  struct factor {
    vector<std::int32_t> scope;
    vector<picoseconds> cost;
  };
  /// Takes out one choice: the factors that have it leave one over the others in them.
  struct step {
    std::int32_t choice = 0;
    vector<std::size_t> factors;
    std::size_t left = 0;
  };
  /// A beginning: options of the choices that are taken out last.
  struct node {
    picoseconds cost;
    bytes held;
    std::int32_t before = -1, option = -1;  ///< the node that it goes on from, and how
    std::int32_t depth = 0;
  };

  explicit intra_queue(const intra_problem& posed, vector<vector<bytes>> held);
  bool take_out(const vector<bool>& which, std::int64_t& most_entries);
  vector<std::int32_t> scope_without(std::int32_t choice) const;
  std::int64_t entries_of(const vector<std::int32_t>& scope) const;
  void leave(step& made);
  void begin(const vector<bool>& listed);
  void expand(std::int32_t number, bytes most);
  void push(const node& made);
  /// What comes first: the cheaper one, then the longer one, then the first.
  bool is_after(std::int32_t a, std::int32_t b) const;
  vector<std::int32_t> options_of(std::int32_t number) const;
  picoseconds price(const factor& of, const vector<std::int32_t>& options) const;
  picoseconds price(const step& of, const vector<std::int32_t>& options) const;

  vector<std::int32_t> counts_;  ///< options of each choice
  vector<vector<bytes>> held_;
  vector<factor> factors_;
  vector<bool> used_;       ///< factors that some step has taken up
  vector<step> steps_;      ///< of listed choices after the others
  std::size_t listed_ = 0;  ///< so many of them
  vector<node> nodes_;
  vector<std::int32_t> open_;  ///< a heap
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_queue.inl>
#endif
