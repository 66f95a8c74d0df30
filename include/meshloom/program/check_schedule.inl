// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/check_schedule.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// The actions of one stage, unrolled, and where each stands.
struct stage_order {
  static constexpr std::int64_t nowhere = -1;
  vector<action> actions;
  vector<std::int64_t> at;  ///< by kind, index and micro-batch
  std::size_t indices = 0, micro_batches = 0;

  std::int64_t& of(action::kind_type kind, std::size_t index, std::int32_t micro_batch) {
    return at[(static_cast<std::size_t>(kind) * indices + index) * micro_batches +
              static_cast<std::size_t>(micro_batch)];
  }
  std::int64_t& of(pass what, std::int32_t micro_batch) {
    return of(action::run, static_cast<std::size_t>(what), micro_batch);
  }
};

class schedule_referee {
 public:
  explicit schedule_referee(const program& whole) : whole_(whole), orders_(whole.stages.size()) {}

  vector<std::string> run() {
    for (std::size_t s = 0; s < orders_.size(); ++s) unroll(s);
    for (std::size_t s = 0; s < orders_.size(); ++s) check_tasks(s);
    for (std::size_t t = 0; t < whole_.transfers.size(); ++t) check_message(t);
    if (!faults_.empty()) return std::move(faults_);  // what follows asks for positions
    for (std::size_t s = 0; s < orders_.size(); ++s) check_slots(s);
    check_rendezvous();
    return std::move(faults_);
  }

 private:
  template <class... Part>
  void fault(const Part&... part) {
    faults_.push_back(sentence({part...}));
  }

  void unroll(std::size_t s) {
    stage_order& order = orders_[s];
    order.indices = std::max<std::size_t>(pass_count, whole_.transfers.size());
    order.micro_batches = static_cast<std::size_t>(whole_.micro_batches);
    order.at.assign(3 * order.indices * order.micro_batches, stage_order::nowhere);
    for (const loop& each : whole_.stages[static_cast<stage_id>(s)].schedule) {
      for (std::int32_t round = 0; round < each.count; ++round) {
        for (const action& now : each.body) place(s, {now.kind, now.index, now.micro_batch + round * each.advance});
      }
    }
  }

  void place(std::size_t s, const action& now) {
    const auto index = static_cast<std::size_t>(now.index);
    std::int64_t& at = orders_[s].of(now.kind, index, now.micro_batch);
    if (at != stage_order::nowhere) fault(place_of(s), ": ", describe_action(now), " comes twice");
    at = static_cast<std::int64_t>(orders_[s].actions.size());
    orders_[s].actions.push_back(now);
    if (now.kind == action::run) return;
    const message& route = whole_.transfers[index].route;
    const auto own = static_cast<std::size_t>(now.kind == action::send ? route.from_stage : route.to_stage);
    if (own != s) fault(place_of(s), ": ", describe_action(now), " is not its own");
  }

  std::string describe_action(const action& now) const {
    if (now.kind == action::run) return name_of(task{static_cast<pass>(now.index), now.micro_batch});
    const auto index = static_cast<std::size_t>(now.index);
    const std::string moved = place_of(index, whole_.transfers[index]);
    return sentence(
        {now.kind == action::send ? "the send of " : "the receive of ", moved, " of micro-batch ", now.micro_batch});
  }

  // --- tasks ---------------------------------------------------------------------------------------------------------

  /// Forward and backward run for every micro-batch, reduce and update once.
  std::int32_t times_of(pass what) const { return what <= pass::backward ? whole_.micro_batches : 1; }

  /// True if some stage has work in this pass; then all stages run it.
  bool needed(pass what) const {
    if (what == pass::forward) return true;
    const bool moves = std::any_of(whole_.transfers.begin(), whole_.transfers.end(), [&](const transfer& each) {
      return each.route.from == what || each.route.to == what;
    });
    return moves || std::any_of(whole_.stages.begin(), whole_.stages.end(),
                                [&](const stage_program& each) { return !body_of(each, what).empty(); });
  }

  void check_tasks(std::size_t s) {
    for (const pass what : all_passes) {
      for (std::int32_t k = 0; k < whole_.micro_batches; ++k) {
        const bool runs = orders_[s].of(what, k) != stage_order::nowhere;
        if (!runs && k < times_of(what) && needed(what)) fault(place_of(s), ": never runs ", name_of(task{what, k}));
        if (runs && k >= times_of(what)) {
          fault(place_of(s), ": runs ", name_of(task{what, k}), ", but ", name_of(what), " runs once per step");
        }
        if (k > 0) check_before(s, {what, k - 1}, {what, k});
        if (what == pass::backward) check_before(s, {pass::forward, k}, {pass::backward, k});
        if (what <= pass::backward) check_before(s, {what, k}, {pass::reduce, 0});
        if (what <= pass::reduce) check_before(s, {what, k}, {pass::update, 0});
      }
    }
  }

  void check_before(std::size_t s, const task& first, const task& second) {
    const std::int64_t a = orders_[s].of(first.what, first.micro_batch),
                       b = orders_[s].of(second.what, second.micro_batch);
    if (b != stage_order::nowhere && a > b) fault(place_of(s), ": runs ", name_of(second), " before ", name_of(first));
  }

  // --- messages ------------------------------------------------------------------------------------------------------

  void check_message(std::size_t number) {
    const message& route = whole_.transfers[number].route;
    const std::int32_t count = std::min(times_of(route.from), times_of(route.to));
    for (std::int32_t k = 0; k < whole_.micro_batches; ++k) {
      const action sent{action::send, static_cast<std::int32_t>(number), k}, received{action::receive, sent.index, k};
      const std::int64_t at_send = orders_[static_cast<std::size_t>(route.from_stage)].of(action::send, number, k);
      const std::int64_t at_receive = orders_[static_cast<std::size_t>(route.to_stage)].of(action::receive, number, k);
      const bool sends = at_send != stage_order::nowhere, receives = at_receive != stage_order::nowhere;
      if (k >= count && (sends || receives)) {
        fault(describe_action(sends ? sent : received), " is one too many: there are ", count);
      }
      if (k >= count) continue;
      if (!sends) fault(describe_action(sent), " is missing");
      if (!receives) fault(describe_action(received), " is missing");
      if (sends) check_sent(number, k, at_send);
      if (receives) check_received(number, k, at_receive);
    }
  }

  /// After the task that makes the data and, if they lie in transient memory, before any other.
  void check_sent(std::size_t number, std::int32_t k, std::int64_t at) {
    const transfer& moved = whole_.transfers[number];
    stage_order& order = orders_[static_cast<std::size_t>(moved.route.from_stage)];
    const std::int64_t made = order.of(moved.route.from, k);
    const action sent{action::send, static_cast<std::int32_t>(number), k};
    if (at < made)
      return fault(describe_action(sent), " comes before ", name_of(task{moved.route.from, k}), " makes it");
    const buffer& from = whole_.stages[static_cast<stage_id>(moved.route.from_stage)].buffers[moved.from];
    if (from.where != memory::transient || made == stage_order::nowhere) return;
    for (std::int64_t between = made + 1; between < at; ++between) {
      const action& now = order.actions[static_cast<std::size_t>(between)];
      if (now.kind == action::run) {
        return fault(describe_action(sent), " comes after ", describe_action(now), ", which uses its memory again");
      }
    }
  }

  void check_received(std::size_t number, std::int32_t k, std::int64_t at) {
    const message& route = whole_.transfers[number].route;
    const std::int64_t reader = orders_[static_cast<std::size_t>(route.to_stage)].of(route.to, k);
    if (reader == stage_order::nowhere || at < reader) return;
    fault(describe_action({action::receive, static_cast<std::int32_t>(number), k}), " comes after ",
          name_of(task{route.to, k}), " reads it");
  }

  // --- slots ---------------------------------------------------------------------------------------------------------

  /// The first and last action at which a micro-batch uses its slot.
  std::pair<std::int64_t, std::int64_t> in_flight(std::size_t s, std::int32_t k) {
    stage_order& order = orders_[s];
    const std::int64_t forward = order.of(pass::forward, k), backward = order.of(pass::backward, k);
    std::int64_t first = forward, last = std::max(forward, backward);
    for (std::size_t t = 0; t < whole_.transfers.size(); ++t) {
      const transfer& each = whole_.transfers[t];
      const stage_program& stage = whole_.stages[static_cast<stage_id>(s)];
      const std::int64_t received = order.of(action::receive, t, k), sent = order.of(action::send, t, k);
      if (received != stage_order::nowhere && stage.buffers[each.to].where == memory::kept) {
        first = std::min(first, received);
      }
      if (sent != stage_order::nowhere && stage.buffers[each.from].where == memory::kept) last = std::max(last, sent);
    }
    return {first, last};
  }

  /// Micro-batch k uses slot k mod slots, so k − slots must have left it: with the slots there are, and no fewer.
  void check_slots(std::size_t s) {
    vector<std::pair<std::int64_t, std::int64_t>> flights;
    for (std::int32_t k = 0; k < whole_.micro_batches; ++k) flights.push_back(in_flight(s, k));
    const auto first_to_collide = [&](std::size_t slots) {
      std::size_t k = slots;
      while (k < flights.size() && flights[k - slots].second < flights[k].first) ++k;
      return k;
    };
    const auto slots = static_cast<std::size_t>(whole_.stages[static_cast<stage_id>(s)].slots);
    const std::size_t late = first_to_collide(slots);
    if (late < flights.size()) {
      fault(place_of(s), ": with ", slots, " slots, micro-batch ", late, " takes the slot of micro-batch ",
            late - slots, ", which is still in flight");
    } else if (slots > 1 && first_to_collide(slots - 1) >= flights.size()) {
      fault(place_of(s), ": has ", slots, " slots where ", slots - 1, " would do");
    }
  }

  // --- rendezvous ----------------------------------------------------------------------------------------------------

  std::size_t partner_of(std::size_t s, const action& now) const {
    const message& route = whole_.transfers[static_cast<std::size_t>(now.index)].route;
    return static_cast<std::size_t>(static_cast<std::size_t>(route.from_stage) == s ? route.to_stage
                                                                                    : route.from_stage);
  }

  /// Lets every stage go on until it ends or waits for a partner who stands elsewhere.
  void check_rendezvous() {
    vector<std::size_t> at(orders_.size());
    const auto over = [&](std::size_t s) { return at[s] == orders_[s].actions.size(); };
    const auto standing = [&](std::size_t s) { return orders_[s].actions[at[s]]; };
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t s = 0; s < at.size(); ++s) {
        for (; !over(s); ++at[s], moved = true) {
          if (standing(s).kind == action::run) continue;
          const std::size_t partner = partner_of(s, standing(s));
          if (over(partner) || standing(partner).kind == action::run || standing(partner).index != standing(s).index ||
              standing(partner).micro_batch != standing(s).micro_batch) {
            break;
          }
          ++at[partner];
        }
      }
    }
    std::string waiting;
    for (std::size_t s = 0; s < at.size(); ++s) {
      if (!over(s)) {
        waiting += (waiting.empty() ? ": " : "; ") + place_of(s) + " stands at " + describe_action(standing(s));
      }
    }
    if (!waiting.empty()) fault("the stages wait for each other for ever", waiting);
  }

  const program& whole_;
  vector<stage_order> orders_;
  vector<std::string> faults_;
};

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check_schedule(const program& whole) {
  return detail::schedule_referee(whole).run();
}

}  // namespace meshloom
