// SPDX-License-Identifier: Apache-2.0
#include <meshloom/kernel/image_columns.hpp>

#include "law.hpp"

#include <doctest/doctest.h>

namespace {

using namespace meshloom;

/// Numbers that are small integers, so that sums of products are exact.
vector<double> numbers(std::int64_t count) {
  vector<double> made(static_cast<std::size_t>(count));
  for (double& each : made) each = static_cast<double>(law::pick(-9, 9));
  return made;
}

/// A shape whose image lies densely, or with its channels `step` apart.
convolution_shape any_shape(std::int64_t step) {
  const auto side = [] {
    convolution_side made{law::pick(1, 9), law::pick(1, 6), law::pick(1, 5), law::pick(1, 3), law::pick(1, 2)};
    made.before = law::pick(-3, 6);
    return made;
  };
  convolution_shape s;
  s.images = law::pick(1, 3);
  s.in = law::pick(1, 40);
  s.high = side();
  s.wide = side();
  s.image = {nullptr, s.high.pixels * s.wide.pixels * s.in * step, s.wide.pixels * s.in * step, s.in * step, 0, step};
  return s;
}

interval any_part(std::int64_t extent) {
  const std::int64_t origin = law::pick(0, extent);
  return {origin, law::pick(0, extent - origin)};
}

/// What column `at` of a position sees, by the definition.
double seen(const convolution_shape& s, const vector<double>& image, std::int64_t position, std::int64_t at) {
  const std::int64_t wide = position % s.wide.positions, line = position / s.wide.positions;
  const std::int64_t tap = at / s.in, channel = at % s.in;
  const std::int64_t h = line % s.high.positions * s.high.stride - s.high.before + tap / s.wide.taps * s.high.dilation;
  const std::int64_t w = wide * s.wide.stride - s.wide.before + tap % s.wide.taps * s.wide.dilation;
  if (h < 0 || h >= s.high.pixels || w < 0 || w >= s.wide.pixels) return 0;
  return image[static_cast<std::size_t>(line / s.high.positions * s.image.outer + h * s.image.high + w * s.image.wide +
                                        channel * s.image.in)];
}

}  // namespace

TEST_CASE("gathered columns are what the taps see, and beyond the image zeros") {
  for (int round = 0; round < 300; ++round) {
    const convolution_shape s = any_shape(law::pick(1, 2));
    const vector<double> image = numbers(s.images * s.image.outer);
    const interval rows = any_part(s.positions()), columns = any_part(s.taps() * s.in);
    vector<double> made(static_cast<std::size_t>(rows.extent * columns.extent + 1), 77);
    gather(s, image.data(), rows, columns, made.data());
    bool same = made.back() == 77;
    for (std::int64_t at = 0; at < rows.extent * columns.extent; ++at) {
      const double expected = seen(s, image, rows.origin + at / columns.extent, columns.origin + at % columns.extent);
      same = same && made[static_cast<std::size_t>(at)] == expected;
    }
    CHECK(same);
  }
}

TEST_CASE("to scatter is the transpose of to gather") {
  for (int round = 0; round < 300; ++round) {
    const convolution_shape s = any_shape(law::pick(1, 2));
    const interval rows = any_part(s.positions()), columns = any_part(s.taps() * s.in);
    const vector<double> image = numbers(s.images * s.image.outer);
    const vector<double> slopes = numbers(rows.extent * columns.extent);
    vector<double> gathered(slopes.size()), scattered = numbers(std::ssize(image)), before = scattered;
    gather(s, image.data(), rows, columns, gathered.data());
    scatter(s, slopes.data(), rows, columns, scattered.data());
    double by_columns = 0, by_pixels = 0;
    for (std::size_t at = 0; at < slopes.size(); ++at) by_columns += gathered[at] * slopes[at];
    for (std::size_t at = 0; at < image.size(); ++at) by_pixels += image[at] * (scattered[at] - before[at]);
    CHECK(by_columns == by_pixels);
  }
}
