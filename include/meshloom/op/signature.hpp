// SPDX-License-Identifier: Apache-2.0
// The signature of an operator: which axes its operands and results have, and the role each axis plays. From it follow
// the legal strategies, their price, and the law tests. Axes are positions in the operator's own index list, so that
// operators of the same pattern share one type whatever their axes are called.
// Law: `valid` holds; every index appears in an operand or a result.
#pragma once

#include <meshloom/sharding/spec.hpp>

#include <cstdint>
#include <string_view>
#include <utility>

namespace meshloom {

inline constexpr int max_indices = 10;
inline constexpr int max_operands = 8;
inline constexpr int max_results = 4;
inline constexpr int max_statistics = 4;
inline constexpr int max_linear = 8;
inline constexpr int max_windows = 2;
inline constexpr int max_attributes = 8;
using attribute_list = std::array<double, max_attributes>;

/// What splitting an axis does to an operator.
enum class role : std::uint8_t {
  mapped,      ///< any shard computes alone; every result has the axis
  contracted,  ///< results without the axis become partial sums, results with it are split
  blocked,     ///< the axis must be whole
  statistic,   ///< shards exchange a small reduction inside the operator; results without the axis are whole
  windowed,    ///< never split by itself: along it an operand has what a shard of another index reads, see `window`
};

/// The axes of one operand or result, as positions in the operator's index list.
struct index_list {
  std::int8_t count = 0;
  std::array<std::int8_t, max_rank> at{};

  constexpr bool operator==(const index_list&) const = default;
  constexpr int find(int index) const {
    for (int axis = 0; axis < count; ++axis) {
      if (at[static_cast<std::size_t>(axis)] == index) return axis;
    }
    return -1;
  }
};

/// One exchange inside an operator: after part k its shards reduce `values` numbers per element of `rows`.
struct statistic {
  reduction combine = reduction::sum;
  std::int8_t values = 1;
  index_list rows = {};
};

/// Where an index reads another (convolution, pooling): element i of index `of` and the t-th of `taps` elements of a
/// kernel meet at element i·stride − padding + t·dilation of index `in`. Along dimension d of an image, attributes d,
/// 2 + d, 4 + d and 6 + d of the node are taps, stride, padding and dilation. Where `of` is split, an operand that has
/// `in` is split there as well, and gets from its neighbours what else it reads: its halo.
struct window {
  std::int8_t of = -1;    ///< the index that may be split
  std::int8_t in = -1;    ///< the index, windowed, of which its shards read more than an even part
  std::int8_t taps = -1;  ///< the index of the kernel's elements; −1 if the operator has none
  std::int8_t dimension = 0;
  bool transposed = false;  ///< the other way round, as in a gradient: `in` is what strides, over `of`
};

/// Where an operator meets index `in` part by part, in any order (attention: queries `of`, keys `in`). A mesh axis that
/// splits `of` may then split the tensors that have `in`, and not `of`, along `in`: their blocks go around, from rank
/// to rank, until every rank has met them all. To a block of a result every rank adds its part on the way.
struct rotation {
  std::int8_t of = -1;
  std::int8_t in = -1;
};

struct signature {
  std::string_view name;
  std::int8_t index_count = 0;
  std::int8_t operand_count = 0;
  std::int8_t result_count = 0;
  std::int8_t statistic_count = 0;
  std::int8_t linear_count = 0;
  std::array<role, max_indices> roles{};
  std::array<index_list, max_operands> operands{};
  std::array<index_list, max_results> results{};
  std::array<statistic, max_statistics> statistics{};
  std::array<std::uint16_t, max_linear> linear{};  ///< sets of operands (bit masks) in which it is jointly linear
  std::int8_t window_count = 0;
  std::array<window, max_windows> windows{};
  rotation rotates{};
  std::uint8_t integer_results = 0;  ///< the results (bit mask) that are integers

  /// The window of which `in` is the windowed index, if there is one.
  constexpr const window* window_in(int index) const {
    for (int k = 0; k < window_count; ++k) {
      if (windows[static_cast<std::size_t>(k)].in == index) return &windows[static_cast<std::size_t>(k)];
    }
    return nullptr;
  }

  /// True if blocks of a tensor with these axes go around when the operator rotates.
  constexpr bool travels(const index_list& axes) const {
    return rotates.in >= 0 && axes.find(rotates.in) >= 0 && axes.find(rotates.of) < 0;
  }
};

/// Taps, stride, padding and dilation along one dimension of an image.
struct stencil {
  std::int64_t taps = 1, stride = 1, padding = 0, dilation = 1;

  constexpr bool operator==(const stencil&) const = default;

  /// The number of positions at which the taps lie within `extent` elements and their padding; 0 if there is none.
  constexpr std::int64_t positions(std::int64_t extent) const {
    const std::int64_t room = extent + 2 * padding - dilation * (taps - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
  }
};

/// Along dimension 0 (high) or 1 (wide).
constexpr stencil stencil_of(const attribute_list& attributes, int dimension) {
  const auto at = [&](int first) {
    return static_cast<std::int64_t>(attributes[static_cast<std::size_t>(first + dimension)]);
  };
  return {at(0), at(2), at(4), at(6)};
}
constexpr attribute_list attributes_of(const stencil& high, const stencil& wide) {
  const auto number = [](std::int64_t each) { return static_cast<double>(each); };
  return {number(high.taps),    number(wide.taps),    number(high.stride),   number(wide.stride),
          number(high.padding), number(wide.padding), number(high.dilation), number(wide.dilation)};
}

/// The elements of index `in`, of `extent` in all, that the elements `part` of index `of` read.
constexpr interval window_over(const stencil& shape, bool transposed, interval part, std::int64_t extent) {
  if (part.extent == 0) return {part.origin < extent ? part.origin : extent, 0};
  const std::int64_t first = part.origin, last = part.origin + part.extent - 1;
  const std::int64_t reach = shape.dilation * (shape.taps - 1);
  std::int64_t begin = first * shape.stride - shape.padding, end = last * shape.stride - shape.padding + reach + 1;
  if (transposed) {  // the positions p with p·stride − padding <= last and first <= p·stride − padding + reach
    const std::int64_t low = first + shape.padding - reach;
    begin = low <= 0 ? 0 : (low + shape.stride - 1) / shape.stride;
    end = (last + shape.padding) / shape.stride + 1;
  }
  begin = begin < 0 ? 0 : begin > extent ? extent : begin;
  end = end < begin ? begin : end > extent ? extent : end;
  return {begin, end - begin};
}

/// What index `index`, of `extent` elements, contributes to the points of an operator's index space at which there is
/// work: nothing of its own if it is windowed, for that is where positions and taps meet; and where windows are
/// transposed, only one tap in as many as the stride is wide meets an element.
constexpr double points_along(const signature& op, const attribute_list& attributes, int index, std::int64_t extent) {
  if (op.roles[static_cast<std::size_t>(index)] == role::windowed) return 1;
  const auto elements = static_cast<double>(extent);
  for (int k = 0; k < op.window_count; ++k) {
    const window& read = op.windows[static_cast<std::size_t>(k)];
    if (read.of == index && read.transposed)
      return elements / static_cast<double>(stencil_of(attributes, read.dimension).stride);
  }
  return elements;
}

/// Axes of an operand, as a type: `at<0, 1, 2>`.
template <int... Index>
struct at {
  static constexpr index_list list{sizeof...(Index), {static_cast<std::int8_t>(Index)...}};
  static constexpr int end = [] {
    int last = 0;
    ((last = Index >= last ? Index + 1 : last), ...);
    return last;
  }();
};

/// Builds a signature step by step, at compile time.
struct describe {
  signature made;

  constexpr explicit describe(std::string_view name) { made.name = name; }

  template <class... Lists>
  constexpr describe& operands() {
    ((made.operands[static_cast<std::size_t>(made.operand_count++)] = Lists::list), ...);
    ((made.index_count = Lists::end > made.index_count ? static_cast<std::int8_t>(Lists::end) : made.index_count), ...);
    return *this;
  }
  template <class... Lists>
  constexpr describe& results() {
    ((made.results[static_cast<std::size_t>(made.result_count++)] = Lists::list), ...);
    ((made.index_count = Lists::end > made.index_count ? static_cast<std::int8_t>(Lists::end) : made.index_count), ...);
    return *this;
  }
  constexpr describe& is(role what, const index_list& indices) {
    for (int axis = 0; axis < indices.count; ++axis) {
      made.roles[static_cast<std::size_t>(indices.at[static_cast<std::size_t>(axis)])] = what;
    }
    return *this;
  }
  /// Jointly linear in the operands of the mask.
  constexpr describe& linear_in(unsigned mask) {
    made.linear[static_cast<std::size_t>(made.linear_count++)] = static_cast<std::uint16_t>(mask);
    return *this;
  }
  /// Index `of` reads index `in` along `dimension` of an image.
  constexpr describe& reads_window(int of, int in, int taps, int dimension, bool transposed = false) {
    made.roles[static_cast<std::size_t>(in)] = role::windowed;
    made.windows[static_cast<std::size_t>(made.window_count++)] = {
        static_cast<std::int8_t>(of), static_cast<std::int8_t>(in), static_cast<std::int8_t>(taps),
        static_cast<std::int8_t>(dimension), transposed};
    return *this;
  }
  /// Shards of index `of` may meet index `in` block by block.
  constexpr describe& rotates(int of, int in) {
    made.rotates = {static_cast<std::int8_t>(of), static_cast<std::int8_t>(in)};
    return *this;
  }
  /// The results of the mask are integers.
  constexpr describe& returns_integers(unsigned mask) {
    made.integer_results = static_cast<std::uint8_t>(mask);
    return *this;
  }
  constexpr describe& exchanges(const index_list& rows, reduction combine, int values) {
    made.statistics[static_cast<std::size_t>(made.statistic_count++)] = {combine, static_cast<std::int8_t>(values),
                                                                         rows};
    return *this;
  }
};

namespace detail {

/// An index that may be split, against another; statistics would have to be exchanged round by round.
constexpr bool rotates_well(const signature& op) {
  if (op.rotates.of < 0) return op.rotates.in < 0;
  const role split = op.roles[static_cast<std::size_t>(op.rotates.of)];
  const auto both = [&op](const index_list& axes) {
    return axes.find(op.rotates.of) >= 0 && axes.find(op.rotates.in) >= 0;
  };
  for (int k = 0; k < op.operand_count; ++k) {
    if (both(op.operands[static_cast<std::size_t>(k)])) return false;
  }
  for (int k = 0; k < op.result_count; ++k) {
    if (both(op.results[static_cast<std::size_t>(k)])) return false;
  }
  return (split == role::mapped || split == role::contracted) && op.statistic_count == 0 && op.window_count == 0;
}

/// True if shards of an index exchange a statistic: if it is not among its rows.
constexpr bool is_exchanged(const signature& op, int index) {
  for (int k = 0; k < op.statistic_count; ++k) {
    if (op.statistics[static_cast<std::size_t>(k)].rows.find(index) < 0) return true;
  }
  return false;
}

}  // namespace detail

/// True if the roles fit the axes: a mapped index is in every result, a statistic one is not among the rows of every
/// statistic, a windowed one is read by an index that may be split and is in no result, and no tensor has both indices
/// of a rotation.
constexpr bool valid(const signature& op) {
  if (!detail::rotates_well(op)) return false;
  for (int index = 0; index < op.index_count; ++index) {
    const role what = op.roles[static_cast<std::size_t>(index)];
    bool used = false;
    for (int operand = 0; operand < op.operand_count; ++operand) {
      used = used || op.operands[static_cast<std::size_t>(operand)].find(index) >= 0;
    }
    for (int result = 0; result < op.result_count; ++result) {
      const bool has = op.results[static_cast<std::size_t>(result)].find(index) >= 0;
      if (what == role::mapped && !has) return false;
      if (what == role::windowed && has) return false;
      used = used || has;
    }
    if (!used) return false;
    if (what == role::statistic && !detail::is_exchanged(op, index)) return false;
    bool read = false;
    for (int k = 0; k < op.window_count; ++k) {
      const window& reads = op.windows[static_cast<std::size_t>(k)];
      if (reads.in != index) continue;
      if (reads.of < 0 || op.roles[static_cast<std::size_t>(reads.of)] == role::blocked) return false;
      read = true;
    }
    if ((what == role::windowed) != read) return false;
  }
  return true;
}

}  // namespace meshloom

namespace meshloom::op {

namespace detail {

template <class Sequence>
struct leading;
template <int... I>
struct leading<std::integer_sequence<int, I...>> {
  using list = at<I...>;                                                                  // 0 … Rank-1
  using row = at<sizeof...(I)>;                                                           // Rank
  using with_row = at<I..., static_cast<int>(sizeof...(I))>;                              // 0 … Rank
  using with_column = at<I..., static_cast<int>(sizeof...(I)) + 1>;                       // 0 … Rank-1, Rank+1
  using matrix = at<static_cast<int>(sizeof...(I)), static_cast<int>(sizeof...(I)) + 1>;  // Rank, Rank+1
};

}  // namespace detail

/// The first `Rank` indices and the lists built from them.
template <int Rank>
using first = detail::leading<std::make_integer_sequence<int, Rank>>;

}  // namespace meshloom::op
