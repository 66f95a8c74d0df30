// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"
#include "lone.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace {

namespace ml = meshloom;
using ml::op::dropout;

template <int Rank, class Element>
void check_dropout() {
  using operation = dropout<Rank>;
  for (int round = 0; round < 30; ++round) {
    law::trial how = law::lengths(Rank);
    how.attributes = {0.3, static_cast<double>(round), static_cast<double>(round % (Rank + 1) - 1)};
    how.step = static_cast<std::uint64_t>(round / 2);
    CHECK(law::holds<operation, Element>(how));
    CHECK(law::checker<operation, Element>{how}.holds(law::run_alone<ml::kernel_of<operation>, Element>));
  }
}

/// Takes the first element of a shard for the first of all.
struct without_origin : ml::kernel_of<dropout<2>> {
  static ml::call arrange(const ml::call& with) {
    ml::call made = kernel_of::arrange(with);
    made.operand[1].origin[0] = 0;
    return made;
  }
};

/// What is asked of a mask.
struct asked {
  std::uint64_t seed = 7, step = 0, number = 0;
  double stream = 0, rate = 0.25;
};

/// The mask of a tensor of ones, times 1 − rate; or of one of its micro-batches along an axis.
ml::vector<float> mask_of(std::array<std::int64_t, 3> extents, const asked& what, int cut = -1, int part = 0,
                          int parts = 1) {
  ml::call with;
  if (cut >= 0) extents[static_cast<std::size_t>(cut)] /= parts;
  ml::view& x = with.operand[0];
  x.rank = 3;
  std::copy(extents.begin(), extents.end(), x.extent);
  std::copy(extents.begin(), extents.end(), x.global);
  ml::make_dense(x);
  ml::vector<float> ones(static_cast<std::size_t>(x.count()), static_cast<float>(1 - what.rate)), made(ones.size());
  x.data = ones.data();
  with.result[0] = x;
  with.result[0].data = made.data();
  with.attribute[0] = what.rate;
  with.attribute[1] = what.stream;
  with.attribute[2] = cut;
  with.seed = what.seed;
  with.step = what.step;
  with.number = what.number;
  with.micro_batch = static_cast<std::uint64_t>(part);
  with.micro_batches = static_cast<std::uint64_t>(parts);
  ml::run_on_host<ml::kernel_of<dropout<3>>, float>(with);
  return made;
}

/// True if the masks of micro-batches, put together, are that of the whole batch.
bool same_in_parts(std::array<std::int64_t, 3> extents, int cut, int parts) {
  const auto whole = mask_of(extents, {}, cut);
  std::int64_t outer = 1, inner = 1;
  for (int axis = 0; axis < 3; ++axis) {
    if (axis != cut) (axis < cut ? outer : inner) *= extents[static_cast<std::size_t>(axis)];
  }
  const std::int64_t length = extents[static_cast<std::size_t>(cut)], share = length / parts;
  for (int part = 0; part < parts; ++part) {
    const auto made = mask_of(extents, {}, cut, part, parts);
    for (std::int64_t i = 0; i < std::ssize(made); ++i) {
      const std::int64_t at = (i / inner / share * length + part * share + i / inner % share) * inner + i % inner;
      if (made[static_cast<std::size_t>(i)] != whole[static_cast<std::size_t>(at)]) return false;
    }
  }
  return static_cast<std::int64_t>(whole.size()) == outer * length * inner;
}

constexpr std::array<std::int64_t, 3> large{64, 125, 128};
constexpr double count = 64 * 125 * 128;

/// How far two masks are from independent, in standard deviations: kept in both has the probability (1 − rate)².
double dependence(const ml::vector<float>& one, const ml::vector<float>& other, double rate) {
  double both = 0;
  for (std::size_t i = 0; i < one.size(); ++i) both += one[i] != 0 && other[i] != 0;
  const double share = (1 - rate) * (1 - rate);
  return std::abs(both - count * share) / std::sqrt(count * share * (1 - share));
}

}  // namespace

TEST_CASE("dropout equals the reference, whole and on uneven shards, by lanes and alone") {
  check_dropout<1, float>();
  check_dropout<2, double>();
  check_dropout<3, float>();
  check_dropout<4, double>();
  check_dropout<2, ml::bf16>();
  check_dropout<3, ml::f16>();
}

TEST_CASE("the mask of a sample is the same in every number of micro-batches, whichever axis they cut") {
  for (const int parts : {1, 2, 4, 8}) {
    CHECK(same_in_parts({8, 5, 70}, 0, parts));
    CHECK(same_in_parts({3, 8, 33}, 1, parts));
    CHECK(same_in_parts({7, 11, 16}, 2, parts));
  }
  CHECK(mask_of({4, 5, 70}, {}, 0, 1, 2) != mask_of({4, 5, 70}, {}, 0, 0, 2));
}

TEST_CASE("the share that is kept is 1 - rate, and the mean of what remains is that of x") {
  for (const double rate : {0.1, 0.25, 0.5, 0.9}) {
    const auto mask = mask_of(large, {.rate = rate});
    double kept = 0;
    for (const float each : mask) {
      kept += each != 0;
      if (each != 0 && each != doctest::Approx(1).epsilon(1e-4)) FAIL("neither dropped nor divided by 1 - rate");
    }
    CHECK(std::abs(kept - count * (1 - rate)) < 4 * std::sqrt(count * rate * (1 - rate)));
  }
}

TEST_CASE("seed, step, layer and copy each draw another mask, and the operator does not") {
  const asked usual{};
  const auto mask = mask_of(large, usual);
  for (const asked& other : {asked{.seed = 8}, asked{.seed = 7 + (1ull << 32)}, asked{.step = 1}, asked{.stream = 1},
                             asked{.number = 1}, asked{.number = 2}, asked{.step = 1, .number = 1}}) {
    CHECK(dependence(mask, mask_of(large, other), usual.rate) < 4);
  }
  CHECK(mask_of(large, {.number = 5ull << ml::copy_bits}) == mask);  // the forward of a layer and its backward
  CHECK(dependence(mask, mask, usual.rate) > 100);
  ml::vector<float> shifted(mask.begin() + 1, mask.end());
  shifted.push_back(mask.front());
  CHECK(dependence(mask, shifted, usual.rate) < 4);
}

TEST_CASE("the law rejects masks drawn from the start of a shard") {
  const law::trial how{.extent = {40, 30}, .attributes = {0.5, 0, 0}};
  CHECK(law::holds<dropout<2>, float>(how));
  CHECK_FALSE(law::holds<dropout<2>, float, without_origin>(how));
}
