// SPDX-License-Identifier: Apache-2.0
// Routing to experts, the way to their slots and back, again and obviously right: the part of kernel/reference.hpp
// that mixtures of experts need. Law: as there; of equal shares the first expert's is the largest. Source: GShard
// (Lepikhin et al. 2021).
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/routing.hpp>

namespace meshloom::reference {

/// The experts of one token, the largest share first; of equal ones the first expert.
inline vector<std::int64_t> ranked(const vector<double>& shares) {
  vector<std::int64_t> experts;
  for (std::size_t e = 0; e < shares.size(); ++e) experts.push_back(static_cast<std::int64_t>(e));
  std::sort(experts.begin(), experts.end(), [&](std::int64_t a, std::int64_t b) {
    const double one = shares[static_cast<std::size_t>(a)], other = shares[static_cast<std::size_t>(b)];
    return one > other || (one == other && a < b);
  });
  return experts;
}

/// The shares of one row by token and expert, and how its tokens are grouped.
template <int Rows>
struct routed_row {
  using lists = op::routed_axes<Rows>;
  std::int64_t tokens, experts, size;
  vector<vector<double>> shares;

  routed_row(const space& s, int operand, point at)
      : tokens(s.extent(lists::token)),
        experts(s.extent(lists::expert)),
        size(static_cast<std::int64_t>(s.attribute(0))) {
    if (size == 0) size = tokens;
    s.over(at_list<lists::token>(), at, [&] {
      shares.emplace_back();
      s.over(at_list<lists::expert>(), at, [&] { shares.back().push_back(s.operand(operand, at)); });
    });
  }

  /// The number of tokens of a group that choose an expert first.
  std::int64_t firsts(std::int64_t group, std::int64_t expert) const {
    std::int64_t count = 0;
    for (std::int64_t t = group * size; t < (group + 1) * size; ++t)
      count += ranked(shares[static_cast<std::size_t>(t)]).front() == expert;
    return count;
  }

  double share(std::int64_t token, std::int64_t expert) const {
    return shares[static_cast<std::size_t>(token)][static_cast<std::size_t>(expert)];
  }

  template <int Index>
  static constexpr index_list at_list() {
    return meshloom::at<Index>::list;
  }
};

template <int Rows, int Choices>
struct rule<op::route<Rows, Choices>> {
  using lists = op::routed_axes<Rows>;
  using row = routed_row<Rows>;

  static void run(const space& s) {
    point at{};
    s.over(lists::rows::list, at, [&] {
      const row given(s, 0, at);
      const auto slots = fill(given, static_cast<std::int64_t>(s.attribute(1)));
      double balance = 0;
      for (std::int64_t t = 0; t < given.tokens; ++t) {
        double kept = 0;
        for (std::int64_t e = 0; e < given.experts; ++e) kept += slots(t, e) < 0 ? 0 : given.share(t, e);
        for (std::int64_t e = 0; e < given.experts; ++e) {
          at[lists::token] = t, at[lists::expert] = e;
          const double share = given.share(t, e);
          s.write(0, at, slots(t, e) < 0 ? 0 : Choices == 1 ? share : share / kept);
          s.write(1, at, static_cast<double>(slots(t, e)));
          const auto groups = static_cast<double>(given.tokens / given.size), size = static_cast<double>(given.size);
          const auto firsts = static_cast<double>(given.firsts(t / given.size, e));
          balance += static_cast<double>(given.experts) * (firsts / size) * (share / size) / groups;
        }
      }
      at[lists::token] = at[lists::expert] = 0;
      s.write(2, at, balance);
    });
  }

 private:
  struct table {
    std::int64_t experts;
    vector<std::int64_t> slots;
    std::int64_t& operator()(std::int64_t token, std::int64_t expert) {
      return slots[static_cast<std::size_t>(token * experts + expert)];
    }
    std::int64_t operator()(std::int64_t token, std::int64_t expert) const {
      return slots[static_cast<std::size_t>(token * experts + expert)];
    }
  };

  /// First choices in the order of tokens, then second ones.
  static table fill(const row& given, std::int64_t capacity) {
    table made{given.experts, vector<std::int64_t>(static_cast<std::size_t>(given.tokens * given.experts), -1)};
    for (std::int64_t first = 0; first < given.tokens; first += given.size) {
      vector<std::int64_t> taken(static_cast<std::size_t>(given.experts));
      for (std::size_t choice = 0; choice < std::min<std::size_t>(Choices, taken.size()); ++choice) {
        for (std::int64_t t = first; t < first + given.size; ++t) {
          const std::int64_t expert = ranked(given.shares[static_cast<std::size_t>(t)])[choice];
          std::int64_t& used = taken[static_cast<std::size_t>(expert)];
          if (used < capacity) made(t, expert) = first / given.size * capacity + used++;
        }
      }
    }
    return made;
  }
};

template <int Rows, int Choices, bool Balanced>
struct rule<op::route_gradient<Rows, Choices, Balanced>> {
  static void run(const space& s) {
    using lists = op::routed_axes<Rows>;
    constexpr int shares = Balanced ? 2 : 1, slot = shares + 1;
    const index_list experts = meshloom::at<lists::expert>::list;
    point at{};
    s.over(lists::rows::list, at, [&] {
      const routed_row<Rows> given(s, shares, at);
      s.over(meshloom::at<lists::token>::list, at, [&] {
        const auto kept = [&] { return s.operand(slot, at) >= 0; };
        const double sum = s.sum(experts, at, [&] { return kept() ? s.operand(shares, at) : 0; });
        const double mean =
            s.sum(experts, at, [&] { return kept() ? s.operand(0, at) * s.operand(shares, at) / sum : 0; });
        s.over(experts, at, [&] {
          double slope = !kept() ? 0 : Choices == 1 ? s.operand(0, at) : (s.operand(0, at) - mean) / sum;
          if constexpr (Balanced) {
            const auto firsts = static_cast<double>(given.firsts(at[lists::token] / given.size, at[lists::expert]));
            slope += s.operand(1, at) * static_cast<double>(given.experts) * firsts /
                     static_cast<double>(given.size * given.tokens);
          }
          s.write(0, at, slope);
        });
      });
    });
  }
};

/// 1 times the weight, if there are weights, where the token takes the slot; else 0.
template <class Lists, bool Weighted>
double taken(const space& s, const point& at) {
  const bool here = s.operand(Weighted ? 1 : 0, at) == static_cast<double>(at[Lists::slot]);
  return !here ? 0 : Weighted ? s.operand(0, at) : 1;
}

template <int Rows, bool Weighted>
struct rule<op::dispatch<Rows, Weighted>> {
  static void run(const space& s) {
    using o = op::dispatch<Rows, Weighted>;
    point at{};
    s.over(o::lists::buffers::list, at, [&] {
      s.write(0, at, s.sum(s.contracted(), at, [&] {
        return taken<typename o::lists, Weighted>(s, at) * s.operand(o::x, at);
      }));
    });
  }
};

template <int Rows, bool Weighted>
struct rule<op::combine<Rows, Weighted>> {
  static void run(const space& s) {
    using o = op::combine<Rows, Weighted>;
    point at{};
    s.over(o::lists::features::list, at, [&] {
      s.write(0, at, s.sum(s.contracted(), at, [&] {
        return taken<typename o::lists, Weighted>(s, at) * s.operand(o::buffers, at);
      }));
    });
  }
};

template <int Rows>
struct rule<op::combine_gradient_weight<Rows>> {
  static void run(const space& s) {
    using lists = op::routed_axes<Rows>;
    point at{};
    s.over(lists::choices::list, at, [&] {
      s.write(0, at, s.sum(s.contracted(), at, [&] {
        return s.operand(1, at) == static_cast<double>(at[lists::slot]) ? s.operand(0, at) * s.operand(2, at) : 0;
      }));
    });
  }
};

}  // namespace meshloom::reference
