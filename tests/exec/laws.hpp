// SPDX-License-Identifier: Apache-2.0
// The law of every operator: under any of its strategies, on any mesh, the ranks' results put together are the result
// of one rank. Ranks are simulated in one thread, from the operator's record alone, as everything below the front end
// sees it: operands are cut (or torn into summands) as `operand_spec` says and have what their windows read, kernels
// are called with the shards' origins, statistics are exchanged along `exchange_axes`, blocks go around along
// `rotating_axis`, and results are put together as `result_spec` says. In 16 bits the results differ by one rounding of
// what each rank has made, and no more.
#pragma once

#include "shards.hpp"

#include <meshloom/exec/kernel_table.hpp>
#include <meshloom/kernel/gemm.hpp>

#include <cmath>
#include <cstring>
#include <span>
#include <string>

namespace laws {

using namespace meshloom;
using shards::element;
using shards::for_each_index;
using shards::held;
using shards::place;
using shards::value_at;

/// An operator and what runs it, as plain data: to plant a fault, change a copy.
struct subject {
  record op;
  kernel_function in_f32 = nullptr;
  kernel_function in_f64 = nullptr;
  kernel_function in_bf16 = nullptr;  ///< null if it runs in the precision alone
  int integers = -1;                  ///< the operand of integers, if any: they choose an element of
  int chosen = -1;                    ///< this index
  int apart = -1;                     ///< the index, if any, along which no two are the same: slots, −1 for none
  unsigned positive = 0;              ///< operands (bit mask) whose elements are positive
  unsigned rounded_within = 0;        ///< results (bit mask) of numbers that the kernel has rounded to 16 bits itself
  attribute_list attributes = {0.3, 0.9, 0.5, 1e-3, 0.1};
};

/// How many (operator, strategy, mesh) were tried, how many of them broke the law, and how the first did.
struct verdict {
  std::int64_t tried = 0;
  std::int64_t broken = 0;
  std::string first;
};

/// Random bits by counter: every rank draws what it needs of one tensor, and nothing is stored.
inline std::uint64_t mixed(std::uint64_t seed, std::uint64_t salt) {
  std::uint64_t bits = seed * 0x9e3779b97f4a7c15ull + (salt + 1) * 0xbf58476d1ce4e5b9ull;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ull;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebull;
  return bits ^ (bits >> 31);
}

/// Away from zero, so that one can divide by it.
inline double number(std::uint64_t bits, bool positive) {
  const double size = 0.25 + static_cast<double>(bits >> 12) * 0x1p-52;
  return positive || bits % 2 == 0 ? size : -size;
}

/// One operator executed under one strategy by all ranks of a mesh; `wide`: nobody rounds its results.
template <class Element>
class execution {
 public:
  execution(const subject& what, const mesh_shape& mesh, const strategy& how, std::uint64_t seed, bool wide = false)
      : what_(what),
        op_(what.op.op),
        mesh_(mesh),
        how_(how),
        seed_(seed),
        wide_(wide),
        ranks_(static_cast<std::size_t>(mesh.ranks())) {
    draw_sizes();
    for (std::int32_t rank = 0; rank < mesh_.ranks(); ++rank) prepare(rank);
    around_ = rotating_axis(what_.op.choices, mesh_, how_);
    for (std::int32_t round = 0; around_ >= 0 && round < ranks_along(around_); ++round) go_around(round);
    if (around_ >= 0) return;
    const bool parts = exchange_axes(op_, what_.op.choices, mesh_.rank, how_) != 0;
    for (int part = 0; parts && part < op_.statistic_count; ++part) {
      run(part);
      exchange(part, exchange_axes(op_, what_.op.choices, mesh_.rank, how_, part));
    }
    run(parts ? op_.statistic_count : all_parts);
  }

  /// What is wrong, if `one` is the execution on a single rank; "" if nothing is.
  std::string fault(const execution& one) const {
    for (int k = 0; k < op_.result_count; ++k) {
      const std::string wrong = fault_of(k, one.ranks_[0].with.result[k]);
      if (!wrong.empty()) return wrong;
    }
    for (const auto& rank : ranks_) {
      const bool clean =
          std::all_of(rank.tensors.begin(), rank.tensors.end(), [](const held& each) { return each.intact(); });
      if (!clean) return "memory outside of a shard has changed";
    }
    return "";
  }

 private:
  using exact = computed<Element>;
  static constexpr dtype type = dtype_of<Element>, precision = dtype_of<exact>;
  static constexpr double tolerance = precision == dtype::f64 ? 1e-10 : 1e-5;
  static constexpr double rounded = 0x1.02p-8;  ///< by how much of itself, at most, a number changes that gets 8 bits

  struct rank_state {
    vector<held> tensors;
    call with;
  };

  dtype type_of_operand(int k) const {
    if (k == what_.integers) return dtype::i32;
    return what_.op.rounded.operand(static_cast<std::size_t>(k)) ? type : precision;
  }
  dtype type_of_result(int k) const {
    if ((op_.integer_results >> k & 1) != 0) return dtype::i32;
    return what_.op.rounded.result(static_cast<std::size_t>(k)) && !wide_ ? type : precision;
  }
  kernel_function kernel() const {
    return type == dtype::f64 ? what_.in_f64 : type == dtype::bf16 ? what_.in_bf16 : what_.in_f32;
  }

  spec operand_layout(int k) const { return operand_spec(op_, what_.op.choices, mesh_.rank, how_, k); }
  spec result_layout(int k) const { return result_spec(op_, what_.op.choices, mesh_.rank, how_, k); }

  /// Any extents and attributes; where there are windows, a stencil per dimension, and the extents that go with it.
  void draw_sizes() {
    for (int index = 0; index < op_.index_count; ++index) {
      constexpr std::int64_t extents[] = {5, 3, 4, 1, 7, 2};
      extent(index) = extents[mixed(seed_, static_cast<std::uint64_t>(index)) % std::size(extents)];
    }
    attributes_ = what_.attributes;
    if (op_.window_count == 0) return;
    std::array<stencil, 2> drawn;
    for (int k = 0; k < op_.window_count; ++k) {
      const window& read = op_.windows[static_cast<std::size_t>(k)];
      const auto dimension = static_cast<std::size_t>(read.dimension);
      const stencil with = drawn[dimension] = stencil_drawn(dimension);
      std::int64_t& image = extent(read.transposed ? read.of : read.in);
      image = std::max(image, with.dilation * (with.taps - 1) + 1 - 2 * with.padding);  // one position at least
      extent(read.transposed ? read.in : read.of) = with.positions(image);
      if (read.taps >= 0) extent(read.taps) = with.taps;
    }
    attributes_ = attributes_of(drawn[0], drawn[1]);
  }
  stencil stencil_drawn(std::size_t dimension) const {
    const auto draw = [&](std::uint64_t which, std::int64_t choices) {
      return static_cast<std::int64_t>(mixed(seed_, 50 + 4 * dimension + which) % static_cast<std::uint64_t>(choices));
    };
    const std::int64_t taps = 1 + draw(0, 3);
    return {.taps = taps, .stride = 1 + draw(1, 3), .padding = draw(2, taps), .dilation = 1 + draw(3, 2)};
  }
  std::int64_t& extent(int index) { return extents_[static_cast<std::size_t>(index)]; }
  std::int64_t extent_of(int index) const { return extents_[static_cast<std::size_t>(index)]; }

  view shape(const index_list& list, const spec& layout, std::int32_t rank) const {
    view part;
    part.rank = list.count;
    for (int axis = 0; axis < list.count; ++axis) {
      const int index = list.at[static_cast<std::size_t>(axis)];
      part.global[axis] = extent_of(index);
      const interval held = shard_interval(layout, mesh_, coordinates_of(mesh_, rank), axis, part.global[axis]);
      const interval side = widened(held, index, rank);
      part.origin[axis] = side.origin;
      part.extent[axis] = side.extent;
    }
    return part;
  }

  /// What a rank has along an index of which it holds `held`: that, or all that its part of another index reads. If no
  /// rank lacks anything, ranks read from what they hold: with every other seed they have that as well.
  interval widened(const interval& held, int index, std::int32_t rank) const {
    const window* const read = op_.window_in(index);
    for (std::size_t axis = 0; read != nullptr && axis < static_cast<std::size_t>(mesh_.rank); ++axis) {
      const choice& row = what_.op.choices.rows[how_.row[axis]];
      if (row.kind != choice::split || row.index != read->of) continue;
      const interval part =
          balanced_part({0, extent_of(read->of)}, mesh_.size[axis], coordinates_of(mesh_, rank)[axis]);
      const stencil with = stencil_of(attributes_, read->dimension);
      const interval needed = window_over(with, read->transposed, part, extent_of(index));
      return seed_ % 2 == 0 ? needed : hull(needed, held);
    }
    return held;
  }
  static interval hull(const interval& one, const interval& other) {
    if (one.extent == 0 || other.extent == 0) return one.extent == 0 ? other : one;
    const std::int64_t begin = std::min(one.origin, other.origin);
    return {begin, std::max(one.origin + one.extent, other.origin + other.extent) - begin};
  }

  void prepare(std::int32_t rank) {
    rank_state& here = ranks_[static_cast<std::size_t>(rank)];
    call& with = here.with;
    const auto add = [&here](const view& part, dtype kind) { return here.tensors.emplace_back(part, kind).seen; };
    for (int k = 0; k < op_.operand_count; ++k) {
      const index_list& list = op_.operands[static_cast<std::size_t>(k)];
      const view shard = with.operand[k] = add(shape(list, operand_layout(k), rank), type_of_operand(k));
      if (k == what_.integers)
        fill_integers(shard);
      else if (shard.type == type)
        fill<Element>(shard, k, operand_layout(k).partial_sum(), rank);
      else
        fill<exact>(shard, k, operand_layout(k).partial_sum(), rank);
    }
    for (int k = 0; k < op_.result_count; ++k) {
      const index_list& list = op_.results[static_cast<std::size_t>(k)];
      if (what_.op.in_place)
        with.result[k] = with.operand[what_.op.replaces[static_cast<std::size_t>(k)]];
      else
        with.result[k] = add(shape(list, result_layout(k), rank), type_of_result(k));
    }
    for (int k = 0; k < op_.statistic_count; ++k) {
      const statistic& each = op_.statistics[static_cast<std::size_t>(k)];
      view part = shape(each.rows, rows_spec(op_, what_.op.choices, mesh_.rank, how_, k), rank);
      part.global[part.rank] = part.extent[part.rank] = each.values;
      ++part.rank;
      with.exchanged[k] = add(part, precision);
    }
    std::copy(attributes_.begin(), attributes_.end(), with.attribute);
    with.step = 2;
  }

  std::uint64_t bits_at(const place& at, int k) const {
    std::uint64_t bits = mixed(seed_, 100 + static_cast<std::uint64_t>(k));
    for (const std::int64_t i : at) bits = mixed(bits, static_cast<std::uint64_t>(i));
    return bits;
  }

  void fill_integers(const view& shard) const {
    const auto choices = static_cast<std::uint64_t>(extent_of(what_.chosen));
    for_each_index(box_of(shard), [&](const place& at) {
      element<std::int32_t>(shard, at) =
          what_.apart >= 0 ? slot_at(at) : static_cast<std::int32_t>(bits_at(at, what_.integers) % choices);
    });
  }

  /// The elements along `apart` take different slots, from one that is drawn for all of them; some take none.
  std::int32_t slot_at(const place& at) const {
    place drawn = at;
    const auto axis =
        static_cast<std::size_t>(op_.operands[static_cast<std::size_t>(what_.integers)].find(what_.apart));
    drawn[axis] = 0;
    const std::int64_t slots = extent_of(what_.chosen), wheel = std::max(slots, extent_of(what_.apart));
    const std::uint64_t start = bits_at(drawn, what_.integers) % static_cast<std::uint64_t>(wheel);
    const std::int64_t slot = (at[axis] + static_cast<std::int64_t>(start)) % wheel;
    return slot < slots && bits_at(at, what_.integers) % 5 > 0 ? static_cast<std::int32_t>(slot) : -1;
  }

  /// A pending sum: all members of a group but the last draw their summands, the last has what is missing. Those of 16
  /// bits are 64ths: small ones, so that what is missing, from eight members too, is one of the first 256.
  template <class Number>
  void fill(const view& shard, int k, std::uint8_t pending, std::int32_t rank) const {
    const auto group = group_of(rank, pending);
    const auto drawn = [](std::uint64_t bits, bool positive, double share) {
      const double any = number(bits, positive);
      return static_cast<exact>(half_type<Number> ? std::round(64 * share * any) / 64 : any);
    };
    for_each_index(box_of(shard), [&](const place& at) {
      const std::uint64_t bits = bits_at(at, k);
      exact rest = drawn(bits, what_.positive >> k & 1, 1);
      for (std::size_t member = 0; member + 1 < group.size(); ++member) {
        const exact summand = drawn(mixed(bits, member), false, 0.2);
        if (group[member] == rank) element<Number>(shard, at) = summand;
        rest -= summand;
      }
      if (group.back() == rank) element<Number>(shard, at) = rest;
    });
  }

  /// The ranks that differ from `rank` along the mesh axes of `over` only, in order.
  vector<std::int32_t> group_of(std::int32_t rank, std::uint8_t over) const {
    vector<std::int32_t> group;
    const mesh_coordinates here = coordinates_of(mesh_, rank);
    for (std::int32_t other = 0; other < mesh_.ranks(); ++other) {
      const mesh_coordinates there = coordinates_of(mesh_, other);
      bool same = true;
      for (std::size_t axis = 0; axis < max_mesh_rank; ++axis)
        same = same && (here[axis] == there[axis] || (over >> axis & 1));
      if (same) group.push_back(other);
    }
    return group;
  }

  void run(std::int32_t part) {
    static plain arithmetic;
    for (rank_state& rank : ranks_) {
      rank.with.part = part;
      kernel()(rank.with, &arithmetic);
    }
  }

  std::int32_t ranks_along(int axis) const { return mesh_.size[static_cast<std::size_t>(axis)]; }

  /// Every rank meets the blocks of the rank that is `round` before it, and adds to that rank's results.
  void go_around(std::int32_t round) {
    static plain arithmetic;
    for (std::int32_t rank = 0; rank < mesh_.ranks(); ++rank) {
      mesh_coordinates at = coordinates_of(mesh_, rank);
      std::int32_t& turn = at[static_cast<std::size_t>(around_)];
      turn = (turn + ranks_along(around_) - round) % ranks_along(around_);
      const call& home = ranks_[static_cast<std::size_t>(rank_at(mesh_, at))].with;
      call with = ranks_[static_cast<std::size_t>(rank)].with;
      for (int k = 0; k < op_.operand_count; ++k) {
        if (op_.travels(op_.operands[static_cast<std::size_t>(k)])) with.operand[k] = home.operand[k];
      }
      for (int k = 0; k < op_.result_count; ++k) {
        if (op_.travels(op_.results[static_cast<std::size_t>(k)])) with.result[k] = home.result[k];
      }
      with.round = round;
      kernel()(with, &arithmetic);
    }
  }

  void exchange(int k, std::uint8_t over) {
    const bool sums = op_.statistics[static_cast<std::size_t>(k)].combine == reduction::sum;
    for (std::int32_t rank = 0; rank < mesh_.ranks(); ++rank) {
      const auto group = group_of(rank, over);
      if (group.front() != rank) continue;
      const std::int64_t count = ranks_[static_cast<std::size_t>(rank)].with.exchanged[k].count();
      for (std::int64_t i = 0; i < count; ++i) {
        const auto at = [&](std::int32_t member) -> exact& {
          return ranks_[static_cast<std::size_t>(member)].with.exchanged[k].template as<exact>()[i];
        };
        exact all = at(rank);
        for (std::size_t m = 1; m < group.size(); ++m) all = sums ? all + at(group[m]) : std::max(all, at(group[m]));
        for (const std::int32_t member : group) at(member) = all;
      }
    }
  }

  /// By how much rounding may change a sum: `size` is that of what was added up, `largest` that of the whole result.
  double rounding_of(int k, double size, double largest) const {
    if (!half_type<Element> || !std::isfinite(size)) return 0;
    if ((what_.rounded_within >> k & 1) != 0) return 2e-2 * largest;
    return type_of_result(k) == type ? rounded * size : 0;
  }

  /// What is wrong with result `k`: every rank, with those that hold the other summands, has its part of `want`, and
  /// together the parts are all of it.
  std::string fault_of(int k, const view& want) const {
    if (what_.op.in_place && result_layout(k) != operand_layout(what_.op.replaces[static_cast<std::size_t>(k)])) {
      return "result " + std::to_string(k) + " does not lie where the operand lies that it replaces";
    }
    double largest = 1;  // a small sum of numbers around 1 is as exact as they are
    for_each_index(box_of(want), [&](const place& at) {
      const double size = std::abs(value_at(want, at));
      if (std::isfinite(size)) largest = std::max(largest, size);
    });
    vector<bool> made(static_cast<std::size_t>(want.count()));
    double worst = 0;
    bool close = true;
    for (std::int32_t rank = 0; rank < mesh_.ranks(); ++rank) {
      const auto group = group_of(rank, result_layout(k).partial_sum());
      if (group.front() != rank) continue;
      for_each_index(box_of(ranks_[static_cast<std::size_t>(rank)].with.result[k]), [&](const place& at) {
        const double wanted = value_at(want, at);
        double sum = 0, size = std::abs(wanted);  // of what was rounded
        for (const std::int32_t member : group) {
          const double summand = value_at(ranks_[static_cast<std::size_t>(member)].with.result[k], at);
          sum += summand;
          size += std::abs(summand);
        }
        const double apart = sum == wanted ? 0 : std::abs(sum - wanted);  // both may be −∞
        worst = std::max(worst, apart);
        close = close && apart <= tolerance * largest + rounding_of(k, size, largest);  // NaN is not
        std::int64_t number = 0;
        for (int axis = 0; axis < want.rank; ++axis) number += at[static_cast<std::size_t>(axis)] * want.stride[axis];
        made[static_cast<std::size_t>(number)] = true;
      });
    }
    if (std::find(made.begin(), made.end(), false) != made.end())
      return "no rank has some element of result " + std::to_string(k);
    if (close) return "";
    return "result " + std::to_string(k) + " is off by " + std::to_string(worst / largest) + " in " +
           std::string(name_of(type)) + (wide_ ? ", unrounded" : "");
  }

  const subject& what_;
  const signature& op_;
  mesh_shape mesh_;
  strategy how_;
  std::uint64_t seed_;
  bool wide_;
  std::array<std::int64_t, max_indices> extents_{};
  attribute_list attributes_{};
  int around_ = -1;  ///< the mesh axis along which blocks go around
  vector<rank_state> ranks_;
};

/// "dot [0 1] [1 2] -> [0 2]".
inline std::string described(const signature& op) {
  std::string text(op.name);
  const auto add = [&text](const index_list& list) {
    text += " [";
    for (int axis = 0; axis < list.count; ++axis)
      text += (axis > 0 ? " " : "") + std::to_string(list.at[static_cast<std::size_t>(axis)]);
    text += "]";
  };
  for (int k = 0; k < op.operand_count; ++k) add(op.operands[static_cast<std::size_t>(k)]);
  text += " ->";
  for (int k = 0; k < op.result_count; ++k) add(op.results[static_cast<std::size_t>(k)]);
  return text;
}

/// "2: split 1, 3: partial 2, order 0": per mesh axis its size and choice.
inline std::string described(const choice_table& choices, const mesh_shape& mesh, const strategy& how) {
  std::string text;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
    const choice& row = choices.rows[how.row[axis]];
    text += std::to_string(mesh.size[axis]) + ": ";
    text += row.kind == choice::whole   ? "whole, "
            : row.rotated >= 0          ? "ring " + std::to_string(row.index) + ", "
            : row.kind == choice::split ? "split " + std::to_string(row.index) + ", "
                                        : "partial " + std::to_string(row.operands) + ", ";
  }
  return text + "order " + std::to_string(how.order);
}

inline vector<strategy> strategies_of(const choice_table& choices, int mesh_rank) {
  vector<strategy> all;
  for_each_strategy(choices, mesh_rank, [&](const strategy& how) { all.push_back(how); });
  return all;
}

template <class Element>
std::string fault_in(const subject& what, const mesh_shape& mesh, const strategy& how, std::uint64_t seed, bool wide) {
  return execution<Element>(what, mesh, how, seed, wide).fault(execution<Element>(what, {}, {}, seed, wide));
}

inline std::string fault(const subject& what, const mesh_shape& mesh, const strategy& how, std::uint64_t seed,
                         dtype type) {
  if (type == dtype::f64) return fault_in<double>(what, mesh, how, seed, false);
  if (type == dtype::f32) return fault_in<float>(what, mesh, how, seed, false);
  const std::string wrong = fault_in<bf16>(what, mesh, how, seed, false);
  return wrong.empty() && what.op.rounded.wide ? fault_in<bf16>(what, mesh, how, seed, true) : wrong;
}

inline constexpr mesh_shape meshes[] = {{1, {2}}, {1, {3}}, {1, {4}}, {2, {2, 2}}, {2, {2, 3}}, {3, {2, 2, 2}}};
inline constexpr dtype precisions[] = {dtype::f64, dtype::f32};

/// Tries every strategy on every mesh in all types, each with `rounds` choices of sizes; where there are more than
/// `most` on one mesh, as many, drawn.
inline verdict judge(const subject& what, std::size_t most, int rounds, std::uint64_t seed,
                     std::span<const dtype> types = precisions) {
  verdict made;
  shards::chance dice(static_cast<shards::chance::result_type>(seed));
  for (const mesh_shape& mesh : meshes) {
    auto all = strategies_of(what.op.choices, mesh.rank);
    std::shuffle(all.begin(), all.end(), dice);
    all.resize(std::min(all.size(), most));
    for (const strategy& how : all) {
      std::string wrong;
      for (int round = 0; round < rounds && wrong.empty(); ++round) {
        ++seed;
        for (const dtype type : types) wrong = wrong.empty() ? fault(what, mesh, how, seed, type) : wrong;
      }
      ++made.tried;
      if (wrong.empty()) continue;
      if (++made.broken == 1)
        made.first = described(what.op.op) + ", " + described(what.op.choices, mesh, how) + ": " + wrong;
    }
  }
  return made;
}

}  // namespace laws
