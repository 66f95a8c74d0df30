// SPDX-License-Identifier: Apache-2.0
// planner/intra_refusal.hpp: each sentence says what is proven, and no more.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_refusal.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

namespace {

/// Two choices alive together at time 1, which must not both be lean.
ml::intra_problem tight() {
  const auto f = ml::forbidden;
  return {{{{{1}, {1}}, {{10}, {30}}, 0, 2}, {{{1}, {1}}, {{10}, {40}}, 1, 3}},
          {{0, 1, {f, {0}, {0}, {0}}}},
          ml::bytes{30},
          3};
}

}  // namespace

TEST_CASE("the least memory of a time is named where it is proven") {
  CHECK(ml::intra::refusal(tight(), {}, true, 1 << 20) ==
        "every assignment needs at least 40 bytes at time 1, and the limit is 30 bytes");
  CHECK(ml::intra::refusal(tight(), {1, 0}, false, 1 << 20) ==
        "every assignment needs at least 40 bytes at time 1, and the limit is 30 bytes");
}

TEST_CASE("couplings that allow nothing are named, with or without a limit") {
  ml::intra_problem posed = tight();
  posed.couplings.push_back({1, 0, {ml::forbidden, ml::forbidden, ml::forbidden, ml::forbidden}});
  CHECK(ml::intra::refusal(posed, {}, true, 1 << 20) == "the couplings forbid every assignment");
  posed.limit.reset();
  CHECK(ml::intra::refusal(posed, {}, false, 1 << 20) == "the couplings forbid every assignment");
}

TEST_CASE("where each time alone has room, the leanest assignment met is named") {
  ml::intra_problem posed = tight();  // at time 0 the first must be lean, at time 2 the second
  posed.limit = ml::bytes{40};
  posed.choices.push_back({{{0}}, {{20}}, 0, 1});
  posed.choices.push_back({{{0}}, {{15}}, 2, 3});
  CHECK(try_all(posed).best == std::nullopt);
  CHECK(ml::intra::refusal(posed, {1, 0, 0, 0}, true, 1 << 20) ==
        "no assignment stays within the limit of 40 bytes at all times; the leanest one met needs 50 bytes at time 0");
  CHECK(ml::intra::refusal(posed, {1, 0, 0, 0}, false, 1 << 20) ==
        "met no assignment within the limit of 40 bytes, and did not prove that there is none; the leanest one met "
        "needs 50 "
        "bytes at time 0; allow more rounds or nodes");
  posed.limit.reset();
  CHECK(ml::intra::refusal(posed, {}, false, 0) ==
        "met no assignment that the couplings allow; allow more rounds or nodes");
}
