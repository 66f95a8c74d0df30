// SPDX-License-Identifier: Apache-2.0
// Laws of train/draw.hpp: frequencies are those of softmax(logits / temperature), over places and over seeds; the cold
// limit is the largest logit; nothing but logits, temperature, seed and place decides.
#include <meshloom/base/vector.hpp>
#include <meshloom/train/draw.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <random>

namespace {

constexpr std::int64_t draws = 20000;
constexpr double impossible = -std::numeric_limits<double>::infinity();

meshloom::vector<float> some_logits(std::mt19937& dice, std::size_t count) {
  std::normal_distribution<float> normal;
  meshloom::vector<float> logits(count);
  for (float& each : logits) each = normal(dice);
  return logits;
}

meshloom::vector<double> softmax(const meshloom::vector<float>& logits, double temperature) {
  meshloom::vector<double> shares;
  double total = 0;
  for (const float each : logits) total += shares.emplace_back(std::exp(static_cast<double>(each) / temperature));
  for (double& each : shares) each /= total;
  return shares;
}

/// Pearson's χ² of what was drawn against the expected shares, in standard deviations above its mean: with n possible
/// outcomes, mean n − 1 and variance 2 (n − 1). Infinite if something impossible was drawn.
double misfit(const meshloom::vector<std::int64_t>& counts, const meshloom::vector<double>& shares) {
  double sum = 0, outcomes = 0;
  for (std::size_t at = 0; at < counts.size(); ++at) {
    const double expected = shares[at] * static_cast<double>(draws);
    if (expected == 0 && counts[at] > 0) return -impossible;
    if (expected == 0) continue;
    sum += (static_cast<double>(counts[at]) - expected) * (static_cast<double>(counts[at]) - expected) / expected;
    ++outcomes;
  }
  return (sum - (outcomes - 1)) / std::sqrt(2 * (outcomes - 1));
}

enum class over { places, seeds };

meshloom::vector<std::int64_t> counts_of(const meshloom::vector<float>& logits, double temperature, over what) {
  meshloom::vector<std::int64_t> counts(logits.size());
  for (std::uint64_t at = 0; at < draws; ++at) {
    const std::uint64_t seed = what == over::seeds ? at : 11, place = what == over::places ? at : 5;
    ++counts[static_cast<std::size_t>(meshloom::draw(logits, temperature, seed, place))];
  }
  return counts;
}

}  // namespace

TEST_CASE("frequencies follow softmax(logits / temperature), and no other temperature or logits") {
  std::mt19937 dice(3);
  for (const double temperature : {0.5, 1.0, 2.0}) {
    for (const std::size_t vocab : {2u, 5u, 30u}) {
      CAPTURE(temperature);
      CAPTURE(vocab);
      meshloom::vector<float> logits = some_logits(dice, vocab);
      for (const over what : {over::places, over::seeds}) {
        const auto counts = counts_of(logits, temperature, what);
        CHECK(std::abs(misfit(counts, softmax(logits, temperature))) < 4);
        CHECK(misfit(counts, softmax(logits, temperature * 1.25)) > 4);
        meshloom::vector<float> others = logits;
        std::rotate(others.begin(), others.begin() + 1, others.end());
        CHECK(misfit(counts, softmax(others, temperature)) > 4);
      }
    }
  }
}

TEST_CASE("what has the probability 0 is never drawn, wherever it stands") {
  constexpr auto never = static_cast<float>(impossible);
  const meshloom::vector<meshloom::vector<float>> lists{
      {never, 1, 0}, {1, never, 0}, {1, 0, never}, {never, 0, never, 2}};
  for (const auto& logits : lists) {
    CHECK(std::abs(misfit(counts_of(logits, 1.0, over::places), softmax(logits, 1.0))) < 4);
  }
}

TEST_CASE("cold: the largest logit, the first among equals") {
  std::mt19937 dice(4);
  for (std::uint64_t round = 0; round < 200; ++round) {
    const meshloom::vector<float> logits = some_logits(dice, 1 + round % 40);
    const auto largest = std::max_element(logits.begin(), logits.end()) - logits.begin();
    CHECK(meshloom::draw(logits, 0, round, 1) == largest);
    CHECK(meshloom::draw(logits, -1, round, 1) == largest);
    CHECK(meshloom::draw(logits, 1e-9, round, 1) == largest);
  }
  CHECK(meshloom::draw(meshloom::vector<float>{1, 3, 2, 3}, 0, 0, 0) == 1);
}

TEST_CASE("equal seeds and places draw the same, a constant added to every logit changes nothing") {
  meshloom::vector<float> logits(16), moved(16);
  for (std::size_t at = 0; at < logits.size(); ++at) {
    logits[at] = static_cast<float>(at * 7 % 16) / 4;
    moved[at] = logits[at] + 512;  // exact
  }
  int same_seed = 0, same_place = 0;
  for (std::uint64_t place = 0; place < 1000; ++place) {
    const std::int64_t drawn = meshloom::draw(logits, 1.5, 1, place);
    CHECK(meshloom::draw(logits, 1.5, 1, place) == drawn);
    CHECK(meshloom::draw(moved, 1.5, 1, place) == drawn);
    same_seed += meshloom::draw(logits, 1.5, 1, place + 1) == drawn;
    same_place += meshloom::draw(logits, 1.5, 2, place) == drawn;
  }
  CHECK(same_seed < 500);
  CHECK(same_place < 500);
}
