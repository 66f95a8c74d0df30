// SPDX-License-Identifier: Apache-2.0
// Convolution and its gradients as matrix products. A tile of the image's columns is gathered into the arithmetic's
// scratch and multiplied by the weight, or the other way round (Chellapilla et al. 2006). Pixels that already lie like
// columns (1 × 1) are multiplied where they are, and depthwise channels, which are no matrix product, are multiplied
// line by line. An arithmetic that convolves by itself goes first. Law: no heap traffic; a result's sum has one order.
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

/// Clears what the pass writes.
template <class Element>
void clear_target(const convolution_shape& s) {
  const auto zero = [&](const convolution_tensor& to, const std::array<std::int64_t, 6>& extents) {
    const std::array<std::int64_t, 6> strides{to.outer, to.high, to.wide, to.group, to.in, to.out};
    clear(to.as<Element>(), extents, strides);
  };
  if (s.pass == convolution_pass::forward)
    zero(s.result, {s.images, s.high.positions, s.wide.positions, s.groups, 1, s.out});
  else if (s.pass == convolution_pass::gradient_image)
    zero(s.image, {s.images, s.high.pixels, s.wide.pixels, s.groups, s.in, 1});
  else
    zero(s.weight, {1, s.high.taps, s.wide.taps, s.groups, s.in, s.out});
}

}  // namespace detail

/// How the columns of a group are cut into tiles: so many positions, never across a multiple of `even`, by so many
/// columns. The positions of a tile lie evenly in the result, and in the image if they are multiplied in place.
struct column_plan {
  bool in_place = false;
  std::int64_t positions = 0, columns = 0;
  std::int64_t tall = 0, even = 0, deep = 0;
};

/// The plan for a scratch of `room` elements.
constexpr column_plan plan_columns(const convolution_shape& s, std::int64_t room) {
  constexpr std::int64_t usual = 384;  // deep enough for a matrix product, and leaves room for many positions
  column_plan made{.in_place = detail::is_pointwise(s), .positions = s.positions(), .columns = s.taps() * s.in};
  const std::int64_t parts = made.in_place ? 1 : std::max<std::int64_t>(1, (made.columns + usual - 1) / usual);
  made.deep = std::max<std::int64_t>(1, (made.columns + parts - 1) / parts);
  made.even = detail::even_positions(s, s.result);
  made.tall = room / made.deep;
  if (made.in_place) made.tall = made.even = std::min(made.even, detail::even_positions(s, s.image));
  return made;
}

/// The matrix that a tile's product reads or writes: gathered columns, or the pixels where they are.
template <class Element>
struct column_tile {
  interval positions, columns;
  Element* data = nullptr;
  std::int64_t row = 0, column = 1;
};

/// The products of one tile of one group's columns.
template <class Element, arithmetic<Element> Arithmetic>
void multiply_columns(Arithmetic& how, const convolution_shape& s, const column_tile<Element>& tile,
                      std::int64_t group) {
  Element* const y =
      s.result.as<Element>() + group * s.result.group + detail::offset_of(s, s.result, tile.positions.origin);
  const std::int64_t rows = tile.positions.extent;
  detail::for_each_stretch(s, tile.columns, [&](interval columns, std::int64_t from) {
    Element* const w = s.weight.as<Element>() + group * s.weight.group + from;
    Element* const x = tile.data + (columns.origin - tile.columns.origin) * tile.column;
    if (s.pass == convolution_pass::forward) {
      how.template gemm<Element>(rows, s.out, columns.extent, x, tile.row, tile.column, w, s.weight.in, s.weight.out,
                                 columns.origin > 0, y, s.result.wide, s.result.out);
    } else if (s.pass == convolution_pass::gradient_image) {
      how.template gemm<Element>(rows, columns.extent, s.out, y, s.result.wide, s.result.out, w, s.weight.out,
                                 s.weight.in, false, x, tile.row, tile.column);
    } else {
      how.template gemm<Element>(columns.extent, s.out, rows, x, tile.column, tile.row, y, s.result.wide, s.result.out,
                                 s.accumulate || tile.positions.origin > 0, w, s.weight.in, s.weight.out);
    }
  });
}

/// One tile of one group: where its columns are to be, its products, and what is done before or after.
template <class Element, roomy_arithmetic<Element> Arithmetic>
void convolve_tile(Arithmetic& how, const convolution_shape& s, bool in_place, column_tile<Element> tile,
                   std::int64_t group) {
  const bool to_image = s.pass == convolution_pass::gradient_image;
  Element* const image = s.image.as<Element>() + group * s.image.group;
  if (in_place) {
    tile.data = image + detail::offset_of(s, s.image, tile.positions.origin);
    tile.row = s.image.wide;
    tile.column = s.image.in;
    return multiply_columns<Element>(how, s, tile, group);
  }
  tile.data = how.template scratch<Element>().data();
  tile.row = tile.columns.extent;
  if (!to_image) gather(s, image, tile.positions, tile.columns, tile.data);
  multiply_columns<Element>(how, s, tile, group);
  if (to_image) scatter(s, tile.data, tile.positions, tile.columns, image);
}

/// Any convolution, tile by tile. Where there is nothing to sum over, the one empty tile clears the result.
template <class Element, roomy_arithmetic<Element> Arithmetic>
void convolve_columns(Arithmetic& how, const convolution_shape& s) {
  const column_plan plan = plan_columns(s, std::ssize(how.template scratch<Element>()));
  if (s.pass == convolution_pass::gradient_image && !plan.in_place) detail::clear_target<Element>(s);
  for (std::int64_t group = 0; group < s.groups; ++group) {
    column_tile<Element> tile;
    do {
      const std::int64_t at = tile.positions.origin;
      if (plan.positions > 0)
        tile.positions.extent = std::min({plan.tall, plan.even - at % plan.even, plan.positions - at});
      tile.columns.origin = 0;
      do {
        tile.columns.extent = std::min(plan.deep, plan.columns - tile.columns.origin);
        convolve_tile(how, s, plan.in_place, tile, group);
        tile.columns.origin += plan.deep;
      } while (tile.columns.origin < plan.columns);
      tile.positions.origin += tile.positions.extent;
    } while (tile.positions.origin < plan.positions);
  }
}

/// Depthwise channels that lie beside each other: for every position and tap, one line of products.
template <class Element>
void convolve_lines(const convolution_shape& s) {
  const auto add_products = [&](Element* to, const Element* a, const Element* b) {
    host_team{}.for_each(s.groups, [=](std::int64_t i) { to[i] += a[i] * b[i]; });
  };
  const auto meet = [&](Element* x, Element* w, Element* y) {
    if (s.pass == convolution_pass::forward)
      add_products(y, x, w);
    else if (s.pass == convolution_pass::gradient_image)
      add_products(x, y, w);
    else
      add_products(w, x, y);
  };
  if (!s.accumulate) detail::clear_target<Element>(s);
  const std::int64_t lines = s.images * s.high.positions;
  for (std::int64_t line = 0; line < lines; ++line) {
    const std::int64_t image = line / s.high.positions, high = line % s.high.positions;
    Element* const y = s.result.as<Element>() + image * s.result.outer + high * s.result.high;
    for (std::int64_t tap = 0; tap < s.taps(); ++tap) {
      const std::int64_t h = s.high.pixel(high, tap / s.wide.taps);
      if (h < 0 || h >= s.high.pixels) continue;
      Element* const x = s.image.as<Element>() + image * s.image.outer + h * s.image.high;
      Element* const weight =
          s.weight.as<Element>() + tap / s.wide.taps * s.weight.high + tap % s.wide.taps * s.weight.wide;
      for (std::int64_t wide = 0; wide < s.wide.positions; ++wide) {
        const std::int64_t w = s.wide.pixel(wide, tap % s.wide.taps);
        if (w >= 0 && w < s.wide.pixels) meet(x + w * s.image.wide, weight, y + wide * s.result.wide);
      }
    }
  }
}

/// Runs a convolution or one of its gradients on this thread.
template <class Element, roomy_arithmetic<Element> Arithmetic>
void convolve(Arithmetic& how, const convolution_shape& shape) {
  if constexpr (convolving_arithmetic<Arithmetic, Element>) {
    if (how.template convolve<Element>(shape)) return;
  }
  const bool depthwise = shape.in == 1 && shape.out == 1;
  if (depthwise && shape.image.group == 1 && shape.weight.group == 1 && shape.result.group == 1)
    convolve_lines<Element>(shape);
  else
    convolve_columns<Element>(how, shape);
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
