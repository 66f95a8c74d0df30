// SPDX-License-Identifier: Apache-2.0
#include <meshloom/schedule/rendezvous.hpp>

#include <algorithm>
#include <numeric>
#include <string>

namespace meshloom {

namespace detail {

/// One micro-batch of one message, and the gap on either stage where the rule puts it: gap g lies before task g.
struct appointment {
  action sent, received;
  std::size_t sender = 0, send_gap = 0;
  std::size_t receiver = 0, receive_gap = 0;
  int present = 0;  // how many of its two stages stand in its gap
  bool done = false;
};

using task_lists = vector<vector<task>>;

/// Where each task stands in the order of its stage.
struct task_places {
  static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);
  std::size_t micro_batches = 1;
  vector<std::size_t> at;

  std::size_t& of(std::size_t stage, pass what, std::size_t k) {
    return at[(stage * pass_count + static_cast<std::size_t>(what)) * micro_batches + k];
  }
};

inline task_places places_of(const task_lists& stages) {
  task_places places;
  for (const auto& tasks : stages) {
    for (const task& t : tasks) {
      if (t.micro_batch < 0) throw error("linearise: a task has a negative micro-batch");
      places.micro_batches = std::max(places.micro_batches, static_cast<std::size_t>(t.micro_batch) + 1);
    }
  }
  places.at.assign(stages.size() * pass_count * places.micro_batches, task_places::nowhere);
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    for (std::size_t place = 0; place < stages[stage].size(); ++place) {
      const task& t = stages[stage][place];
      auto& slot = places.of(stage, t.what, static_cast<std::size_t>(t.micro_batch));
      if (slot != task_places::nowhere) {
        throw error("linearise: stage " + std::to_string(stage) + " runs " + std::string(name_of(t.what)) +
                    " of micro-batch " + std::to_string(t.micro_batch) + " twice");
      }
      slot = place;
    }
  }
  return places;
}

/// All appointments, micro-batch by micro-batch, in the order of the messages.
inline vector<appointment> appointments_of(const task_lists& stages, std::span<const message> messages) {
  const auto count = static_cast<std::int32_t>(stages.size());
  for (const message& m : messages) {
    const auto [low, high] = std::minmax(m.from_stage, m.to_stage);
    if (low < 0 || high >= count || low == high) {
      throw error("linearise: a message from stage " + std::to_string(m.from_stage) + " to stage " +
                  std::to_string(m.to_stage) + " of " + std::to_string(count) + "; name two different stages");
    }
  }
  task_places places = places_of(stages);
  vector<appointment> appointments;
  for (std::size_t k = 0; k < places.micro_batches; ++k) {
    for (std::size_t number = 0; number < messages.size(); ++number) {
      const message& m = messages[number];
      const auto sender = static_cast<std::size_t>(m.from_stage), receiver = static_cast<std::size_t>(m.to_stage);
      const std::size_t maker = places.of(sender, m.from, k), reader = places.of(receiver, m.to, k);
      if (maker == task_places::nowhere || reader == task_places::nowhere) continue;
      const action sent{action::send, static_cast<std::int32_t>(number), static_cast<std::int32_t>(k)};
      const action received{action::receive, sent.index, sent.micro_batch};
      appointments.push_back({sent, received, sender, maker + 1, receiver, reader, 0, false});
    }
  }
  return appointments;
}

/// A stage on its way through its tasks: it stands in a gap and leaves it when the appointments there are done.
struct standing {
  vector<std::size_t> appointments;  // of one gap after the other, ascending in each
  vector<std::size_t> ends;          // of each gap in `appointments`
  std::size_t at = 0;
  std::size_t left = 0;
  vector<action> actions;

  /// The appointments of the gap where it stands.
  std::span<const std::size_t> gap() const {
    const std::size_t begin = at == 0 ? 0 : ends[at - 1];
    return std::span(appointments).subspan(begin, ends[at] - begin);
  }
};

/// Every stage in front of its first gap.
inline vector<standing> standings_of(const task_lists& tasks, const vector<appointment>& appointments) {
  vector<standing> stages(tasks.size());
  for (std::size_t s = 0; s < tasks.size(); ++s) {
    stages[s].ends.resize(tasks[s].size() + 1);
    stages[s].actions.reserve(2 * tasks[s].size());
  }
  for (const appointment& m : appointments) {
    ++stages[m.sender].ends[m.send_gap];
    ++stages[m.receiver].ends[m.receive_gap];
  }
  for (standing& stage : stages) {
    stage.appointments.resize(std::accumulate(stage.ends.begin(), stage.ends.end(), std::size_t{0}));
    std::exclusive_scan(stage.ends.begin(), stage.ends.end(), stage.ends.begin(), std::size_t{0});
  }
  for (std::size_t index = 0; index < appointments.size(); ++index) {  // moves each begin to its end
    const appointment& m = appointments[index];
    standing &sender = stages[m.sender], &receiver = stages[m.receiver];
    sender.appointments[sender.ends[m.send_gap]++] = index;
    receiver.appointments[receiver.ends[m.receive_gap]++] = index;
  }
  return stages;
}

class rendezvous {
 public:
  rendezvous(const task_lists& tasks, std::span<const message> messages)
      : tasks_(tasks),
        messages_(messages),
        appointments_(appointments_of(tasks, messages)),
        stages_(standings_of(tasks, appointments_)) {
    for (standing& stage : stages_) enter_gap(stage);
  }

  vector<vector<action>> orders() {
    for (bool moved = true; moved;) {
      const bool exchanged = exchange_ready();
      const bool ran = run_where_free();
      moved = exchanged || ran || receive_one_early();
    }
    vector<vector<action>> orders;
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      if (stages_[s].at < tasks_[s].size() || stages_[s].left > 0) throw error(who_waits());
      orders.push_back(std::move(stages_[s].actions));
    }
    return orders;
  }

 private:
  void enter_gap(standing& stage) {
    for (const std::size_t index : stage.gap()) {
      if (appointments_[index].done) continue;  // was received early
      ++stage.left;
      if (++appointments_[index].present == 2) ready_.push_back(index);
    }
  }

  void exchange(appointment& m) {
    standing& sender = stages_[m.sender];
    standing& receiver = stages_[m.receiver];
    m.done = true;
    --sender.left;
    if (receiver.at == m.receive_gap) --receiver.left;
    sender.actions.push_back(m.sent);
    receiver.actions.push_back(m.received);
  }

  /// Exchanges the messages whose two ends wait: earlier micro-batches and then lower numbers first, which makes the
  /// gaps of the steady state alike.
  bool exchange_ready() {
    vector<std::size_t> now;
    now.swap(ready_);
    std::sort(now.begin(), now.end());
    for (const std::size_t index : now) exchange(appointments_[index]);
    return !now.empty();
  }

  /// Every stage with nothing left to exchange in its gap runs its next task.
  bool run_where_free() {
    bool any = false;
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      standing& stage = stages_[s];
      if (stage.at == tasks_[s].size() || stage.left > 0) continue;
      const task& next = tasks_[s][stage.at++];
      stage.actions.push_back({action::run, static_cast<std::int32_t>(next.what), next.micro_batch});
      enter_gap(stage);
      any = true;
    }
    return any;
  }

  /// All stages wait: the exception for one message that skips stages, of the lowest micro-batch and then number.
  bool receive_one_early() {
    std::size_t first = appointments_.size();
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      for (const std::size_t index : stages_[s].gap()) {
        const appointment& m = appointments_[index];
        const bool skips = m.sender > m.receiver + 1 || m.receiver > m.sender + 1;
        if (m.sender == s && !m.done && skips) first = std::min(first, index);
      }
    }
    if (first == appointments_.size()) return false;
    exchange(appointments_[first]);
    return true;
  }

  std::string who_waits() const {
    std::string sentence = "linearise: the stages wait for each other";
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      for (const std::size_t index : stages_[s].gap()) {
        const appointment& m = appointments_[index];
        if (m.done) continue;
        const message& named = messages_[static_cast<std::size_t>(m.sent.index)];
        sentence += "; stage " + std::to_string(s) + (m.sender == s ? " sends" : " receives") + " message " +
                    std::to_string(m.sent.index) + " of micro-batch " + std::to_string(m.sent.micro_batch) + " (" +
                    std::string(name_of(named.from)) + " of stage " + std::to_string(m.sender) + " to " +
                    std::string(name_of(named.to)) + " of stage " + std::to_string(m.receiver) + ")";
      }
    }
    return sentence;
  }

  const task_lists& tasks_;
  std::span<const message> messages_;
  vector<appointment> appointments_;
  vector<standing> stages_;
  vector<std::size_t> ready_;
};

}  // namespace detail

MESHLOOM_INLINE vector<vector<action>> linearise(const vector<vector<task>>& tasks_per_stage,
                                                 std::span<const message> messages) {
  return detail::rendezvous(tasks_per_stage, messages).orders();
}

MESHLOOM_INLINE int landing_slots(std::span<const action> order, std::span<const message> messages,
                                  std::int32_t number) {
  const auto reader = static_cast<std::int32_t>(messages[static_cast<std::size_t>(number)].to);
  vector<std::int32_t> lying;  // micro-batches received and not yet read
  std::size_t most = 0;
  for (const action& now : order) {
    if (now.kind == action::receive && now.index == number) lying.push_back(now.micro_batch);
    most = std::max(most, lying.size());
    if (now.kind == action::run && now.index == reader) erase(lying, now.micro_batch);
  }
  return static_cast<int>(most);
}

}  // namespace meshloom
