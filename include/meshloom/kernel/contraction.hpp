// SPDX-License-Identifier: Apache-2.0
// A contraction of named axes as matrix products: `op::dot` says which indices meet, `plan_contraction` finds the
// largest matrix product in them and loops over the rest, and a vendor's (or our own) arithmetic does the work. Law:
// every pair of elements that meets is multiplied once; a contraction over no elements gives 0; a result of 16 bits is
// rounded once.
#pragma once

#include <meshloom/kernel/kernel.hpp>
#include <meshloom/op/dot.hpp>

#include <algorithm>
#include <span>

namespace meshloom {

/// c ← a·b, or c ← c + a·b if `accumulate`; a is m × k, b is k × n, c is m × n, each with strides of rows and columns.
/// Of numbers of 16 bits sums are float, and c is either: rounded once, or not at all.
template <class Arithmetic, class Element>
concept arithmetic = requires(Arithmetic& how, std::int64_t n, const Element* in, bool accumulate, Element* out,
                              computed<Element>* sums) {
  how.template gemm<Element>(n, n, n, in, n, n, in, n, n, accumulate, out, n, n);
  how.template gemm<Element>(n, n, n, in, n, n, in, n, n, accumulate, sums, n, n);
};

/// An arithmetic with memory for tiles, which nothing needs between calls.
template <class Arithmetic, class Element>
concept roomy_arithmetic = arithmetic<Arithmetic, Element> && requires(Arithmetic& how) {
  { how.template scratch<Element>() } -> std::convertible_to<std::span<Element>>;
};

/// One loop over the three tensors: its length and the step of each tensor, in elements.
struct contraction_loop {
  std::int64_t extent = 1;
  std::int64_t left = 0, right = 0, result = 0;
};

/// A nest of loops, outermost first.
struct contraction_nest {
  std::array<contraction_loop, max_indices> loops{};
  int count = 0;

  constexpr std::int64_t rounds() const {
    std::int64_t product = 1;
    for (int at = 0; at < count; ++at) product *= loops[static_cast<std::size_t>(at)].extent;
    return product;
  }

  /// The offsets of the three tensors in round `which`, as a loop's steps.
  constexpr contraction_loop offset(std::int64_t which) const {
    contraction_loop sum{};
    for (int at = count - 1; at >= 0; --at) {
      const auto& loop = loops[static_cast<std::size_t>(at)];
      const std::int64_t index = which % loop.extent;
      which /= loop.extent;
      sum.left += index * loop.left;
      sum.right += index * loop.right;
      sum.result += index * loop.result;
    }
    return sum;
  }
};

/// For every round of `outer` and of `inner` (which accumulates), one product of m × k by k × n.
struct contraction {
  contraction_loop m, n, k;
  contraction_nest outer, inner;
};

namespace detail {

/// Sorts by the step of the given tensor, largest first, and joins loops that one loop can do.
constexpr void merge_loops(contraction_nest& nest, std::int64_t contraction_loop::*step) {
  auto* const begin = nest.loops.data();
  for (int at = 1; at < nest.count; ++at) {  // by insertion: constexpr, stable, a handful of loops
    for (int here = at; here > 0 && begin[here - 1].*step < begin[here].*step; --here)
      std::swap(begin[here - 1], begin[here]);
  }
  int kept = 0;
  for (int at = 0; at < nest.count; ++at) {
    const contraction_loop loop = begin[at];
    contraction_loop* const last = kept > 0 ? begin + kept - 1 : nullptr;
    const bool joins = last != nullptr && last->left == loop.left * loop.extent &&
                       last->right == loop.right * loop.extent && last->result == loop.result * loop.extent;
    if (joins)
      *last = {last->extent * loop.extent, loop.left, loop.right, loop.result};
    else
      begin[kept++] = loop;
  }
  nest.count = kept;
}

/// Moves the longest loop out of a nest; a loop of one round if it is empty.
constexpr contraction_loop take_longest(contraction_nest& nest) {
  if (nest.count == 0) return {};
  auto* const begin = nest.loops.data();
  auto* const end = begin + nest.count;
  auto* const longest = std::max_element(begin, end, [](const auto& a, const auto& b) { return a.extent < b.extent; });
  const contraction_loop taken = *longest;
  std::move(longest + 1, end, longest);
  --nest.count;
  return taken;
}

constexpr void append(contraction_nest& nest, const contraction_nest& more) {
  for (int at = 0; at < more.count; ++at)
    nest.loops[static_cast<std::size_t>(nest.count++)] = more.loops[static_cast<std::size_t>(at)];
}

}  // namespace detail

/// The plan of a call of `op::dot`, whose signature is `op`.
constexpr contraction plan_contraction(const signature& op, const call& with) {
  contraction_nest batch, rows, columns, summed;
  for (int index = 0; index < op.index_count; ++index) {
    const int left = op.operands[0].find(index), right = op.operands[1].find(index), result = op.results[0].find(index);
    const std::int64_t extent = left >= 0 ? with.operand[0].extent[left] : with.operand[1].extent[right];
    if (extent == 1) continue;
    const contraction_loop loop{extent, left < 0 ? 0 : with.operand[0].stride[left],
                                right < 0 ? 0 : with.operand[1].stride[right],
                                result < 0 ? 0 : with.result[0].stride[result]};
    auto& nest = result < 0 ? summed : left < 0 ? columns : right < 0 ? rows : batch;
    nest.loops[static_cast<std::size_t>(nest.count++)] = loop;
  }
  detail::merge_loops(batch, &contraction_loop::result);
  detail::merge_loops(rows, &contraction_loop::result);
  detail::merge_loops(columns, &contraction_loop::result);
  detail::merge_loops(summed, &contraction_loop::left);
  contraction plan;
  plan.m = detail::take_longest(rows);
  plan.n = detail::take_longest(columns);
  plan.k = detail::take_longest(summed);
  plan.outer = batch;
  detail::append(plan.outer, rows);
  detail::append(plan.outer, columns);
  plan.inner = summed;
  return plan;
}

namespace detail {

/// One product with all its rounds, from the first elements of its tensors.
template <class Element, class Result, class Arithmetic>
void sum_rounds(Arithmetic& how, const contraction& plan, const Element* left, const Element* right, bool accumulate,
                Result* result) {
  const std::int64_t rounds = plan.inner.rounds();
  for (std::int64_t round = 0; round < rounds || round == 0; ++round) {
    const contraction_loop in = rounds == 0 ? contraction_loop{} : plan.inner.offset(round);
    how.template gemm<Element>(plan.m.extent, plan.n.extent, rounds == 0 ? 0 : plan.k.extent, left + in.left,
                               plan.m.left, plan.k.left, right + in.right, plan.k.right, plan.n.right,
                               accumulate || round > 0, result, plan.m.result, plan.n.result);
  }
}

/// The same with a result that cannot hold what several rounds add up to: block by block of it, the sums are float in
/// the arithmetic's scratch until they are rounded.
template <half_type Element, roomy_arithmetic<float> Arithmetic>
void sum_and_round(Arithmetic& how, const contraction& plan, const Element* left, const Element* right, bool accumulate,
                   Element* result) {
  const std::span<float> sums = how.template scratch<float>();
  const std::int64_t widest = std::clamp<std::int64_t>(plan.n.extent, 1, std::ssize(sums));
  const std::int64_t tallest = std::ssize(sums) / widest;
  contraction block = plan;
  block.m.result = widest;
  block.n.result = 1;
  for (std::int64_t j = 0; j < plan.n.extent; j += widest) {
    block.n.extent = std::min(widest, plan.n.extent - j);
    for (std::int64_t i = 0; i < plan.m.extent; i += tallest) {
      block.m.extent = std::min(tallest, plan.m.extent - i);
      sum_rounds(how, block, left + i * plan.m.left, right + j * plan.n.right, false, sums.data());
      for (std::int64_t row = 0; row < block.m.extent; ++row) {
        const float* const from = sums.data() + row * widest;
        Element* const to = result + (i + row) * plan.m.result + j * plan.n.result;
        for (std::int64_t at = 0; at < block.n.extent; ++at) {
          Element& made = to[at * plan.n.result];
          made = from[at] + (accumulate ? float(made) : 0.0f);
        }
      }
    }
  }
}

}  // namespace detail

/// Runs a planned contraction on this thread.
template <class Element, class Result = computed<Element>, arithmetic<Element> Arithmetic>
void contract(Arithmetic& how, const contraction& plan, const call& with) {
  const auto* const left = with.operand[0].as<const Element>();
  const auto* const right = with.operand[1].as<const Element>();
  auto* const result = with.result[0].as<Result>();
  const std::int64_t products = plan.outer.rounds();
  for (std::int64_t product = 0; product < products; ++product) {
    const contraction_loop at = plan.outer.offset(product);
    if constexpr (half_type<Result>) {
      if (plan.inner.rounds() > 1) {
        detail::sum_and_round(how, plan, left + at.left, right + at.right, with.accumulate, result + at.result);
        continue;
      }
    }
    detail::sum_rounds(how, plan, left + at.left, right + at.right, with.accumulate, result + at.result);
  }
}

template <class Left, class Right, class Result>
struct kernel_of<op::dot<Left, Right, Result>> {
  using products = void;

  template <class Element, arithmetic<Element> Arithmetic>
  static void run(Arithmetic& how, const call& with) {
    const contraction plan = plan_contraction(op::dot<Left, Right, Result>::signature, with);
    if constexpr (half_type<Element>) {
      if (with.result[0].type == dtype_of<Element>) return contract<Element, Element>(how, plan, with);
    }
    contract<Element, computed<Element>>(how, plan, with);
  }
};

}  // namespace meshloom
