// SPDX-License-Identifier: Apache-2.0
// The bodies of certify.hpp.
#pragma once

#include <meshloom/planner/certify.hpp>
#include <meshloom/planner/intra_moments.hpp>
#include <meshloom/planner/intra_multipliers.hpp>

#include <algorithm>
#include <array>

namespace meshloom {

namespace detail {

/// A network whose choices are joined where one determines the other.
class joined_network {
 public:
  joined_network(const intra_problem& posed, picoseconds bound);

  const intra::network& net() const { return made_; }
  int finer() const { return finer_; }  ///< bits that its prices have more than the solver's
  const vector<intra_certificate::join>& joins() const { return joins_; }
  std::int32_t root(std::int32_t variable) const { return roots_[static_cast<std::size_t>(variable)]; }

 private:
  static std::size_t index(std::int32_t number) { return static_cast<std::size_t>(number); }
  bool try_join(const intra_problem& posed, std::size_t coupling, bool left_stays);
  void build(const intra::network& whole);
  vector<std::int32_t> add_variables(const intra::network& whole);
  void add_edges(const intra::network& whole, const vector<std::int32_t>& number);
  void refine(picoseconds bound);
  void add_parts(const intra::network& whole, std::size_t member, intra::network::variable& into) const;

  vector<std::int32_t> root_;
  vector<vector<std::int32_t>> members_, option_;  ///< by root; by choice and option of its root, −1: none
  vector<intra_certificate::join> joins_;
  vector<std::int32_t> roots_;  ///< by variable of the network that is made
  intra::network made_;
  int finer_ = 0;
};

MESHLOOM_INLINE joined_network::joined_network(const intra_problem& posed, picoseconds bound) {
  const intra::network whole = intra::network_of(posed);
  for (std::size_t c = 0; c < posed.choices.size(); ++c) {
    root_.push_back(static_cast<std::int32_t>(c));
    members_.push_back({root_.back()});
    auto& options = option_.emplace_back();
    for (const picoseconds cost : posed.choices[c].cost) {
      const auto k = static_cast<std::int32_t>(options.size());
      options.push_back(cost < forbidden ? k : -1);
    }
  }
  for (bool more = true; more;) {
    more = false;
    for (std::size_t e = 0; e < posed.couplings.size(); ++e) {
      more = try_join(posed, e, true) || try_join(posed, e, false) || more;
    }
  }
  build(whole);
  refine(bound);
}

/// Joins the ends of a coupling if that loses nothing of what can be: each of both groups determines the other.
MESHLOOM_INLINE bool joined_network::try_join(const intra_problem& posed, std::size_t coupling, bool left_stays) {
  const intra_coupling& each = posed.couplings[coupling];
  const std::size_t left = index(each.left), right = index(each.right);
  const std::size_t columns = posed.choices[right].cost.size();
  const std::int32_t stays = left_stays ? root_[left] : root_[right], goes = left_stays ? root_[right] : root_[left];
  const std::size_t moving = members_[index(goes)].size();  // the smaller one goes, unless both are small
  if (stays == goes || moving > std::max<std::size_t>(members_[index(stays)].size(), 64)) return false;
  const auto& from = option_[left_stays ? left : right];
  const auto& to = option_[left_stays ? right : left];
  vector<std::int32_t> partner(from.size(), -1);
  for (std::size_t a = 0; a < from.size(); ++a) {
    for (std::size_t b = 0; from[a] >= 0 && b < to.size(); ++b) {
      if (to[b] < 0) continue;
      const std::size_t i = index(left_stays ? from[a] : to[b]), j = index(left_stays ? to[b] : from[a]);
      if (each.cost[i * columns + j] >= forbidden) continue;
      if (partner[a] >= 0) return false;
      partner[a] = static_cast<std::int32_t>(b);
    }
  }
  for (const std::int32_t member : members_[index(goes)]) {
    vector<std::int32_t> through;
    for (const std::int32_t b : partner) through.push_back(b < 0 ? -1 : option_[index(member)][index(b)]);
    option_[index(member)] = std::move(through);
    root_[index(member)] = stays;
    members_[index(stays)].push_back(member);
  }
  members_[index(goes)].clear();
  joins_.push_back({static_cast<std::int32_t>(coupling), left_stays});
  return true;
}

/// The whole, each group one variable; edges in the order of their ends.
MESHLOOM_INLINE void joined_network::build(const intra::network& whole) {
  made_.room = whole.room;
  made_.times = whole.times;
  made_.shift = whole.shift;
  made_.grain = whole.grain;
  add_edges(whole, add_variables(whole));
}

/// Returns the number of the variable that each root became.
MESHLOOM_INLINE vector<std::int32_t> joined_network::add_variables(const intra::network& whole) {
  vector<std::int32_t> number(root_.size(), -1);
  for (std::size_t c = 0; c < root_.size(); ++c) {
    if (index(root_[c]) != c) continue;
    number[c] = static_cast<std::int32_t>(roots_.size());
    roots_.push_back(static_cast<std::int32_t>(c));
    intra::network::variable next{vector<std::int64_t>(option_[c].size()), {}};
    for (const std::int32_t member : members_[c]) {
      const auto& cost = whole.variables[index(member)].cost;
      for (std::size_t k = 0; k < next.cost.size(); ++k) {
        const std::int32_t option = option_[index(member)][k];
        next.cost[k] = option < 0 ? intra::never : intra::plus(next.cost[k], cost[index(option)]);
      }
      add_parts(whole, index(member), next);
    }
    made_.variables.push_back(std::move(next));
  }
  return number;
}

MESHLOOM_INLINE void joined_network::add_edges(const intra::network& whole, const vector<std::int32_t>& number) {
  vector<std::pair<std::pair<std::int32_t, std::int32_t>, const intra::network::edge*>> between;
  for (const intra::network::edge& each : whole.edges) {
    const std::int32_t left = number[index(root_[index(each.left)])], right = number[index(root_[index(each.right)])];
    between.push_back({{std::min(left, right), std::max(left, right)}, &each});
  }
  std::sort(between.begin(), between.end());
  for (const auto& [ends, each] : between) {
    const auto [left, right] = ends;
    const bool turned = number[index(root_[index(each->left)])] != left;
    const auto& rows = option_[index(turned ? each->right : each->left)];
    const auto& columns = option_[index(turned ? each->left : each->right)];
    const intra::edge_view price = intra::seen_from(whole, turned ? each->right : each->left, *each);
    const auto between_options = [&](std::size_t i, std::size_t j) {
      return rows[i] < 0 || columns[j] < 0 ? intra::never : price(index(rows[i]), index(columns[j]));
    };
    if (left == right) {
      auto& cost = made_.variables[index(left)].cost;
      for (std::size_t k = 0; k < cost.size(); ++k) cost[k] = intra::plus(cost[k], between_options(k, k));
      continue;
    }
    if (made_.edges.empty() || made_.edges.back().left != left || made_.edges.back().right != right)
      made_.edges.push_back({left, right, vector<std::int64_t>(rows.size() * columns.size())});
    auto& cost = made_.edges.back().cost;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t j = 0; j < columns.size(); ++j) {
        std::int64_t& sum = cost[i * columns.size() + j];
        sum = intra::plus(sum, between_options(i, j));
      }
    }
  }
}

/// What costs several times the bound may cost less, which proves no less; then prices can be finer, so that rounding
/// loses nothing.
MESHLOOM_INLINE void joined_network::refine(picoseconds bound) {
  constexpr int most_finer = 10;
  const std::int64_t most = 4 * std::max<std::int64_t>(bound.count, 1) << made_.shift;
  while (finer_ < most_finer && most << finer_ < std::int64_t{1} << 50) ++finer_;
  const auto refine_all = [&](vector<std::int64_t>& prices) {
    for (std::int64_t& each : prices) each = each < intra::never ? std::min(each, most) << finer_ : each;
  };
  if (most >= std::int64_t{1} << 50) return;
  for (auto& variable : made_.variables) refine_all(variable.cost);
  for (auto& edge : made_.edges) refine_all(edge.cost);
  made_.shift += finer_;
}

MESHLOOM_INLINE void joined_network::add_parts(const intra::network& whole, std::size_t member,
                                               intra::network::variable& into) const {
  for (const intra::network::part& each : whole.variables[member].parts) {
    intra::network::part next{each.first, each.end, {}};
    for (const std::int32_t option : option_[member]) next.size.push_back(option < 0 ? 0 : each.size[index(option)]);
    into.parts.push_back(std::move(next));
  }
}

/// Branches like the solver, and writes down how.
class certifying {
 public:
  certifying(const intra_problem& posed, const intra_answer& answer, const certify_options& limits)
      : limits_(limits), joined_(posed, answer.bound), number_(intra::numbering(joined_.net())) {
    made_.bound = answer.bound;
    made_.shift = joined_.net().shift;
    made_.grain = joined_.net().grain;
    made_.joins = joined_.joins();
    for (const intra::network::edge& each : joined_.net().edges)
      moved_ += joined_.net().options(each.left) + joined_.net().options(each.right);
  }
  intra_certificate run(const intra_answer& answer);

 private:
  /// A variable, and its options by what sets them apart; none if every variable has one option.
  struct widest_choice {
    std::size_t variable = 0;
    vector<std::pair<std::int64_t, std::int32_t>> order;
  };
  using keep = vector<std::uint8_t>;  ///< by option number
  /// What is left in a case, a network of its own.
  struct part {
    intra::network net;
    vector<vector<std::int32_t>> option;  ///< in the joined network, by variable and option
  };
  static std::size_t index(std::int32_t number) { return static_cast<std::size_t>(number); }
  std::int64_t wanted() const { return made_.bound.count << made_.shift; }
  bool closes(std::int64_t bound) const { return intra::closes(joined_.net(), bound, wanted()); }
  bool tired() const;

  void find_moments(const intra_answer& answer);
  intra::multipliers with_moments(const vector<std::int32_t>& more, const intra::multipliers& at);
  part reduced(const keep& left) const;
  intra::assignment lifted(const part& here, const intra::assignment& options) const;
  vector<std::int32_t> raise(const part& here, intra::multipliers& at, std::int32_t rounds);
  void close(keep left, intra::multipliers at, std::int32_t rounds);
  vector<std::int64_t> write(const part& here, const intra::multipliers& at, std::int64_t& bound);
  void split(const part& here, const intra::multipliers& at, const keep& left, std::size_t node);
  widest_choice widest(const part& here, const intra::multipliers& at) const;

  const certify_options& limits_;
  const joined_network joined_;
  const vector<std::size_t> number_;
  std::size_t moved_ = 0;  ///< numbers of a node
  vector<std::int32_t> moments_;
  intra::network few_;  ///< the joined network at these moments
  intra::multipliers first_;
  intra_certificate made_;
};

MESHLOOM_INLINE bool certifying::tired() const {
  const auto nodes = static_cast<std::int64_t>(made_.nodes.size());
  return nodes >= limits_.nodes || nodes * static_cast<std::int64_t>(moved_) > limits_.most_prices ||
         (limits_.stop && limits_.stop());
}

MESHLOOM_INLINE intra_certificate certifying::run(const intra_answer& answer) {
  find_moments(answer);
  close(keep(number_.back(), 1), first_, 1);
  return std::move(made_);
}

/// The moments that matter, and prices for them: the answer's, if it has some, otherwise those that are overfull on the
/// way to a good bound.
MESHLOOM_INLINE void certifying::find_moments(const intra_answer& answer) {
  const intra::network& net = joined_.net();
  few_ = intra::at_moments(net, {});
  vector<std::int32_t> known;
  for (const auto& each : answer.byte_prices) {
    const auto here = std::lower_bound(net.times.begin(), net.times.end(), each.first);
    if (here != net.times.end() && *here == each.first)
      known.push_back(static_cast<std::int32_t>(here - net.times.begin()));
  }
  first_ = with_moments(known, first_);
  for (std::size_t m = 0; m < known.size(); ++m) first_[m] = answer.byte_prices[m].second << joined_.finer();
  if (!known.empty()) return;
  vector<std::int32_t> more;
  do {
    first_ = with_moments(more, first_);
    more.clear();
    intra::relaxation inner(few_, 0);
    first_ = intra::ascend(
                 few_, inner, first_, limits_.first_rounds,
                 [&](const intra::assignment& met) {
                   if (intra::excess(few_, intra::held(few_, met)) == 0)
                     intra::add_moments(more, intra::overfull(net, intra::held(net, met)));
                   return wanted();
                 },
                 0, limits_.stop)
                 .at;
  } while (!more.empty() && !(limits_.stop && limits_.stop()));
}

/// Knows more moments from now on; the multipliers with them.
MESHLOOM_INLINE intra::multipliers certifying::with_moments(const vector<std::int32_t>& more,
                                                            const intra::multipliers& at) {
  const vector<std::int32_t> before = few_.times;
  intra::add_moments(moments_, more);
  few_ = intra::at_moments(joined_.net(), moments_);
  return intra::carried(before, at, few_.times);
}

MESHLOOM_INLINE certifying::part certifying::reduced(const keep& left) const {
  part made;
  made.net.room = few_.room;
  made.net.times = few_.times;
  made.net.shift = few_.shift;
  made.net.grain = few_.grain;
  for (std::size_t v = 0; v < few_.variables.size(); ++v) {
    const intra::network::variable& whole = few_.variables[v];
    auto& options = made.option.emplace_back();
    for (std::size_t k = 0; k < whole.options(); ++k) {
      if (left[number_[v] + k] != 0 && whole.cost[k] < intra::never) options.push_back(static_cast<std::int32_t>(k));
    }
    const auto chosen = [&](const vector<std::int64_t>& numbers) {
      vector<std::int64_t> found;
      for (const std::int32_t k : options) found.push_back(numbers[index(k)]);
      return found;
    };
    auto& next = made.net.variables.emplace_back(intra::network::variable{chosen(whole.cost), {}});
    for (const auto& each : whole.parts) next.parts.push_back({each.first, each.end, chosen(each.size)});
  }
  for (const intra::network::edge& each : few_.edges) {
    intra::network::edge next{each.left, each.right, {}};
    const std::size_t columns = few_.options(each.right);
    for (const std::int32_t i : made.option[index(each.left)]) {
      for (const std::int32_t j : made.option[index(each.right)]) {
        next.cost.push_back(each.cost[index(i) * columns + index(j)]);
      }
    }
    made.net.edges.push_back(std::move(next));
  }
  return made;
}

MESHLOOM_INLINE intra::assignment certifying::lifted(const part& here, const intra::assignment& options) const {
  intra::assignment all;
  for (std::size_t v = 0; v < options.size(); ++v) all.push_back(here.option[v][index(options[v])]);
  return all;
}

/// Raises the multipliers; returns moments that what was met on the way overfills.
MESHLOOM_INLINE vector<std::int32_t> certifying::raise(const part& here, intra::multipliers& at, std::int32_t rounds) {
  vector<std::int32_t> more;
  intra::relaxation inner(here.net, 0);
  const auto meet = [&](const intra::assignment& met) {
    const intra::assignment all = lifted(here, met);
    const bool better = intra::price_of(few_, all) < wanted() && intra::excess(few_, intra::held(few_, all)) == 0;
    if (better) intra::add_moments(more, intra::overfull(joined_.net(), intra::held(joined_.net(), all)));
    return wanted();
  };
  at = intra::ascend(here.net, inner, std::move(at), rounds, meet, 0, limits_.stop).at;
  return more;
}

/// Writes the nodes that close a case, or lowers the bound that is proven to what they prove.
MESHLOOM_INLINE void certifying::close(keep left, intra::multipliers at, std::int32_t rounds) {
  const std::size_t node = made_.nodes.size();
  part here = reduced(left);
  const auto none = [](const intra::network::variable& each) { return each.options() == 0; };
  if (std::any_of(here.net.variables.begin(), here.net.variables.end(), none)) {
    made_.nodes.emplace_back().moved.resize(moved_);
    return;
  }
  if (!tired()) {
    const vector<std::int32_t> more = raise(here, at, rounds);
    if (!more.empty()) {
      at = with_moments(more, at);
      return close(std::move(left), std::move(at), limits_.rounds);
    }
  }
  std::int64_t bound = 0;
  const vector<std::int64_t> bounds = write(here, at, bound);
  if (closes(bound)) return;
  std::size_t excluded = 0, n = 0;
  for (std::size_t v = 0; v < here.option.size(); ++v) {
    for (const std::int32_t k : here.option[v]) {
      const bool out = closes(bounds[n++]);
      excluded += out;
      if (out) left[number_[v] + index(k)] = 0;
    }
  }
  if (!tired() && excluded * 8 > bounds.size()) {
    made_.nodes[node].what = intra_certificate::fate::again;
    here = {};
    return close(std::move(left), std::move(at), limits_.rounds);
  }
  if (!tired()) return split(reduced(left), at, left, node);
  const std::int64_t unit = std::int64_t{1} << made_.shift;
  made_.bound = std::min(made_.bound, picoseconds{(bound + unit - 1) >> made_.shift});
}

/// Writes a node with these multipliers and the messages that they lead to.
MESHLOOM_INLINE vector<std::int64_t> certifying::write(const part& here, const intra::multipliers& at,
                                                       std::int64_t& bound) {
  constexpr int most_sweeps = 200, patience = 10;
  intra::messages pass(here.net);
  pass.reprice(intra::prices_with(here.net, at));
  const std::int64_t paid = intra::refund(here.net, at);
  bound = pass.bound() - paid;
  for (int sweep = 0; sweep < most_sweeps && !closes(bound); sweep += patience) {
    const std::int64_t before = bound;
    for (int s = 0; s < patience; ++s) pass.sweep();
    bound = pass.bound() - paid;
    if (bound - before < std::abs(before) >> 20) break;
  }
  intra_certificate::node& node = made_.nodes.emplace_back();
  for (std::size_t m = 0; m < at.size(); ++m) {
    if (at[m] > 0) node.bytes.push_back({few_.times[m], at[m]});
  }
  node.moved.resize(moved_);
  std::size_t begin = 0;
  for (std::size_t e = 0; e < few_.edges.size(); ++e) {
    const intra::network::edge& each = few_.edges[e];
    const auto put = [&](std::int32_t v, std::span<const std::int64_t> given) {
      for (std::size_t k = 0; k < given.size(); ++k) node.moved[begin + index(here.option[index(v)][k])] = given[k];
      begin += few_.options(v);
    };
    put(each.left, pass.given(e).left);
    put(each.right, pass.given(e).right);
  }
  vector<std::int64_t> bounds = pass.bounds();
  for (std::int64_t& each : bounds) each = each < intra::never ? each - paid : each;
  return bounds;
}

/// The variable whose options differ most in what they pay for bytes, or else in bytes, or else in price.
MESHLOOM_INLINE certifying::widest_choice certifying::widest(const part& here, const intra::multipliers& at) const {
  const vector<std::int64_t> own = intra::own_prices(here.net), priced = intra::prices_with(here.net, at);
  const vector<std::size_t> number = intra::numbering(here.net);
  const auto measures = [&](std::size_t v, std::size_t k) {
    std::array<std::int64_t, 3> found{priced[number[v] + k] - own[number[v] + k], 0, own[number[v] + k]};
    for (const auto& each : here.net.variables[v].parts) found[1] += each.size[k];
    return found;
  };
  widest_choice made;
  std::array<std::int64_t, 3> most{-1, 0, 0};
  for (std::size_t v = 0; v < here.option.size(); ++v) {
    std::array<std::int64_t, 3> low{intra::never, intra::never, intra::never}, spread{};
    for (std::size_t k = 0; k < here.option[v].size(); ++k) {
      for (std::size_t m = 0; m < spread.size(); ++m) low[m] = std::min(low[m], measures(v, k)[m]);
    }
    for (std::size_t k = 0; k < here.option[v].size(); ++k) {
      for (std::size_t m = 0; m < spread.size(); ++m) spread[m] = std::max(spread[m], measures(v, k)[m] - low[m]);
    }
    if (here.option[v].size() > 1 && spread > most) most = spread, made.variable = v;
  }
  if (most[0] < 0) return made;
  const std::size_t measure = most[0] > 0 ? 0 : most[1] > 0 ? 1 : 2;
  for (std::size_t k = 0; k < here.option[made.variable].size(); ++k)
    made.order.emplace_back(measures(made.variable, k)[measure], here.option[made.variable][k]);
  std::sort(made.order.begin(), made.order.end());
  return made;
}

/// In two at the widest choice.
MESHLOOM_INLINE void certifying::split(const part& here, const intra::multipliers& at, const keep& left,
                                       std::size_t node) {
  const auto [found, order] = widest(here, at);
  if (order.empty()) {
    made_.nodes[node].what = intra_certificate::fate::again;
    return close(left, at, limits_.rounds);
  }
  const std::int64_t spread = order.back().first - order.front().first;
  std::size_t middle = 1;
  while (spread > 0 && order[middle].first - order[0].first <= spread / 2) ++middle;
  made_.nodes[node].what = intra_certificate::fate::split;
  made_.nodes[node].choice = joined_.root(static_cast<std::int32_t>(found));
  keep first = left, second = left;
  for (std::size_t k = 0; k < order.size(); ++k) {
    const std::int32_t option = order[k].second;
    if (k < middle) made_.nodes[node].first.push_back(option);
    (k < middle ? second : first)[number_[found] + index(option)] = 0;
  }
  const vector<std::int32_t> before = few_.times;
  close(std::move(first), at, limits_.rounds);
  close(std::move(second), intra::carried(before, at, few_.times), limits_.rounds);
}

}  // namespace detail

MESHLOOM_INLINE intra_certificate certify(const intra_problem& posed, const intra_answer& answer,
                                          const certify_options& limits) {
  return detail::certifying(posed, answer, limits).run(answer);
}

}  // namespace meshloom
