// SPDX-License-Identifier: Apache-2.0
// The law of kernels as a checker: on random tensors an operator's kernel equals its reference, and so does every split
// of every index into shards of any sizes, also empty, with partial sums added, statistics exchanged between parts, and
// windows as wide as the shards read.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/kernel/kernels.hpp>
#include <meshloom/kernel/references.hpp>

#include <random>
#include <span>
#include <type_traits>

namespace law {

using namespace meshloom;

inline std::mt19937_64 dice{20240607};

inline std::int64_t pick(std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(dice);
}

/// An operator's call to be: the length of each index, and what its values are.
struct trial {
  std::array<std::int64_t, max_indices> extent{};
  attribute_list attributes{};
  int integers = -1;           ///< the operand of integers, if any
  int range = -1;              ///< the index whose values they are
  int apart = -1;              ///< the index, if any, along which no two are the same: slots, −1 for none
  std::uint32_t positive = 0;  ///< operands (bit mask) that are not negative
  std::uint64_t step = 0;
  double rate = 1;
  std::uint64_t micro_batches = 1;
  bool accumulate = false;
  double slack = 1;       ///< how many times the tolerance, where sums of rounded numbers cancel
  std::int64_t more = 0;  ///< elements that a shard has on both sides of its windows
};

/// Element `at` of a dense view.
inline double element(const view& of, std::int64_t at) {
  if (of.type == dtype::i32) return of.as<std::int32_t>()[at];
  return with_floating(of.type, [&]<class Element>(Element) { return static_cast<double>(of.as<Element>()[at]); });
}

/// A shard with its memory; 8 bytes per element serve every type.
struct tensor {
  vector<double> memory;
  view seen;

  double get(std::int64_t at) const { return element(seen, at); }
  void set(std::int64_t at, double value) {
    if (seen.type == dtype::i32)
      seen.as<std::int32_t>()[at] = static_cast<std::int32_t>(value);
    else
      with_floating(seen.type,
                    [&]<class Element>(Element) { seen.as<Element>()[at] = static_cast<computed<Element>>(value); });
  }

  tensor() = default;
  tensor(tensor&&) = default;
  tensor& operator=(tensor&&) = default;
  tensor(const tensor& other) : memory(other.memory), seen(other.seen) { seen.data = memory.data(); }
  tensor& operator=(const tensor& other) { return *this = tensor(other); }
};

/// What a shard has of an index of `extent` elements, if it has `part` of index `split`; windows widen.
inline interval part_of(const signature& op, const trial& how, int index, int split, const interval& part) {
  const std::int64_t extent = how.extent[static_cast<std::size_t>(index)];
  const window* const read = op.window_in(index);
  if (index == split) return part;
  if (read == nullptr || read->of != split) return {0, extent};
  const interval needed = window_over(stencil_of(how.attributes, read->dimension), read->transposed, part, extent);
  const std::int64_t begin = std::max<std::int64_t>(needed.origin - how.more, 0);
  return {begin, std::min(needed.origin + needed.extent + how.more, extent) - begin};
}

/// An empty dense tensor; `part` says how much of one index this shard has.
inline tensor make_tensor(const index_list& axes, const trial& how, dtype type, const signature& op = {},
                          int split = -1, const interval& part = {}) {
  tensor made;
  made.seen.type = type;
  for (int axis = 0; axis < axes.count; ++axis) {
    const int index = axes.at[static_cast<std::size_t>(axis)];
    const interval side = part_of(op, how, index, split, part);
    made.seen.global[axis] = how.extent[static_cast<std::size_t>(index)];
    made.seen.extent[axis] = side.extent;
    made.seen.origin[axis] = side.origin;
  }
  made.seen.rank = axes.count;
  make_dense(made.seen);
  made.memory.resize(static_cast<std::size_t>(made.seen.count()) + 1);
  made.seen.data = made.memory.data();
  return made;
}

/// Calls f(element of the shard, element of the whole) for every element of a shard.
template <class Function>
void match(const view& shard, Function f) {
  for (std::int64_t at = 0; at < shard.count(); ++at) {
    std::int64_t rest = at, whole = 0, step = 1;
    for (int axis = shard.rank - 1; axis >= 0; --axis) {
      whole += (shard.origin[axis] + rest % shard.extent[axis]) * step;
      rest /= shard.extent[axis];
      step *= shard.global[axis];
    }
    f(at, whole);
  }
}

/// All tensors of one call, whole or one shard of it.
struct case_of_call {
  vector<tensor> operands, results, statistics;
  call with;

  void connect(const trial& how, std::span<const std::int8_t> replaces) {
    for (std::size_t k = 0; k < operands.size(); ++k) with.operand[k] = operands[k].seen;
    for (std::size_t k = 0; k < results.size(); ++k) {
      if (!replaces.empty()) results[k] = operands[static_cast<std::size_t>(replaces[k])];
      with.result[k] = replaces.empty() ? results[k].seen : operands[static_cast<std::size_t>(replaces[k])].seen;
    }
    for (std::size_t k = 0; k < statistics.size(); ++k) with.exchanged[k] = statistics[k].seen;
    std::copy(how.attributes.begin(), how.attributes.end(), with.attribute);
    with.step = how.step;
    with.rate = how.rate;
    with.micro_batches = how.micro_batches;
    with.accumulate = how.accumulate;
  }

  /// The element of result k after the call.
  double result(std::size_t k, std::int64_t at) const { return element(with.result[k], at); }
};

template <class Operator, class Element>
struct checker {
  static constexpr const signature& op = Operator::signature;
  static constexpr dtype type = dtype_of<computed<Element>>;
  static constexpr rounding rounded = record_of<Operator>.rounded;
  static constexpr double tolerance = type == dtype::f64              ? 1e-11
                                      : std::is_same_v<Element, bf16> ? 1e-2
                                      : std::is_same_v<Element, f16>  ? 2e-3
                                                                      : 1e-4;
  trial how;

  /// Numbers of 16 bits where the operator may round, and what they are computed with elsewhere.
  static constexpr dtype type_of_operand(int k) {
    return rounded.operand(static_cast<std::size_t>(k)) ? dtype_of<Element> : type;
  }
  static constexpr dtype type_of_result(int k) {
    if ((op.integer_results >> k & 1) != 0) return dtype::i32;
    return rounded.result(static_cast<std::size_t>(k)) ? dtype_of<Element> : type;
  }

  static std::span<const std::int8_t> replaces() {
    if constexpr (requires { Operator::replaces; })
      return Operator::replaces;
    else
      return {};
  }

  /// `size`: of what was added up, each part rounded.
  bool close(double value, double expected, double size = 0) const {
    if (std::isinf(expected)) return value == expected;
    return std::abs(value - expected) <= how.slack * tolerance * (1 + std::max(std::abs(expected), size));
  }

  /// A slot for element `at` of the integers: the elements along `apart` take different ones, or none.
  double slot_of(const tensor& values, std::int64_t at) const {
    const int axis = op.operands[static_cast<std::size_t>(how.integers)].find(how.apart);
    const std::int64_t step = values.seen.stride[axis], number = at / step % values.seen.extent[axis];
    const std::int64_t slots = how.extent[static_cast<std::size_t>(how.range)];
    const std::int64_t slot = (number + (at - number * step) * 7919) % std::max(slots, values.seen.extent[axis]);
    return slot < slots && pick(0, 4) > 0 ? static_cast<double>(slot) : -1;
  }

  /// Whole tensors of random values.
  case_of_call whole() const {
    case_of_call made;
    std::normal_distribution<double> normal;
    for (int k = 0; k < op.operand_count; ++k) {
      made.operands.push_back(make_tensor(op.operands[static_cast<std::size_t>(k)], how,
                                          k == how.integers ? dtype::i32 : type_of_operand(k)));
      tensor& values = made.operands.back();
      for (std::int64_t at = 0; at < values.seen.count(); ++at) {
        const double value = normal(dice);
        const std::int64_t top = how.range < 0 ? 0 : how.extent[static_cast<std::size_t>(how.range)];
        values.set(at, k == how.integers && how.apart >= 0 ? slot_of(values, at)
                       : k == how.integers                 ? static_cast<double>(pick(0, top > 0 ? top - 1 : 0))
                       : how.positive >> k & 1             ? std::abs(value) + 0.1
                                                           : value);
      }
    }
    for (int k = 0; k < op.result_count; ++k) {
      made.results.push_back(make_tensor(op.results[static_cast<std::size_t>(k)], how, type_of_result(k)));
      for (std::int64_t at = 0; at < made.results.back().seen.count(); ++at) made.results.back().set(at, normal(dice));
    }
    made.connect(how, replaces());
    return made;
  }

  /// The shard of a whole call that has `part` of index `split`.
  case_of_call shard_of(const case_of_call& from, int split, interval part, bool first) const {
    case_of_call made;
    const auto cut = [&](const index_list& axes, const tensor& source) {
      tensor piece = make_tensor(axes, how, source.seen.type, op, split, part);
      match(piece.seen, [&](std::int64_t at, std::int64_t whole) { piece.set(at, source.get(whole)); });
      return piece;
    };
    for (std::size_t k = 0; k < from.operands.size(); ++k)
      made.operands.push_back(cut(op.operands[k], from.operands[k]));
    for (std::size_t k = 0; k < from.results.size(); ++k) {
      made.results.push_back(cut(op.results[k], from.results[k]));
      // What is accumulated into is a partial sum too: the first shard has all of it.
      if (how.accumulate && op.results[k].find(split) < 0 && !first) {
        for (std::int64_t at = 0; at < made.results.back().seen.count(); ++at) made.results.back().set(at, 0);
      }
    }
    for (int k = 0; k < op.statistic_count; ++k) {
      index_list axes = op.statistics[static_cast<std::size_t>(k)].rows;
      trial wide = how;
      axes.at[static_cast<std::size_t>(axes.count++)] = max_indices - 1;
      wide.extent[max_indices - 1] = op.statistics[static_cast<std::size_t>(k)].values;
      made.statistics.push_back(make_tensor(axes, wide, type, op, split, part));
    }
    made.connect(how, replaces());
    return made;
  }

  /// Runs all parts on all shards of index `split`, exchanging between them the statistics that have it not.
  template <class Apply>
  static void run_parts(vector<case_of_call>& shards, int split, Apply apply) {
    for (std::int32_t part = 0; part <= op.statistic_count; ++part) {
      for (case_of_call& shard : shards) {
        shard.with.part = part;
        apply(shard.with);
      }
      const auto k = static_cast<std::size_t>(part);
      if (part < op.statistic_count && op.statistics[k].rows.find(split) < 0) exchange(shards, k);
    }
  }

  static void exchange(vector<case_of_call>& shards, std::size_t k) {
    const bool largest = op.statistics[k].combine == reduction::max;
    for (std::int64_t at = 0; at < shards[0].statistics[k].seen.count(); ++at) {
      double all = shards[0].statistics[k].get(at);
      for (const case_of_call& shard : shards) {
        const double one = shard.statistics[k].get(at);
        if (&shard != &shards[0]) all = largest ? std::max(all, one) : all + one;
      }
      for (case_of_call& shard : shards) shard.statistics[k].set(at, all);
    }
  }

  bool same_results(const case_of_call& made, const case_of_call& expected) const {
    for (std::size_t k = 0; k < made.results.size(); ++k) {
      for (std::int64_t at = 0; at < made.results[k].seen.count(); ++at) {
        if (!close(made.result(k, at), expected.result(k, at))) return false;
      }
    }
    return true;
  }

  /// True if the shards' results, put or added together, are the expected whole.
  bool same_results(const vector<case_of_call>& shards, int split, const case_of_call& expected) const {
    const bool statistic = op.roles[static_cast<std::size_t>(split)] == role::statistic;
    for (std::size_t k = 0; k < expected.results.size(); ++k) {
      vector<double> sum(static_cast<std::size_t>(expected.results[k].seen.count())), size(sum.size());
      const bool added = op.results[k].find(split) < 0 && !statistic;
      bool same = true;
      for (const case_of_call& shard : shards) {
        match(shard.with.result[k], [&](std::int64_t at, std::int64_t whole) {
          sum[static_cast<std::size_t>(whole)] += shard.result(k, at);
          size[static_cast<std::size_t>(whole)] += half_type<Element> ? std::abs(shard.result(k, at)) : 0;
          same = same && (added || close(shard.result(k, at), expected.result(k, whole)));
        });
      }
      for (std::size_t at = 0; added && at < sum.size(); ++at) {
        same = same && close(sum[at], expected.result(k, static_cast<std::int64_t>(at)), size[at]);
      }
      if (!same) return false;
    }
    return true;
  }

  /// True if `apply` of whole tensors, and of every split in two and three of every index that may be split, equals the
  /// reference.
  template <class Apply>
  bool holds(Apply apply) const {
    case_of_call given = whole();
    case_of_call expected = given;
    expected.connect(how, replaces());
    reference::run<Operator>(expected.with);
    for (int split = 0; split < op.index_count; ++split) {
      const role what = op.roles[static_cast<std::size_t>(split)];
      if (what == role::blocked || what == role::windowed) continue;
      for (int parts = 2; parts <= 3; ++parts) {
        vector<case_of_call> shards;
        const std::int64_t extent = how.extent[static_cast<std::size_t>(split)];
        std::int64_t begin = 0;
        for (int part = 0; part < parts; ++part) {
          const std::int64_t end = part + 1 == parts ? extent : pick(begin, extent);
          shards.push_back(shard_of(given, split, {begin, end - begin}, part == 0));
          begin = end;
        }
        if (op.roles[static_cast<std::size_t>(split)] == role::statistic)
          run_parts(shards, split, apply);
        else
          for (case_of_call& shard : shards) apply(shard.with);
        if (!same_results(shards, split, expected)) return false;
      }
    }
    apply(given.with);
    return same_results(given, expected);
  }
};

/// True if the kernel of an operator obeys the law in this trial.
template <class Operator, class Element, class Kernel = kernel_of<Operator>>
bool holds(const trial& how) {
  return checker<Operator, Element>{how}.holds([](const call& with) { run_on_host<Kernel, Element>(with); });
}

/// Random lengths of the first `count` indices: often 0, 1 or just beyond a vector, `low` or more.
inline trial lengths(int count, std::int64_t low = 0) {
  trial how;
  std::int64_t budget = 4000;
  for (int index = count - 1; index >= 0; --index) {
    static constexpr std::int64_t usual[] = {0, 1, 2, 3, 5, 8, 17, 64, 70, 131};
    const std::int64_t wanted = std::max(low, usual[pick(0, 9)]);
    how.extent[static_cast<std::size_t>(index)] = std::min(wanted, budget);
    budget = std::max<std::int64_t>(low > 0 ? 1 : 0, budget / std::max<std::int64_t>(1, wanted));
  }
  return how;
}

/// Random stencils for an operator with windows, images and positions that go with them, and random lengths of what is
/// left.
template <class Operator>
trial windowed_lengths() {
  constexpr const signature& op = Operator::signature;
  trial how = lengths(op.index_count, 1);
  for (std::int64_t& extent : how.extent) extent = std::min<std::int64_t>(extent, 6);
  std::array<stencil, 2> drawn;
  for (int k = 0; k < op.window_count; ++k) {
    const window& read = op.windows[static_cast<std::size_t>(k)];
    const auto at = [&](int index) -> std::int64_t& { return how.extent[static_cast<std::size_t>(index)]; };
    stencil& with = drawn[static_cast<std::size_t>(read.dimension)];
    with.taps = pick(1, 3);
    with = {.taps = with.taps, .stride = pick(1, 3), .padding = pick(0, with.taps - 1), .dilation = pick(1, 2)};
    const std::int64_t image = std::max(pick(1, 12), with.dilation * (with.taps - 1) + 1 - 2 * with.padding);
    at(read.transposed ? read.of : read.in) = image;
    at(read.transposed ? read.in : read.of) = with.positions(image);
    if (read.taps >= 0) at(read.taps) = with.taps;
  }
  how.attributes = attributes_of(drawn[0], drawn[1]);
  how.more = pick(0, 2);
  return how;
}

}  // namespace law
