// SPDX-License-Identifier: Apache-2.0
// What a backward pass over a lattice knows of every state: labels, none of which another of the same state covers.
// A label says what some way to go on comes to; one that is nowhere better than another is of no use.
// Law: of labels that are added to a state, those that no other covers remain; of equals, the first.
#pragma once

#include <meshloom/base/vector.hpp>

#include <algorithm>
#include <cstdint>
#include <span>

namespace meshloom::inter {

/// `label.covers(other)`: it is nowhere worse; only labels of the same `lane()` can cover each other.
template <class Label>
class frontiers {
 public:
  frontiers(std::size_t states, std::size_t lanes) : begin_(states), end_(states), found_(lanes), first_(lanes) {}

  /// The labels of a closed state, by lane.
  std::span<const Label> at(std::size_t state) const {
    return std::span(labels_).subspan(begin_[state], end_[state] - begin_[state]);
  }
  const Label& operator[](std::uint32_t number) const { return labels_[number]; }
  std::uint32_t number_of(const Label& one) const { return static_cast<std::uint32_t>(&one - labels_.data()); }

  /// To the state that is closed next.
  void add(const Label& made) {
    vector<Label>& lane = found_[made.lane()];
    for (const Label& each : lane) {
      if (each.covers(made)) return;
    }
    erase_if(lane, [&](const Label& each) { return made.covers(each); });
    lane.push_back(made);
    first_ = std::min(first_, made.lane());
    last_ = std::max(last_, made.lane());
  }

  void close(std::size_t state) {
    begin_[state] = static_cast<std::uint32_t>(labels_.size());
    for (; first_ <= last_; ++first_) {
      labels_.insert(labels_.end(), found_[first_].begin(), found_[first_].end());
      found_[first_].clear();
    }
    end_[state] = static_cast<std::uint32_t>(labels_.size());
    first_ = found_.size();
    last_ = 0;
  }

 private:
  vector<Label> labels_;
  vector<std::uint32_t> begin_, end_;  ///< of the labels of each state
  vector<vector<Label>> found_;        ///< for the next state, by lane
  std::size_t first_ = 0, last_ = 0;   ///< of the lanes in which there are any
};

}  // namespace meshloom::inter
