// SPDX-License-Identifier: Apache-2.0
#include <meshloom/kernel/convolution_shape.hpp>

#include "law.hpp"

#include <doctest/doctest.h>

namespace {

using namespace meshloom;

/// The call of a forward convolution, one channel, with a shard of the rows of `whole` pixels.
call shard_of_rows(const stencil& shape, std::int64_t whole, interval positions) {
  const interval pixels = window_over(shape, false, positions, whole);
  call with;
  with.operand[0] = {.extent = {1, pixels.extent, 1, 1}, .global = {1, whole, 1, 1}, .origin = {0, pixels.origin}};
  with.operand[1] = {.extent = {shape.taps, 1, 1, 1}, .global = {shape.taps, 1, 1, 1}};
  with.result[0] = {.extent = {1, positions.extent, 1, 1},
                    .global = {1, shape.positions(whole), 1, 1},
                    .origin = {0, positions.origin}};
  const attribute_list attributes = attributes_of(shape, {});
  std::copy(attributes.begin(), attributes.end(), with.attribute);
  return with;
}

convolution_side rows_of(const stencil& shape, std::int64_t whole, interval positions) {
  return shape_of_convolution<op::channels::dense>(convolution_pass::forward, shard_of_rows(shape, whole, positions))
      .high;
}

}  // namespace

TEST_CASE("the padding of a shard is what it lacks, before and after") {
  const stencil same{3, 1, 1, 1};
  CHECK(rows_of(same, 8, {0, 8}) == convolution_side{8, 8, 3, 1, 1, 1, 1});
  CHECK(rows_of(same, 8, {0, 3}) == convolution_side{4, 3, 3, 1, 1, 1, 0});
  CHECK(rows_of(same, 8, {3, 2}) == convolution_side{4, 2, 3, 1, 1, 0, 0});
  CHECK(rows_of(same, 8, {5, 3}) == convolution_side{4, 3, 3, 1, 1, 0, 1});
}

TEST_CASE("a shard's positions and taps meet where the whole ones do") {
  for (int round = 0; round < 300; ++round) {
    const stencil shape{law::pick(1, 5), law::pick(1, 3), law::pick(0, 4), law::pick(1, 3)};
    const std::int64_t whole = law::pick(1, 12), all = shape.positions(whole);
    const std::int64_t first = law::pick(0, all), count = law::pick(0, all - first);
    const call with = shard_of_rows(shape, whole, {first, count});
    const convolution_side made = rows_of(shape, whole, {first, count});
    bool same = made.positions == count && made.pixels == with.operand[0].extent[1];
    for (std::int64_t position = 0; position < count; ++position) {
      for (std::int64_t tap = 0; tap < shape.taps; ++tap) {
        const std::int64_t pixel = (first + position) * shape.stride - shape.padding + tap * shape.dilation;
        const std::int64_t here = made.pixel(position, tap);
        same = same && here + with.operand[0].origin[1] == pixel;
        same = same && (pixel < 0 || pixel >= whole) == (here < 0 || here >= made.pixels);
      }
    }
    if (count > 0) same = same && made.pixel(count - 1, shape.taps - 1) == made.pixels - 1 + made.after;
    CHECK(same);
  }
}
