// SPDX-License-Identifier: Apache-2.0
// LAMB in a whole training, written again from its formulas: each copy of a repeated layer has norms of its own.
#include "optimizing.hpp"

using namespace optimizing;

namespace {

constexpr lamb rule{
    .rate = step_decay{.peak = 0.05, .every = 2, .factor = 0.5}, .decay = 0.1, .groups = {{.rank = 1, .decay = 0}}};

double norm(const vector<double>& of) {
  double squares = 0;
  for (const double each : of) squares += each * each;
  return std::sqrt(squares);
}

}  // namespace

TEST_CASE("LAMB is what its formulas say") {
  const auto whole = train(rule, {}, 4);
  numbers first, second, at = whole[0];
  for (int step = 0; step < 4; ++step) {
    for (const auto& [name, slope] : gradients(at)) {
      vector<double>&p = at[name], &m = first[name], &v = second[name], u(slope.size());
      m.resize(slope.size()), v.resize(slope.size());
      const double decay = name.ends_with("bias") || name.ends_with("gain") ? 0 : 0.1;
      for (std::size_t i = 0; i < slope.size(); ++i) {
        m[i] = 0.9 * m[i] + 0.1 * slope[i];
        v[i] = 0.999 * v[i] + 0.001 * slope[i] * slope[i];
        u[i] = m[i] / (1 - std::pow(0.9, step + 1)) / (std::sqrt(v[i] / (1 - std::pow(0.999, step + 1))) + 1e-6);
        u[i] += decay * p[i];
      }
      const double ratio = norm(p) > 0 && norm(u) > 0 ? norm(p) / norm(u) : 1;
      for (std::size_t i = 0; i < slope.size(); ++i) p[i] -= (step < 2 ? 0.05 : 0.025) * ratio * u[i];
      CHECK_MESSAGE(difference({{name, p}}, whole[static_cast<std::size_t>(step) + 1]) < 1e-11, name);
    }
  }
}

TEST_CASE("LAMB trains alike under every plan") { check_parity(rule); }
