// SPDX-License-Identifier: Apache-2.0
// The columns of an image (im2col): a matrix whose row is a position of a convolution, and whose columns are the
// channels that its taps see there, tap after tap. `gather` copies a part of it out of an image, `scatter` adds one
// into an image. Law: what lies beyond the image is gathered as zero, and scattered to nowhere.
#pragma once

#include <meshloom/kernel/convolution_shape.hpp>
#include <meshloom/kernel/team.hpp>

#include <algorithm>
#include <cstring>

namespace meshloom {

namespace detail {

/// Copies short runs without a call: whole blocks, and for the rest the last block again, shifted.
template <std::int64_t Block = 16, class Element>
void copy_run(const Element* from, Element* to, std::int64_t count) {
  if constexpr (Block > 1) {
    if (count < Block) return copy_run<Block / 2>(from, to, count);
  }
  const auto copy_block = [=](std::int64_t at) { std::memcpy(to + at, from + at, Block * sizeof(Element)); };
  for (std::int64_t at = 0; at + Block <= count; at += Block) copy_block(at);
  if (count % Block != 0) copy_block(count - Block);
}

/// Columns that are neighbours in the matrix and in the image: `begin` … `end` of a part's row, of which only `first` …
/// `last` lie in the image.
struct column_run {
  std::int64_t begin = 0, first = 0, last = 0, end = 0;
  std::int64_t pixel = 0;  ///< where `first` is in the image
};

/// Calls visit(row of the part, run) for all runs of a part of the matrix.
template <class Visit>
void for_each_run(const convolution_shape& s, interval positions, interval columns, Visit visit) {
  if (columns.extent == 0) return;
  // Where the channels of neighbouring pixels are neighbours, a run has all taps of a row.
  const bool joined = s.wide.dilation == 1 && s.image.in == 1 && s.image.wide == s.in;
  const std::int64_t taps = joined ? s.wide.taps : 1, length = taps * s.in;
  const std::int64_t end = columns.origin + columns.extent;
  for (std::int64_t row = 0; row < positions.extent; ++row) {
    const std::int64_t position = positions.origin + row, line = position / s.wide.positions;
    const std::int64_t high = line % s.high.positions, wide = position % s.wide.positions;
    const std::int64_t image = line / s.high.positions * s.image.outer;
    for (std::int64_t run = columns.origin / length; run * length < end; ++run) {
      const std::int64_t h = s.high.pixel(high, joined ? run : run / s.wide.taps);
      const std::int64_t w = s.wide.pixel(wide, joined ? 0 : run % s.wide.taps);
      const std::int64_t left = std::max(columns.origin - run * length, std::int64_t{0});
      const std::int64_t right = std::min(end - run * length, length);
      const bool inside = h >= 0 && h < s.high.pixels;
      const std::int64_t first = inside ? std::clamp(-w * s.in, left, right) : left;
      const std::int64_t last = inside ? std::clamp((s.wide.pixels - w) * s.in, first, right) : first;
      const std::int64_t shift = run * length - columns.origin;
      visit(row, column_run{left + shift, first + shift, last + shift, right + shift,
                            image + h * s.image.high + w * s.image.wide + first * s.image.in});
    }
  }
}

}  // namespace detail

/// Copies a part of the columns of one group's image to a dense matrix.
template <class Element>
void gather(const convolution_shape& s, const Element* image, interval positions, interval columns, Element* to) {
  detail::for_each_run(s, positions, columns, [&](std::int64_t row, const detail::column_run& run) {
    Element* const line = to + row * columns.extent;
    std::fill(line + run.begin, line + run.first, Element(0));
    if (s.image.in == 1)
      detail::copy_run(image + run.pixel, line + run.first, run.last - run.first);
    else
      for (std::int64_t i = run.first; i < run.last; ++i) line[i] = image[run.pixel + (i - run.first) * s.image.in];
    std::fill(line + run.last, line + run.end, Element(0));
  });
}

/// Adds a part of the columns, a dense matrix, to one group's image.
template <class Element>
void scatter(const convolution_shape& s, const Element* from, interval positions, interval columns, Element* image) {
  detail::for_each_run(s, positions, columns, [&](std::int64_t row, const detail::column_run& run) {
    const Element* const line = from + row * columns.extent + run.first;
    Element* const pixel = image + run.pixel;
    const std::int64_t step = s.image.in;
    if (step == 1)
      host_team{}.for_each(run.last - run.first, [=](std::int64_t i) { pixel[i] += line[i]; });
    else
      for (std::int64_t i = 0; i < run.last - run.first; ++i) pixel[i * step] += line[i];
  });
}

}  // namespace meshloom
