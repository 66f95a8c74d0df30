// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/error.hpp>
#include <meshloom/exec/simulate.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/program/check.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/program/place.hpp>
#include <meshloom/report/check_constraints.hpp>
#include <meshloom/report/evaluate.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// A stage on its way through its tasks, when nothing takes time but what a plan prices.
struct priced_walk {
  vector<task> tasks;
  std::size_t at = 0;
  picoseconds now;
  std::array<picoseconds, pass_count> body = {};
  std::array<picoseconds, pass_count> landing = {};  ///< the messages that a pass reads, from wherever they come
  std::array<vector<picoseconds>, 2> ends;           ///< of forward and backward, by micro-batch
};

/// A step as a plan prices it: copies within ranks are free; a message delays whoever reads it and holds up nobody
/// else, and lands behind what the neighbour has made; the longest update ends the step.
class recount {
 public:
  recount(const program& lowered, const cluster& machine) : lowered_(lowered) {
    for (const stage_program& stage : lowered.stages) start(stage, machine);
    for (const transfer& each : lowered.transfers) {
      priced_walk& reader = walks_[static_cast<std::size_t>(each.route.to_stage)];
      reader.landing[static_cast<std::size_t>(each.route.to)] += price(lowered, each, machine);
    }
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t s = 0; s < walks_.size(); ++s) {
        while (advance(s)) moved = true;
      }
    }
  }

  picoseconds step() const {
    picoseconds last, update;
    for (const priced_walk& each : walks_) {
      last = std::max(last, each.now);
      picoseconds own;
      for (const pass now : {pass::reduce, pass::update}) {
        own += each.body[static_cast<std::size_t>(now)] + each.landing[static_cast<std::size_t>(now)];
      }
      update = std::max(update, own);
    }
    return last + update + totals_;
  }

  /// Parts of operators that run in a step: each is rounded up on its own, where a plan rounds the operator.
  picoseconds rounding() const { return rounding_; }

 private:
  void start(const stage_program& stage, const cluster& machine) {
    priced_walk walk;
    const mesh_links links = links_of(machine, stage.mesh, stage.first_rank);
    const device& on = device_of(machine, stage.first_rank);
    for (const pass now : all_passes) {
      const std::int32_t rounds = now < pass::reduce ? lowered_.micro_batches : 1;
      for (const instruction& at : body_of(stage, now)) {
        if (at.kind == instruction::total) totals_ = total_price(machine, lowered_.precision);  // all stages meet
        if (at.kind == instruction::total || work_of(at, now) == work::copies) continue;
        walk.body[static_cast<std::size_t>(now)] += price(stage, at, on, links);
        if (at.part >= 0) rounding_ += picoseconds{rounds};
      }
    }
    for_each_action(stage.schedule, [&](const action& each) {
      const auto what = static_cast<pass>(each.index);
      if (each.kind == action::run && what < pass::reduce) walk.tasks.push_back({what, each.micro_batch});
    });
    walks_.push_back(std::move(walk));
  }

  /// Runs the next task of a stage, if what it reads has been made.
  bool advance(std::size_t s) {
    priced_walk& here = walks_[s];
    if (here.at == here.tasks.size()) return false;
    const task next = here.tasks[here.at];
    const auto body = static_cast<std::size_t>(next.what);
    const bool forward = next.what == pass::forward;
    if (forward ? s > 0 : s + 1 < walks_.size()) {
      const auto& made = walks_[forward ? s - 1 : s + 1].ends[body];
      if (made.size() <= static_cast<std::size_t>(next.micro_batch)) return false;
      here.now = std::max(here.now, made[static_cast<std::size_t>(next.micro_batch)] + here.landing[body]);
    }
    here.now += here.body[body];
    here.ends[body].push_back(here.now);
    ++here.at;
    return true;
  }

  const program& lowered_;
  vector<priced_walk> walks_;
  picoseconds rounding_, totals_;
};

class plan_referee {
 public:
  plan_referee(const problem& posed, const plan& made) : posed_(posed), made_(made) {}

  verdict run() {
    if (!is_sound(check(posed_), "problem: ") || !check_ranks()) return std::move(found_);
    if (!is_sound(check(posed_.graph, made_), "plan: ")) return std::move(found_);
    for (std::string& each : check_constraints(posed_, made_)) found_.violations.push_back(std::move(each));
    if (!lower_plan()) return std::move(found_);
    check_memory();
    check_times();
    return std::move(found_);
  }

 private:
  template <class... Part>
  void violation(const Part&... part) {
    found_.violations.push_back(sentence({part...}));
  }

  /// Takes over the faults that another referee has found, with a cure where they have none.
  bool is_sound(const vector<std::string>& faults, const char* prefix) {
    for (const std::string& each : faults) {
      const bool cured = each.find("; ") != std::string::npos;
      violation(prefix, each, cured ? "" : "; correct it, or solve again");
    }
    return faults.empty();
  }

  // --- ranks

  /// Every device is used once. A mesh that is none is left to `check`.
  bool check_ranks() {
    const std::int32_t all = std::max(posed_.cluster.ranks(), 0);
    if (made_.ranks != all) {
      violation("the plan is for ", made_.ranks, " ranks, but the cluster has ", all, "; solve again for this cluster");
    }
    vector<vector<std::size_t>> users(static_cast<std::size_t>(all));
    for (std::size_t s = 0; s < made_.stages.size(); ++s) {
      const stage_plan& stage = made_.stages[static_cast<stage_id>(s)];
      const std::int64_t first = stage.first_rank, end = first + ranks_of(stage.mesh);
      if (first < 0 || end > all) {
        violation(place_of(s), ": uses ", ranks_text(first, end), ", but the cluster has ", ranks_text(0, all),
                  "; move or shrink it, or solve again");
      } else if (!in_one_group(posed_.cluster, stage.first_rank, static_cast<std::int32_t>(end))) {
        violation(place_of(s), ": uses ", ranks_text(first, end),
                  " of several groups of hosts, the next of which begins ", "with rank ",
                  group_of(posed_.cluster, stage.first_rank).end_rank(),
                  "; a stage stands on one group, so shrink it, or solve again");
      }
      for (std::int64_t rank = std::max<std::int64_t>(first, 0); rank < std::min<std::int64_t>(end, all); ++rank) {
        users[static_cast<std::size_t>(rank)].push_back(s);
      }
    }
    for (std::size_t first = 0, end = 0; first < users.size(); first = end) {
      while (end < users.size() && users[end] == users[first]) ++end;
      check_users(users[first], ranks_text(static_cast<std::int64_t>(first), static_cast<std::int64_t>(end)));
    }
    return found_.violations.empty();
  }

  void check_users(const vector<std::size_t>& stages, const std::string& ranks) {
    std::string text;
    for (const std::size_t s : stages) text += sentence({text.empty() ? "" : " and ", s});
    if (stages.empty()) violation(ranks, ": in no stage; give every device to one, or solve again for fewer");
    if (stages.size() > 1) violation(ranks, ": in stages ", text, "; a device can be in one only, so move the others");
  }

  /// 1 for a mesh that is none; more than there are for one that is too large.
  std::int64_t ranks_of(const mesh_shape& mesh) const {
    std::int64_t product = 1;
    for (int axis = 0; axis < std::min(mesh.rank, max_mesh_rank); ++axis) {
      const std::int32_t size = std::max(mesh.size[static_cast<std::size_t>(axis)], 1);
      product = std::min<std::int64_t>(product * size, most_ranks + 1);
    }
    return product;
  }

  static std::string ranks_text(std::int64_t first, std::int64_t end) {
    return end - first == 1 ? sentence({"rank ", first}) : sentence({"ranks ", first, " to ", end - 1});
  }

  // --- the program

  bool lower_plan() {
    try {
      found_.lowered = lower(posed_.graph, made_, posed_.cluster);
    } catch (const error& why) {
      violation("plan: ", why.what());
      return false;
    }
    if (!is_sound(check(found_.lowered), "program: ")) return false;
    found_.parts = breakdown_of(posed_.graph, found_.lowered, posed_.cluster);
    return true;
  }

  /// A part of memory, and how to need less of it.
  struct need {
    bytes size;
    const char* what;
    const char* cure;
  };

  static need largest_of(const stage_breakdown& all) {
    return std::max(
        {need{all.parameters, "parameters", "split them, as ZeRO 3 does"},
         need{all.state, "the optimizer's state", "split it, as ZeRO 1 does"},
         need{all.sums, "sums of gradients", "split them, as ZeRO 2 does"},
         need{all.kept * all.slots, "kept activations", "split or recompute them, or take more micro-batches"},
         need{all.transient, "transient values", "split them, or take more micro-batches"}},
        [](const need& a, const need& b) { return a.size < b.size; });
  }

  void check_memory() {
    for (std::size_t s = 0; s < found_.parts->stages.size(); ++s) {
      const bytes limit = device_of(posed_.cluster, made_.stages[static_cast<stage_id>(s)].first_rank).memory;
      const stage_breakdown& each = found_.parts->stages[static_cast<stage_id>(s)];
      if (each.peak() <= limit) continue;
      const need most = largest_of(each);
      violation(place_of(s), ": each rank needs ", describe_bytes(each.peak()), ", ",
                describe_bytes(each.peak() - limit), " more than the ", describe_bytes(limit), " of its device, most (",
                describe_bytes(most.size), ") for ", most.what, "; ", most.cure);
    }
  }

  void check_times() {
    const recount again(found_.lowered, posed_.cluster);
    found_.recounted = again.step();
    const picoseconds says = made_.predicted.count > 0 ? made_.predicted : found_.recounted;
    const picoseconds less = found_.recounted - says, most = std::max(less, less * -1);
    const auto text = [](picoseconds time) { return describe_time(time); };
    if (most > again.rounding()) {
      violation("the plan predicts a step of ", text(says), ", but its program takes ", text(found_.recounted),
                " as plans are priced, ", text(most), less.count > 0 ? " more" : " less",
                "; solve again for this cluster");
    }
    if (made_.bound > says) {
      violation("the plan says that none takes less than ", text(made_.bound), ", but takes ", text(says), " itself, ",
                text(made_.bound - says), " less; drop the bound, or solve again");
    }
    if (made_.runner_up && made_.runner_up->predicted < says) {
      const picoseconds time = made_.runner_up->predicted;
      violation("the runner-up (", line_of(made_.runner_up->shape), ") takes ", text(time), ", ", text(says - time),
                " less than the plan; take it instead, or solve again");
    }
  }

  const problem& posed_;
  const plan& made_;
  verdict found_;
};

}  // namespace detail

MESHLOOM_INLINE verdict evaluate(const problem& posed, const plan& made) {
  return detail::plan_referee(posed, made).run();
}

}  // namespace meshloom
