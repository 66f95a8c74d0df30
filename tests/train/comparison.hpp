// SPDX-License-Identifier: Apache-2.0
// Trainings under plans beside the training on one rank: same micro-batches, same losses, step by step. Each plan must
// also use all its ranks, and leave the same bits on every rank that keeps the same part of a number.
#pragma once

#include "runs.hpp"

#include <doctest/doctest.h>

#include <cstring>

namespace runs {

/// What a program shows about how it divides the work.
struct division {
  int ranks = 0;        ///< that run something in forward, backward and update
  bool by_all = true;   ///< no mesh axis of 2 or more only repeats the work of its first rank
  bool uneven = false;  ///< ranks have shards of different sizes
  bool empty = false;   ///< a rank has no part of something
};

inline bool divided(const ml::stage_program& stage, int axis) {
  for (const ml::instruction& each : stage.bodies[0]) {
    for (const ml::buffer_id result : each.results) {
      const bool computed = each.kind == ml::instruction::compute;
      if (computed && stage.buffers[result].layout.on(axis).kind != ml::placement::whole) return true;
    }
  }
  return false;
}

inline division division_of(const ml::program& made) {
  division found;
  for (const ml::stage_program& stage : made.stages) {
    const bool runs = !stage.bodies[0].empty() && !stage.bodies[1].empty() && !stage.bodies[3].empty();
    if (runs) found.ranks += stage.mesh.ranks();
    for (int axis = 0; axis < stage.mesh.rank; ++axis) {
      if (stage.mesh.size[static_cast<std::size_t>(axis)] > 1 && !divided(stage, axis)) found.by_all = false;
    }
    for (const ml::buffer& each : stage.buffers) {
      const std::int64_t first = ml::shard_view(stage, each, 0).count();
      for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member) {
        const std::int64_t count = ml::shard_view(stage, each, member).count();
        found.uneven = found.uneven || count != first;
        found.empty = found.empty || count == 0;
      }
    }
  }
  return found;
}

/// Two ranks that keep the same part of a number.
inline bool same_part(const ml::view& one, const ml::view& other) {
  return one.data != nullptr && other.data != nullptr && std::equal(one.origin, one.origin + one.rank, other.origin) &&
         std::equal(one.extent, one.extent + one.rank, other.extent);
}

/// How often two ranks keep the same part of a number, and how often its bits differ.
struct copies {
  int count = 0, different = 0;
};

inline copies copies_of(const ml::host_run& run, const std::string& name) {
  copies found;
  for (int one = 0; one < run.executed().ranks; ++one) {
    for (int other = one + 1; other < run.executed().ranks; ++other) {
      const ml::view first = run.shard(name, one), second = run.shard(name, other);
      if (!same_part(first, second)) continue;
      ++found.count;
      const auto size = static_cast<std::size_t>(first.count() * ml::size_of(first.type));
      if (std::memcmp(first.data, second.data, size) != 0) ++found.different;
    }
  }
  return found;
}

/// The largest difference of two numbers kept under one name.
inline double difference(const numbers& kept, const numbers& expected) {
  double largest = 0;
  for (const auto& [name, values] : expected) {
    for (std::size_t at = 0; at < values.size(); ++at) {
      const double apart = std::abs(kept.at(name).at(at) - values[at]);
      largest = apart >= 0 ? std::max(largest, apart) : INFINITY;
    }
  }
  return largest;
}

/// One training under many plans.
template <class Task>
class comparison {
 public:
  comparison(const Task& task, std::vector<sample> samples)
      : task_(task), graph_(ml::trace(task)), samples_(std::move(samples)) {}

  /// Trains under a plan; its losses must be those of one rank within `tolerance`, relative.
  void check(const request& asked, double tolerance) {
    CAPTURE(name_of(asked));
    if (alone_.count(asked.micro_batches) == 0) {
      alone_[asked.micro_batches] = train({"data=1", 1, asked.micro_batches});
    }
    const outcome& expected = alone_[asked.micro_batches];
    const outcome left = train(asked);
    const double apart = deviation(left.losses, expected.losses);
    CHECK(apart <= tolerance);
    ++count;
    if (apart >= largest) furthest = name_of(asked);
    largest = std::max(largest, apart);
    largest_kept = std::max(largest_kept, difference(left.kept, expected.kept));
  }

  void report(const std::string& what) const {
    MESSAGE(what << ": " << count << " runs, largest relative difference of a loss " << largest << " (" << furthest
                 << "), largest difference of a number kept " << largest_kept);
    CHECK(uneven);
    CHECK((empty || sanitized));
  }

  int count = 0;
  double largest = 0;
  double largest_kept = 0;
  std::string furthest;
  bool uneven = false, empty = false;

 private:
  outcome train(const request& asked) {
    ml::program made = program_of(graph_, asked);
    const division how = division_of(made);
    CHECK(how.ranks == asked.ranks);
    CHECK(how.by_all);
    uneven = uneven || how.uneven;
    empty = empty || how.empty;
    auto run = ml::start(ml::host{}, std::move(made), task_, 7);
    outcome left = runs::train(run, samples_);
    CHECK(left.losses.back() < left.losses.front());
    for (const std::string& name : run.names()) CHECK(copies_of(run, name).different == 0);
    return left;
  }

  Task task_;
  ml::graph graph_;
  std::vector<sample> samples_;
  std::map<int, outcome> alone_;
};

}  // namespace runs
