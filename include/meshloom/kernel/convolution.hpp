// SPDX-License-Identifier: Apache-2.0
// Convolution and its gradients as matrix products. A tile of the image's columns is gathered into the arithmetic's
// scratch and multiplied by the weight, or the other way round (Chellapilla et al. 2006). Pixels that already lie like
// columns (1 × 1) are multiplied where they are, and depthwise channels, which are no matrix product, are multiplied
// line by line. An arithmetic that convolves by itself goes first. Law: no heap traffic; a result's sum has one order,
// and of numbers of 16 bits it is float, rounded once.
#pragma once

#include <meshloom/kernel/contraction.hpp>
#include <meshloom/kernel/image_columns.hpp>

#include <span>

namespace meshloom {

/// An arithmetic that convolves by itself; it returns false, having done nothing, if it cannot, or would be slower.
template <class Arithmetic, class Element>
concept convolving_arithmetic = requires(Arithmetic& how, const convolution_shape& shape) {
  { how.template convolve<Element>(shape) } -> std::same_as<bool>;
};

namespace detail {

/// How many positions follow each other at equal distances in a tensor, from any multiple of as many.
constexpr std::int64_t even_positions(const convolution_shape& s, const convolution_tensor& tensor) {
  std::int64_t count = s.wide.positions;
  if (s.high.positions > 1 && tensor.high != count * tensor.wide) return count;
  count *= s.high.positions;
  return s.images > 1 && tensor.outer != count * tensor.wide ? count : count * s.images;
}

/// True if every position's only tap is the pixel of the same number.
constexpr bool is_pointwise(const convolution_shape& s) {
  const auto same = [](const convolution_side& side) {
    return side.taps == 1 && side.stride == 1 && side.before == 0 && side.pixels == side.positions;
  };
  return same(s.high) && same(s.wide);
}

/// Where a position is in an image-like tensor.
constexpr std::int64_t offset_of(const convolution_shape& s, const convolution_tensor& tensor, std::int64_t position) {
  const std::int64_t line = position / std::max<std::int64_t>(s.wide.positions, 1);
  const std::int64_t image = line / std::max<std::int64_t>(s.high.positions, 1);
  return image * tensor.outer + (line - image * s.high.positions) * tensor.high +
         (position - line * s.wide.positions) * tensor.wide;
}

/// Calls visit(columns, offset in the weight) for the stretches of columns whose rows of the weight lie evenly.
template <class Visit>
void for_each_stretch(const convolution_shape& s, interval columns, Visit visit) {
  const bool even = (s.wide.taps == 1 || s.weight.wide == s.in * s.weight.in) &&
                    (s.high.taps == 1 || s.weight.high == s.wide.taps * s.in * s.weight.in);
  if (even || columns.extent == 0) return visit(columns, columns.origin * s.weight.in);
  const std::int64_t end = columns.origin + columns.extent;
  for (std::int64_t at = columns.origin; at < end;) {
    const std::int64_t tap = at / s.in, next = std::min(end, (tap + 1) * s.in);
    visit(interval{at, next - at},
          tap / s.wide.taps * s.weight.high + tap % s.wide.taps * s.weight.wide + (at - tap * s.in) * s.weight.in);
    at = next;
  }
}

/// Zeros; extents and strides are those of the axes, outermost first.
template <class Element>
void clear(Element* to, std::span<const std::int64_t> extents, std::span<const std::int64_t> strides) {
  if (extents.empty()) {
    *to = 0;
  } else if (extents.back() == 1) {
    clear(to, extents.first(extents.size() - 1), strides);
  } else if (extents.size() == 1 && strides[0] == 1) {
    std::fill(to, to + extents[0], Element(0));
  } else {
    for (std::int64_t i = 0; i < extents[0]; ++i) clear(to + i * strides[0], extents.subspan(1), strides.subspan(1));
  }
}

template <class Element>
void clear_image(const convolution_shape& s) {
  const std::array<std::int64_t, 5> extents{s.images, s.high.pixels, s.wide.pixels, s.groups, s.in};
  const std::array<std::int64_t, 5> strides{s.image.outer, s.image.high, s.image.wide, s.image.group, s.image.in};
  clear(s.image.as<Element>(), extents, strides);
}

}  // namespace detail

/// How the columns of a group are cut into tiles: so many positions, never across a multiple of `even`, by so many
/// columns, for so many channels of the result. The positions of a tile lie evenly where products read or write them.
struct column_plan {
  bool in_place = false;     ///< the columns are multiplied where they are, in the image
  bool sums_beside = false;  ///< products add up beside the result, of which numbers of 16 bits are rounded once
  std::int64_t positions = 0, columns = 0;
  std::int64_t tall = 0, even = 0, deep = 0, wide = 0;
};

/// The plan for a scratch of `room` elements.
template <class Element>
constexpr column_plan plan_columns(const convolution_shape& s, std::int64_t room) {
  constexpr std::int64_t usual = 384;  // deep enough for a matrix product, and leaves room for many positions
  column_plan made{.in_place = detail::is_pointwise(s), .positions = s.positions(), .columns = s.taps() * s.in};
  made.sums_beside = half_type<Element> && s.pass == convolution_pass::forward;
  const std::int64_t parts = made.in_place ? 1 : std::max<std::int64_t>(1, (made.columns + usual - 1) / usual);
  made.deep = std::max<std::int64_t>(1, (made.columns + parts - 1) / parts);
  constexpr std::int64_t of_sum = sizeof(computed<Element>) / sizeof(Element);
  const std::int64_t gathered = made.in_place ? 0 : made.deep;
  made.wide = made.sums_beside ? std::min(s.out, (room - gathered) / of_sum) : s.out;
  made.tall = room / std::max<std::int64_t>(1, gathered + (made.sums_beside ? of_sum * made.wide : 0));
  made.even = made.sums_beside ? made.positions : detail::even_positions(s, s.result);
  if (made.in_place) made.even = std::min(made.even, detail::even_positions(s, s.image));
  if (made.in_place && !made.sums_beside) made.tall = made.even;
  return made;
}

/// A part of the products of one group: of which positions, columns and channels of the result, the matrix of columns,
/// gathered or the pixels where they are, and where forward products add up.
template <class Element>
struct column_tile {
  std::int64_t group = 0;
  interval positions{}, columns{}, results{};
  Element* data = nullptr;
  std::int64_t row = 0, column = 1;
  computed<Element>* sums = nullptr;
  std::int64_t sums_row = 0, sums_column = 1;

  /// Where the tile's results begin.
  Element* in_result(const convolution_shape& s) const {
    return s.result.as<Element>() + group * s.result.group + results.origin * s.result.out +
           detail::offset_of(s, s.result, positions.origin);
  }
};

/// The products of a tile.
template <class Element, arithmetic<Element> Arithmetic>
void multiply_columns(Arithmetic& how, const convolution_shape& s, const column_tile<Element>& tile) {
  const std::int64_t rows = tile.positions.extent, results = tile.results.extent;
  Element* const y = tile.in_result(s);
  detail::for_each_stretch(s, tile.columns, [&](interval columns, std::int64_t from) {
    Element* const x = tile.data + (columns.origin - tile.columns.origin) * tile.column;
    const std::int64_t in_weight = tile.group * s.weight.group + from + tile.results.origin * s.weight.out;
    const Element* const w = s.weight.as<Element>() + in_weight;
    if (s.pass == convolution_pass::forward) {
      how.template gemm<Element>(rows, results, columns.extent, x, tile.row, tile.column, w, s.weight.in, s.weight.out,
                                 columns.origin > 0, tile.sums, tile.sums_row, tile.sums_column);
    } else if (s.pass == convolution_pass::gradient_image) {
      how.template gemm<Element>(rows, columns.extent, results, y, s.result.wide, s.result.out, w, s.weight.out,
                                 s.weight.in, false, x, tile.row, tile.column);
    } else {
      how.template gemm<Element>(columns.extent, results, rows, x, tile.column, tile.row, y, s.result.wide,
                                 s.result.out, s.accumulate || tile.positions.origin > 0,
                                 s.weight.as<computed<Element>>() + in_weight, s.weight.in, s.weight.out);
    }
  });
}

/// One tile: where its columns are to be, `room` or the image, its products, and what is done before or after.
template <class Element, arithmetic<Element> Arithmetic>
void convolve_tile(Arithmetic& how, const convolution_shape& s, bool in_place, column_tile<Element> tile,
                   Element* room) {
  Element* const image = s.image.as<Element>() + tile.group * s.image.group;
  if (in_place) {
    tile.data = image + detail::offset_of(s, s.image, tile.positions.origin);
    tile.row = s.image.wide;
    tile.column = s.image.in;
    return multiply_columns<Element>(how, s, tile);
  }
  tile.data = room;
  tile.row = tile.columns.extent;
  const bool to_image = s.pass == convolution_pass::gradient_image;
  if (!to_image) gather(s, image, tile.positions, tile.columns, room);
  multiply_columns<Element>(how, s, tile);
  if constexpr (!half_type<Element>) {
    if (to_image) scatter(s, room, tile.positions, tile.columns, image);
  }
}

/// Rounds what has added up beside the result.
template <class Element>
void store_sums(const convolution_shape& s, const column_tile<Element>& tile) {
  const std::int64_t step = s.result.out;
  column_tile<Element> row = tile;
  for (std::int64_t at = 0; at < tile.positions.extent; ++at, ++row.positions.origin) {
    const computed<Element>* const sums = tile.sums + at * tile.sums_row;
    Element* const y = row.in_result(s);
    if (step == 1)
      host_team{}.for_each(tile.results.extent, [=](std::int64_t i) { y[i] = sums[i]; });
    else
      for (std::int64_t i = 0; i < tile.results.extent; ++i) y[i * step] = sums[i];
  }
}

/// One tile of positions after the other: all their columns. Where there is nothing to sum over, the one empty tile
/// clears the result.
template <class Element, roomy_arithmetic<Element> Arithmetic>
void convolve_tiles(Arithmetic& how, const convolution_shape& s, const column_plan& plan, column_tile<Element> tile) {
  Element* room = how.template scratch<Element>().data();
  if constexpr (half_type<Element>) {
    tile.sums = reinterpret_cast<computed<Element>*>(room);
    tile.sums_row = plan.wide;
    if (plan.sums_beside) room = reinterpret_cast<Element*>(tile.sums + plan.tall * plan.wide);
  }
  do {
    const std::int64_t at = tile.positions.origin;
    if (plan.positions > 0)
      tile.positions.extent = std::min({plan.tall, plan.even - at % plan.even, plan.positions - at});
    if constexpr (!half_type<Element>) {
      tile.sums = tile.in_result(s);
      tile.sums_row = s.result.wide;
      tile.sums_column = s.result.out;
    }
    tile.columns.origin = 0;
    do {
      tile.columns.extent = std::min(plan.deep, plan.columns - tile.columns.origin);
      convolve_tile(how, s, plan.in_place, tile, room);
      tile.columns.origin += plan.deep;
    } while (tile.columns.origin < plan.columns);
    if (plan.sums_beside) store_sums(s, tile);
    tile.positions.origin += tile.positions.extent;
  } while (tile.positions.origin < plan.positions);
}

/// A convolution, or the gradient of its weight, group by group.
template <class Element, roomy_arithmetic<Element> Arithmetic>
void convolve_columns(Arithmetic& how, const convolution_shape& s) {
  const column_plan plan = plan_columns<Element>(s, std::ssize(how.template scratch<Element>()));
  if (s.pass == convolution_pass::gradient_image && (!plan.in_place || s.out == 0)) detail::clear_image<Element>(s);
  for (std::int64_t group = 0; group < s.groups; ++group) {
    for (std::int64_t first = 0; first < s.out; first += plan.wide) {
      const interval results{first, std::min(plan.wide, s.out - first)};
      convolve_tiles<Element>(how, s, plan, {.group = group, .results = results});
    }
  }
}

/// How many channels `convolve_lines` takes at a time.
inline constexpr std::int64_t channels_of_lines = 512;

/// Depthwise channels that lie beside each other, some of them: for every position and tap, one line of products. What
/// a position sees is summed beside the result.
template <class Element>
void convolve_lines(const convolution_shape& s, interval channels) {
  using number = computed<Element>;
  const bool forward = s.pass == convolution_pass::forward;
  const auto add_products = [&](number* to, const Element* a, const Element* b) {
    host_team{}.for_each(channels.extent, [=](std::int64_t i) { to[i] += number(a[i]) * number(b[i]); });
  };
  const auto in_weight = [&](std::int64_t high, std::int64_t wide) {
    return high * s.weight.high + wide * s.weight.wide + channels.origin;
  };
  for (std::int64_t tap = 0; !forward && !s.accumulate && tap < s.taps(); ++tap)
    std::fill_n(s.weight.as<number>() + in_weight(tap / s.wide.taps, tap % s.wide.taps), channels.extent, number(0));
  for (std::int64_t position = 0; position < s.positions(); ++position) {
    const std::int64_t line = position / s.wide.positions, image = line / s.high.positions;
    const std::int64_t first_h = s.high.pixel(line - image * s.high.positions, 0);
    const std::int64_t first_w = s.wide.pixel(position - line * s.wide.positions, 0);
    const Element* const x = s.image.as<Element>() + image * s.image.outer + channels.origin;
    Element* const y = s.result.as<Element>() + detail::offset_of(s, s.result, position) + channels.origin;
    number sums[channels_of_lines] = {};
    for (std::int64_t high = 0, h = first_h; high < s.high.taps; ++high, h += s.high.dilation) {
      if (h < 0 || h >= s.high.pixels) continue;
      for (std::int64_t wide = 0, w = first_w; wide < s.wide.taps; ++wide, w += s.wide.dilation) {
        if (w < 0 || w >= s.wide.pixels) continue;
        const Element* const seen = x + h * s.image.high + w * s.image.wide;
        if (forward)
          add_products(sums, seen, s.weight.as<Element>() + in_weight(high, wide));
        else
          add_products(s.weight.as<number>() + in_weight(high, wide), seen, y);
      }
    }
    if (forward) host_team{}.for_each(channels.extent, [&](std::int64_t i) { y[i] = sums[i]; });
  }
}

/// Runs a convolution or one of its gradients on this thread. Where an image's gradient is not scattered by columns, it
/// is made of forward passes: depthwise, and of numbers of 16 bits, whose sums must not be rounded on the way.
template <class Element, roomy_arithmetic<Element> Arithmetic>
void convolve(Arithmetic& how, const convolution_shape& shape) {
  if constexpr (convolving_arithmetic<Arithmetic, Element>) {
    if (how.template convolve<Element>(shape)) return;
  }
  const bool lines =
      shape.in == 1 && shape.out == 1 && shape.image.group == 1 && shape.weight.group == 1 && shape.result.group == 1;
  const auto convolve_part = [&](const convolution_shape& s) {
    if (!lines) return convolve_columns<Element>(how, s);
    for (std::int64_t first = 0; first < s.groups; first += channels_of_lines)
      convolve_lines<Element>(s, {first, std::min(channels_of_lines, s.groups - first)});
  };
  if (shape.pass == convolution_pass::gradient_image && (lines || half_type<Element>))
    for_each_transposed<Element>(shape, convolve_part);
  else
    convolve_part(shape);
}

/// The kernel of a pass.
template <op::channels Kind, convolution_pass Pass>
struct convolution_kernel {
  using products = void;

  template <class Element, roomy_arithmetic<Element> Arithmetic>
  static void run(Arithmetic& how, const call& with) {
    convolve<Element>(how, shape_of_convolution<Kind>(Pass, with));
  }
};

template <op::channels Kind>
struct kernel_of<op::convolution<Kind>> : convolution_kernel<Kind, convolution_pass::forward> {};
template <op::channels Kind>
struct kernel_of<op::convolution_gradient_image<Kind>> : convolution_kernel<Kind, convolution_pass::gradient_image> {};
template <op::channels Kind>
struct kernel_of<op::convolution_gradient_weight<Kind>> : convolution_kernel<Kind, convolution_pass::gradient_weight> {
};

}  // namespace meshloom
