// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/differentiate.hpp>
#include <meshloom/graph/gradient_sum.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// Finds sums, one after the other.
class sum_finder {
 public:
  explicit sum_finder(const graph& whole)
      : whole_(whole), readers_(whole.values.size()), updates_(readers_), owners_(readers_) {
    for (const node& at : whole.nodes) {
      for (const value_id id : at.operands) ++(at.when == phase::update ? updates_ : readers_)[id];
    }
    for (const parameter& each : whole.parameters) {
      for (const value_id id : each.gradients) ++owners_[id];
    }
  }

  /// The sum that gradient `id` of parameter `p` is; without parts if it is none.
  gradient_sum find(std::size_t p, value_id id) const {
    gradient_sum found{p, id};
    if (owners_[id] != 1 || readers_[id] != 0 || !is_made(id)) return found;
    value_id sum = id;
    for (; adds(sum) && (sum == id || (readers_[sum] == 1 && updates_[sum] == 0)); sum = maker(sum).operands[0]) {
      found.additions.insert(found.additions.begin(), whole_.values[sum].producer);
      found.parts.insert(found.parts.begin(), maker(sum).operands[1]);
    }
    found.parts.insert(found.parts.begin(), sum);
    const bool sound =
        std::all_of(found.parts.begin(), found.parts.end(), [&](value_id part) { return is_made(part); });
    if (found.additions.empty() || !sound) found.parts.clear();
    return found;
  }

 private:
  const node& maker(value_id id) const { return whole_.nodes[whole_.values[id].producer]; }
  bool is_made(value_id id) const {
    return whole_.values[id].kind == value_kind::activation && maker(id).when == phase::backward &&
           !whole_.regions[maker(id).region].repeated;
  }
  bool adds(value_id id) const {
    return is_made(id) && maker(id).op == &addition_of_rank(whole_.values[id].axes.size());
  }

  const graph& whole_;
  table<value_id, int> readers_, updates_, owners_;  ///< operands of micro-batches and of the update; parameters
};

/// Puts one sum together again, region by region.
inline value_id add_by_region(graph& whole, const gradient_sum& sum, vector<node_id>& moved) {
  struct share {
    region_id region;
    node_id first;  ///< the addition that began it
    value_id sum;
  };
  const region_id home = whole.values[whole.parameters[sum.parameter].value].region;
  const auto place = [&](node_id id, region_id area, vector<value_id> operands) {
    node& at = whole.nodes[id];
    at.region = area;
    at.operands = std::move(operands);
    whole.values[at.results.front()].region = area;
    return at.results.front();
  };
  vector<share> shares;
  for (std::size_t k = 0; k < sum.parts.size(); ++k) {
    const region_id area = whole.values[sum.parts[k]].region;
    const auto known =
        std::find_if(shares.begin(), shares.end(), [&](const share& each) { return each.region == area; });
    const node_id addition = k == 0 ? node_id::none : sum.additions[k - 1];
    if (known == shares.end())
      shares.push_back({area, addition, sum.parts[k]});
    else
      known->sum = place(addition, area, {known->sum, sum.parts[k]});
  }
  value_id all = shares.front().sum;
  vector<value_id> gradients{all};
  for (std::size_t k = 1; k < shares.size(); ++k) {
    all = place(shares[k].first, home, {all, shares[k].sum});
    whole.nodes[shares[k].first].when = phase::update;
    moved.push_back(shares[k].first);
    gradients.push_back(shares[k].sum);
  }
  auto& kept = whole.parameters[sum.parameter].gradients;
  const auto at = kept.erase(std::find(kept.begin(), kept.end(), sum.value));
  kept.insert(at, gradients.begin(), gradients.end());
  return all;
}

/// Moves nodes to the front of the update.
inline void move_to_update(graph& whole, const vector<node_id>& moved) {
  vector<node_id> order;
  const auto is_moved = [&](node_id id) { return std::find(moved.begin(), moved.end(), id) != moved.end(); };
  const auto add_all = [&](bool update) {
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const node_id id{static_cast<std::int32_t>(n)};
      if (!is_moved(id) && (whole.nodes[id].when == phase::update) == update) order.push_back(id);
    }
  };
  add_all(false);
  order.insert(order.end(), moved.begin(), moved.end());
  add_all(true);
  table<node_id, node> nodes;
  table<node_id, node_id> now(whole.nodes.size(), node_id::none);
  for (const node_id id : order) now[id] = nodes.add(std::move(whole.nodes[id]));
  const auto follow = [&](node_id& id) {
    if (id != node_id::none) id = now[id];
  };
  for (value& each : whole.values) follow(each.producer);
  for (node& each : nodes) follow(each.differentiates);
  whole.nodes = std::move(nodes);
}

}  // namespace detail

MESHLOOM_INLINE vector<gradient_sum> gradient_sums(const graph& whole) {
  vector<gradient_sum> found;
  const detail::sum_finder finder(whole);
  for (std::size_t p = 0; p < whole.parameters.size(); ++p) {
    if (whole.parameters[p].observed_by != nullptr) continue;
    for (const value_id id : whole.parameters[p].gradients) {
      gradient_sum sum = finder.find(p, id);
      if (!sum.parts.empty()) found.push_back(std::move(sum));
    }
  }
  table<value_id, int> owners(whole.values.size());
  for (const parameter& each : whole.parameters) {
    for (const value_id id : each.gradients) ++owners[id];
  }
  for (const gradient_sum& sum : found) {
    for (const value_id id : sum.parts) ++owners[id];
  }
  erase_if(found, [&](const gradient_sum& sum) {  // an update of the one would be taken for one of the other
    return std::any_of(sum.parts.begin(), sum.parts.end(), [&](value_id id) { return owners[id] > 1; });
  });
  return found;
}

MESHLOOM_INLINE void add_by_region(graph& whole, const vector<gradient_sum>& sums) {
  vector<node_id> moved;
  for (const gradient_sum& sum : sums) {
    const std::size_t before = moved.size();
    const value_id all = detail::add_by_region(whole, sum, moved);
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const node_id id{static_cast<std::int32_t>(n)};
      node& at = whole.nodes[id];
      const bool adds = std::find(moved.begin() + static_cast<std::ptrdiff_t>(before), moved.end(), id) != moved.end();
      if (at.when == phase::update && !adds) std::replace(at.operands.begin(), at.operands.end(), sum.value, all);
    }
  }
  if (!moved.empty()) detail::move_to_update(whole, moved);
}

}  // namespace meshloom
