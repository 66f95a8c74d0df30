// SPDX-License-Identifier: Apache-2.0
// Packings never overlap, are optimal where that can be checked by brute force, and near the bound on training bodies.
#include <meshloom/schedule/packing.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>

namespace ml = meshloom;

namespace {

std::int64_t round_up(std::int64_t size, std::int64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

bool alive_together(const ml::lifetime& a, const ml::lifetime& b) {
  return std::max(a.begin, b.begin) < std::min(a.end, b.end);
}

/// Empty if the packing keeps its law, else why not. Compares every pair.
std::string fault(const ml::vector<ml::lifetime>& buffers, const ml::packing& packed, std::int64_t alignment = 64) {
  if (packed.offset.size() != buffers.size()) return "a buffer without an offset";
  if (packed.total < packed.bound) return "less than the bound";
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const std::int64_t low = packed.offset[i].count, high = low + buffers[i].size.count;
    if (low < 0 || low % alignment != 0) return "misaligned";
    if (buffers[i].begin < buffers[i].end && high > packed.total.count) return "outside the arena";
    for (std::size_t j = 0; j < i; ++j) {
      const std::int64_t other_low = packed.offset[j].count, other_high = other_low + buffers[j].size.count;
      if (alive_together(buffers[i], buffers[j]) && std::max(low, other_low) < std::min(high, other_high))
        return "overlap";
    }
  }
  return "";
}

std::int64_t bound_by_instants(const ml::vector<ml::lifetime>& buffers, std::int64_t alignment) {
  std::int64_t most = 0;
  for (const auto& instant : buffers) {  // the sum can only rise where a buffer begins
    std::int64_t alive = 0;
    for (const auto& b : buffers) {
      if (b.begin <= instant.begin && instant.begin < b.end) alive += round_up(b.size.count, alignment);
    }
    most = std::max(most, alive);
  }
  return most;
}

/// The smallest arena: in every order, each buffer lies on top of all earlier ones alive with it. Some order does so in
/// an optimal packing: the order of its offsets.
std::int64_t smallest_arena(const ml::vector<ml::lifetime>& buffers, std::int64_t alignment) {
  ml::vector<std::size_t> order(buffers.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::int64_t smallest = -1;
  do {
    ml::vector<std::int64_t> high(buffers.size(), 0);
    for (std::size_t i = 0; i < order.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (alive_together(buffers[order[i]], buffers[order[j]]))
          high[order[i]] = std::max(high[order[i]], high[order[j]]);
      }
      high[order[i]] += round_up(buffers[order[i]].size.count, alignment);
    }
    const std::int64_t total = *std::max_element(high.begin(), high.end());
    smallest = smallest < 0 ? total : std::min(smallest, total);
  } while (std::next_permutation(order.begin(), order.end()));
  return smallest;
}

/// A training body as lifetimes: going forward every layer makes buffers that live until its backward, first made last
/// dropped, and short ones; going backward it makes short ones.
ml::vector<ml::lifetime> training_body(std::size_t count, std::mt19937& random) {
  const auto below = [&](unsigned n) { return static_cast<std::int32_t>(random() % n); };
  const auto size = [&] { return ml::bytes{(1 + below(40)) * (1LL << (4 + 2 * below(6)))}; };
  ml::vector<ml::lifetime> body;
  ml::vector<std::size_t> kept;
  std::int32_t now = 0;
  while (body.size() < count * 2 / 3) {
    const bool keep = below(3) == 0;
    if (keep) kept.push_back(body.size());
    body.push_back({size(), now, now + 1 + below(5)});
    ++now;
  }
  while (body.size() < count || !kept.empty()) {
    if (body.size() < count) body.push_back({size(), now, now + 1 + below(4)});
    if (!kept.empty() && below(3) > 0) {
      body[kept.back()].end = now + 1;
      kept.pop_back();
    }
    ++now;
  }
  return body;
}

}  // namespace

TEST_CASE("small packings are optimal") {
  std::mt19937 random(64);
  const auto below = [&](unsigned n) { return static_cast<std::int32_t>(random() % n); };
  for (int round = 0; round < 1000; ++round) {
    ml::vector<ml::lifetime> buffers;
    for (int count = 1 + below(6); count > 0; --count) {
      const std::int32_t begin = below(8);
      buffers.push_back({{below(600)}, begin, begin + 1 + below(6)});
    }
    const std::int64_t alignment = round % 2 == 0 ? 64 : 1;
    const auto packed = ml::pack(buffers, alignment);
    CAPTURE(round);
    CHECK(fault(buffers, packed, alignment) == "");
    CHECK(packed.bound.count == bound_by_instants(buffers, alignment));
    CHECK(packed.total.count == smallest_arena(buffers, alignment));
  }
}

TEST_CASE("training bodies are packed near the bound") {
  std::mt19937 random(2020);
  double sum = 0;
  int bodies = 0;
  for (const std::size_t count : {200u, 300u, 500u, 800u, 1300u, 2000u}) {
    for (int round = 0; round < 5; ++round) {
      const auto buffers = training_body(count, random);
      const auto packed = ml::pack(buffers);
      CHECK(fault(buffers, packed) == "");
      CHECK(packed.bound.count == bound_by_instants(buffers, 64));
      sum += static_cast<double>(packed.total.count) / static_cast<double>(packed.bound.count);
      ++bodies;
    }
  }
  CHECK(sum / bodies <= 1.05);
}

TEST_CASE("the checker rejects every planted overlap") {
  std::mt19937 random(5);
  const auto buffers = training_body(60, random);
  const auto right = ml::pack(buffers);
  REQUIRE(fault(buffers, right) == "");
  int planted = 0;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    for (std::size_t j = 0; j < buffers.size(); ++j) {
      if (i == j || !alive_together(buffers[i], buffers[j])) continue;
      auto wrong = right;
      wrong.offset[i] = wrong.offset[j];
      CHECK(fault(buffers, wrong) != "");
      ++planted;
    }
  }
  CHECK(planted > 50);
  auto wrong = right;
  wrong.total = {right.bound.count - 1};
  CHECK(fault(buffers, wrong) == "less than the bound");
}

TEST_CASE("nothing, empty buffers and empty lifetimes take no room") {
  CHECK(ml::pack({}).total == ml::bytes{0});
  const ml::vector<ml::lifetime> buffers{{{0}, 0, 9}, {{100}, 4, 4}, {{100}, 0, 5}, {{1}, 5, 6}, {{0}, 2, 3}};
  const auto packed = ml::pack(buffers);
  CHECK(fault(buffers, packed) == "");
  CHECK(packed.total == ml::bytes{128});
  CHECK(packed.bound == ml::bytes{128});
}

TEST_CASE("bad lifetimes are refused") {
  CHECK_THROWS_AS(ml::pack(ml::vector<ml::lifetime>{{{-1}, 0, 1}}), ml::error);
  CHECK_THROWS_AS(ml::pack(ml::vector<ml::lifetime>{{{1}, 2, 1}}), ml::error);
  CHECK_THROWS_AS(ml::pack(ml::vector<ml::lifetime>{{{1}, 0, 1}}, 0), ml::error);
}

namespace {

/// Copies of a part, behind a prelude: buffers that live in one copy, some that the next one reads, and perhaps some
/// that live all along or, in a body that cannot be told from a short one, from every copy to the end.
class copied_body {
 public:
  copied_body(std::mt19937& from, bool to_the_end) : length_(4 + static_cast<std::int32_t>(from() % 5)) {
    const auto size = [&] { return ml::bytes{64 * static_cast<std::int64_t>(1 + from() % 6)}; };
    for (auto buffers = 2 + from() % 5; buffers > 0; --buffers) {
      const auto begin = static_cast<std::int32_t>(from() % static_cast<std::size_t>(length_));
      const auto lives = 1 + static_cast<std::int32_t>(from() % static_cast<std::size_t>(length_));
      copy_.push_back({size(), begin, begin + lives});
    }
    std::sort(copy_.begin(), copy_.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    prelude_ = length_ * static_cast<std::int32_t>(1 + from() % 8);
    for (auto buffers = from() % 5; buffers > 0; --buffers) {
      const auto begin = static_cast<std::int32_t>(from() % static_cast<std::size_t>(prelude_));
      const auto lives = 1 + from() % static_cast<std::size_t>(prelude_ + length_ - begin);
      first_.push_back({size(), begin, begin + static_cast<std::int32_t>(lives)});
    }
    for (auto buffers = from() % 3; buffers > 0; --buffers)
      all_along_.push_back({size(), static_cast<std::int32_t>(from() % static_cast<std::size_t>(prelude_)), 0});
    if (to_the_end) to_the_end_ = size();
  }

  ml::vector<ml::lifetime> lives(std::int32_t copies) const {
    const std::int32_t end = prelude_ + length_ * copies + length_;
    ml::vector<ml::lifetime> all = first_;
    for (const ml::lifetime& each : all_along_) all.push_back({each.size, each.begin, end});
    for (std::int32_t k = 0; k < copies; ++k) {
      const std::int32_t begin = prelude_ + k * length_;
      for (const ml::lifetime& each : copy_) all.push_back({each.size, each.begin + begin, each.end + begin});
      if (to_the_end_.count > 0) all.push_back({to_the_end_, begin + length_ - 1, end});
    }
    all.push_back({ml::bytes{128}, end - 1, end});
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    return all;
  }

  /// The copy in the middle of five.
  ml::refrain middle(std::int64_t times) const {
    const std::int32_t begin = prelude_ + 2 * length_;
    return {begin - length_, begin, begin + length_, begin + 2 * length_, times};
  }

 private:
  std::int32_t length_, prelude_ = 0;
  ml::vector<ml::lifetime> first_, copy_, all_along_;
  ml::bytes to_the_end_;
};

}  // namespace

TEST_CASE("what is said of a longer body from a short one is what it packs to") {
  std::mt19937 from(5);
  int said = 0, silent = 0;
  for (int round = 0; round < 1500; ++round) {
    const copied_body body(from, false);
    for (const std::int32_t more : {0, 1, 2, 7, 60}) {
      const ml::refrain middle = body.middle(1 + more);
      const auto total = ml::total_with(std::span(&middle, 1), body.lives(5));
      ++(total ? said : silent);
      if (total) CHECK(*total == ml::pack(body.lives(5 + more)).total);
    }
  }
  CHECK(said > 5000);
  CHECK(silent > 100);
}

TEST_CASE("of a body in which every copy leaves something that stays, nothing is said") {
  std::mt19937 from(6);
  for (int round = 0; round < 100; ++round) {
    const copied_body body(from, true);
    const ml::refrain middle = body.middle(3);
    CHECK_FALSE(ml::total_with(std::span(&middle, 1), body.lives(5)));
  }
}
