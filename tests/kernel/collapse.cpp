// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/vector.hpp>
#include <meshloom/kernel/collapse.hpp>

#include <doctest/doctest.h>

#include <random>

namespace {

/// The offsets of all elements of a view, in row-major order.
meshloom::vector<std::int64_t> offsets(const meshloom::view& tensor) {
  meshloom::vector<std::int64_t> made;
  for (std::int64_t which = 0; which < tensor.count(); ++which) {
    std::int64_t rest = which, offset = 0;
    for (int axis = tensor.rank - 1; axis >= 0; --axis) {
      offset += rest % tensor.extent[axis] * tensor.stride[axis];
      rest /= tensor.extent[axis];
    }
    made.push_back(offset);
  }
  return made;
}

}  // namespace

TEST_CASE("a collapsed view has the same elements in the same order") {
  std::mt19937 dice{3};
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(dice); };
  int merged = 0;
  for (int round = 0; round < 500; ++round) {
    meshloom::view dense, other;
    dense.rank = other.rank = pick(0, meshloom::max_rank);
    for (int axis = 0; axis < dense.rank; ++axis)
      dense.extent[axis] = other.extent[axis] = pick(0, 9) == 0 ? 0 : pick(1, 3);
    meshloom::make_dense(dense);
    meshloom::make_dense(other);
    for (int axis = 0; axis < other.rank; ++axis)
      other.stride[axis] = pick(0, 2) == 0 ? 0 : other.stride[axis];  // broadcast
    const auto before = offsets(dense), before_other = offsets(other);
    const int first = pick(0, dense.rank), last = pick(first, dense.rank), rank = dense.rank;
    meshloom::view* both[] = {&dense, &other};
    const int kept = meshloom::collapse(both, first, last);
    CHECK(dense.rank == rank - (last - first) + kept);
    CHECK(offsets(dense) == before);
    CHECK(offsets(other) == before_other);
    merged += kept < last - first;
  }
  CHECK(merged > 100);
}

TEST_CASE("a dense tensor alone collapses to one axis, and not across a gap") {
  meshloom::view dense{.extent = {2, 1, 3, 4}, .rank = 4};
  meshloom::make_dense(dense);
  meshloom::view gap = dense;
  gap.stride[0] += 1;
  meshloom::view* one[] = {&dense};
  CHECK(meshloom::collapse(one, 0, 4) == 1);
  CHECK(dense.extent[0] == 24);
  meshloom::view* other[] = {&gap};
  CHECK(meshloom::collapse(other, 0, 4) == 2);
}
