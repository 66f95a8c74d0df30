// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/intra_settling.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// The options that an assignment leaves open (−1), settled at the least price, then at the least size. A choice that
/// is open is coupled with no more than one open choice before it: prices go up to that one, options come down from it.
class settled_options {
 public:
  settled_options(const intra_problem& posed, vector<std::int32_t> known)
      : posed_(posed), options_(std::move(known)), above_(options_.size(), nullptr) {
    for (const intra_choice& each : posed.choices) prices_.push_back(each.cost);
    for (const intra_coupling& each : posed.couplings) note(each);
  }

  vector<std::int32_t> run() {
    for (std::size_t n = options_.size(); n-- > 0;) {
      if (above_[n] != nullptr) price_above(n);
    }
    for (std::size_t n = 0; n < options_.size(); ++n) {
      if (options_[n] < 0) settle(n);
    }
    return std::move(options_);
  }

 private:
  bool is_open(std::int32_t number) const { return options_[static_cast<std::size_t>(number)] < 0; }

  static picoseconds sum_of(picoseconds a, picoseconds b) { return std::min(a + b, forbidden); }

  static std::size_t other_end(const intra_coupling& of, std::size_t n) {
    return static_cast<std::size_t>(of.left) == n ? static_cast<std::size_t>(of.right)
                                                  : static_cast<std::size_t>(of.left);
  }

  /// The price of a coupling where choice `n` takes option `here` and its other end `there`.
  picoseconds price(const intra_coupling& of, std::size_t n, std::size_t here, std::size_t there) const {
    if (static_cast<std::size_t>(of.left) != n) std::swap(here, there);
    return of.cost[here * posed_.choices[static_cast<std::size_t>(of.right)].cost.size() + there];
  }

  void note(const intra_coupling& each) {
    if (is_open(each.left) && is_open(each.right)) {
      above_[static_cast<std::size_t>(std::max(each.left, each.right))] = &each;
    } else if (is_open(each.left) || is_open(each.right)) {
      const auto n = static_cast<std::size_t>(is_open(each.left) ? each.left : each.right);
      const auto there = static_cast<std::size_t>(options_[other_end(each, n)]);
      for (std::size_t here = 0; here < prices_[n].size(); ++here)
        prices_[n][here] = sum_of(prices_[n][here], price(each, n, here, there));
    }
  }

  void price_above(std::size_t n) {
    const std::size_t up = other_end(*above_[n], n);
    for (std::size_t there = 0; there < prices_[up].size(); ++there) {
      picoseconds least = forbidden;
      for (std::size_t here = 0; here < prices_[n].size(); ++here)
        least = std::min(least, sum_of(prices_[n][here], price(*above_[n], n, here, there)));
      prices_[up][there] = sum_of(prices_[up][there], least);
    }
  }

  void settle(std::size_t n) {
    const auto rank = [&](std::size_t here) {
      picoseconds all = prices_[n][here];
      if (above_[n] != nullptr) {
        const auto there = static_cast<std::size_t>(options_[other_end(*above_[n], n)]);
        all = sum_of(all, price(*above_[n], n, here, there));
      }
      return std::pair(all, posed_.choices[n].size[here]);
    };
    std::size_t best = 0;
    for (std::size_t here = 1; here < prices_[n].size(); ++here) {
      if (rank(here) < rank(best)) best = here;
    }
    options_[n] = static_cast<std::int32_t>(best);
  }

  const intra_problem& posed_;
  vector<std::int32_t> options_;
  vector<vector<picoseconds>> prices_;   ///< of options, with all that is settled or hangs on them
  vector<const intra_coupling*> above_;  ///< of an open choice: what ties it to one before it
};

}  // namespace detail

MESHLOOM_INLINE vector<std::int32_t> settle(const intra_problem& posed, vector<std::int32_t> options) {
  return detail::settled_options(posed, std::move(options)).run();
}

}  // namespace meshloom
