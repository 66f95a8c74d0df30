// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/check_ends.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// Both ends of a message are shards of the same tensor, with nothing pending.
inline void check_message_ends(const program& whole, std::size_t number, vector<std::string>& faults) {
  const transfer& moved = whole.transfers[number];
  const buffer& from = whole.stages[static_cast<stage_id>(moved.route.from_stage)].buffers[moved.from];
  const buffer& to = whole.stages[static_cast<stage_id>(moved.route.to_stage)].buffers[moved.to];
  if (from.rank != to.rank || from.global != to.global || from.type != to.type) {
    faults.push_back(sentence(
        {place_of(number, moved), ": sends ", from.name, " and receives ", to.name, ", which is another tensor"}));
  }
  if (!from.widened.empty() || !to.widened.empty()) {
    faults.push_back(sentence({place_of(number, moved), ": sends or receives windows of a tensor"}));
  }
  if (from.layout.has_partial() || to.layout.has_partial()) {
    faults.push_back(sentence({place_of(number, moved), ": sends or receives a pending sum"}));
  }
}

/// Results are stored once, or lie whole on every rank.
inline void check_port_ends(const program& whole, std::size_t number, vector<std::string>& faults) {
  const port& which = whole.results[number];
  if (which.batch_axis < 0) {
    const buffer& what = whole.stages[which.stage].buffers[which.buffer];
    const bool same = what.type == which.type && std::equal(which.extents.begin(), which.extents.end(),
                                                            what.global.begin(), what.global.begin() + what.rank);
    if (!same || !what.layout.is_whole()) {
      faults.push_back(
          sentence({"result ", which.name, ": does not lie whole, in its shape and type, on every rank of its stage"}));
    }
    return;
  }
  std::size_t stores = 0;
  for (const stage_program& stage : whole.stages) {
    for (const auto& body : stage.bodies) {
      stores += static_cast<std::size_t>(std::count_if(body.begin(), body.end(), [&](const instruction& at) {
        return at.kind == instruction::store && at.port == static_cast<std::int32_t>(number);
      }));
    }
  }
  if (stores != 1) faults.push_back(sentence({"result ", which.name, ": is stored ", stores, " times"}));
}

/// Stages that keep the same parameter start it alike.
inline void check_starts(const program& whole, vector<std::string>& faults) {
  vector<std::pair<const stage_program*, const placed_value*>> all;
  for (const stage_program& stage : whole.stages) {
    for (const placed_value& each : stage.placed_values) all.emplace_back(&stage, &each);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second->name != b.second->name ? a.second->name < b.second->name
                                            : a.first->first_rank < b.first->first_rank;
  });
  for (std::size_t k = 1; k < all.size(); ++k) {
    const placed_value& a = *all[k - 1].second;
    const placed_value& b = *all[k].second;
    if (a.name != b.name) continue;
    const bool alike = a.number == b.number && a.start == b.start && a.what == b.what &&
                       all[k - 1].first->buffers[a.buffer].global == all[k].first->buffers[b.buffer].global;
    if (all[k - 1].first == all[k].first || !alike) {
      faults.push_back(sentence({"parameter ", a.name, ": does not start alike on the stages that keep it"}));
    }
  }
}

/// All ranks meet in a total: every stage has as many of them, all in the update, when no rank waits for another.
inline void check_totals(const program& whole, vector<std::string>& faults) {
  const auto totals_of = [](const stage_program& stage) {
    const auto& body = body_of(stage, pass::update);
    return std::count_if(body.begin(), body.end(), [](const auto& at) { return at.kind == instruction::total; });
  };
  for (std::size_t s = 1; s < whole.stages.size(); ++s) {
    const auto here = totals_of(whole.stages[static_cast<stage_id>(s)]), first = totals_of(whole.stages[stage_id{0}]);
    if (here != first) faults.push_back(sentence({place_of(s), ": has ", here, " totals where stage 0 has ", first}));
  }
}

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check_ends(const program& whole) {
  vector<std::string> faults;
  for (std::size_t t = 0; t < whole.transfers.size(); ++t) detail::check_message_ends(whole, t, faults);
  for (std::size_t r = 0; r < whole.results.size(); ++r) detail::check_port_ends(whole, r, faults);
  detail::check_starts(whole, faults);
  detail::check_totals(whole, faults);
  return faults;
}

}  // namespace meshloom
