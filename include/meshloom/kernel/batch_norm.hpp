// SPDX-License-Identifier: Apache-2.0
// Batch normalisation and its gradients: a team per block of features. Law: with `all_parts` all rows are on this rank;
// other parts write the sums of this shard's rows, and then read the exchanged ones. Means divide by the global count
// of rows, so shards may be uneven or empty. The features of a row are contiguous; rows may lie at any strides.
// Sums are made per stretch of rows and then joined, which keeps their digits; where all rows are at hand, mean and
// variance take one pass over memory (Chan, Golub and LeVeque 1979).
#pragma once

#include <meshloom/kernel/collapse.hpp>
#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/batch_norm.hpp>

namespace meshloom {

/// Features in one stretch of rows, which stays in the cache: what a member of a team works on.
template <class Element, class Team>
struct feature_strip {
  static constexpr int width = Team::lanes == 1 ? 1 : 2048;
  using number = computed<Element>;
  using lanes = number[width];

  Team team;
  const call& with;
  std::int64_t first, count;  ///< features
  std::int64_t begin, end;    ///< rows

  MESHLOOM_DEVICE Element* row(const view& tensor, std::int64_t which) const {
    return row_index(tensor, which).template in<Element>(tensor) + first;
  }
  MESHLOOM_DEVICE number* in(const view& features) const { return features.as<number>() + first; }

  template <class Function>
  MESHLOOM_DEVICE void each(Function f) const {
    if constexpr (width == 1)
      f(0);
    else
      team.for_each(count, f);
  }
  template <class Function>
  MESHLOOM_DEVICE void each_row(Function f) const {
    for (std::int64_t at = begin; at < end; ++at) f(at);
  }
};

/// A task: neighbouring features in every row.
template <class Element, class Team>
struct feature_block {
  using strip = feature_strip<Element, Team>;
  static constexpr std::int64_t width = 2048, stretch = 128;

  Team team;
  const call& with;
  std::int64_t first, count;

  MESHLOOM_DEVICE feature_block(Team members, std::int64_t which, const call& task)
      : team(members), with(task), first(which * width), count(features(task) - first) {
    if (count > width) count = width;
  }
  MESHLOOM_DEVICE static std::int64_t features(const call& task) {
    return task.operand[0].extent[task.operand[0].rank - 1];
  }

  /// Calls f(feature).
  template <class Function>
  MESHLOOM_DEVICE void each(Function f) const {
    const std::int64_t begin = first;
    team.for_each(count, [=](std::int64_t i) { f(begin + i); });
  }

  /// Calls f(strip), one stretch of rows after the other.
  template <class Function>
  MESHLOOM_DEVICE void each_strip(Function f) const {
    const std::int64_t rows = row_count(with.operand[0]);
    for (std::int64_t begin = 0; begin < rows; begin += stretch) {
      const std::int64_t end = rows - begin < stretch ? rows : begin + stretch;
      if constexpr (strip::width == 1)
        team.for_each(count, [&](std::int64_t i) { f(strip{team, with, first + i, 1, begin, end}); });
      else
        f(strip{team, with, first, count, begin, end});
    }
  }
};

/// A row kernel's tasks are blocks of features.
struct feature_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    constexpr std::int64_t width = feature_block<Element, host_team>::width;
    return (feature_block<Element, host_team>::features(with) + width - 1) / width;
  }
};

/// Calls with the axes of rows collapsed and those of features made one; attribute 1 becomes the global count of rows.
template <class Kernel, int Features>
struct by_features {
  using kernel = Kernel;

  static call arrange(const call& with) {
    call made = with;
    const view& whole = with.operand[0];
    const int rows = whole.rank - Features;
    view* tensors[max_operands + max_results];
    std::size_t count = 0;
    const auto gather = [&](view& each) {
      if (each.rank != whole.rank) return;  // it has features only
      for (; each.rank > rows + 1; --each.rank) {
        each.extent[each.rank - 2] *= each.extent[each.rank - 1];
        each.stride[each.rank - 2] = each.stride[each.rank - 1];
      }
      tensors[count++] = &each;
    };
    for (view& each : made.operand) gather(each);
    for (view& each : made.result) gather(each);
    collapse(std::span<view* const>(tensors, count), 0, rows);
    made.attribute[1] = 1;
    for (int axis = 0; axis < rows; ++axis) made.attribute[1] *= static_cast<double>(whole.global[axis]);
    return made;
  }
};

namespace detail {

/// 1 / √(variance + epsilon).
template <class Number>
MESHLOOM_DEVICE Number reciprocal_deviation(Number variance, const call& with) {
  return Number(1) / math::sqrt(variance + static_cast<Number>(with.attribute[0]));
}

/// y = (x − mean) · gain / √(variance + epsilon) + bias.
template <class Block>
MESHLOOM_DEVICE void normalise(const Block& block, const view& means, const view& variances) {
  block.each_strip([&](const auto& strip) {
    const call& with = strip.with;
    const auto *const mean = strip.in(means), *const variance = strip.in(variances);
    const auto *const gain = strip.in(with.operand[1]), *const bias = strip.in(with.operand[2]);
    typename Block::strip::lanes scale;
    strip.each([&](std::int64_t i) { scale[i] = gain[i] * reciprocal_deviation(variance[i], with); });
    strip.each_row([&](std::int64_t at) {
      const auto* const x = strip.row(with.operand[0], at);
      auto* const y = strip.row(with.result[0], at);
      strip.each([&](std::int64_t i) { y[i] = (x[i] - mean[i]) * scale[i] + bias[i]; });
    });
  });
}

/// dbias = Σ dy and dgain = Σ dy·x̂, of features `step` elements apart. The first operands are dy and x.
template <class Block, class Number>
MESHLOOM_DEVICE void add_slopes(const Block& block, const view& means, const view& variances, Number* dbias,
                                Number* dgain, std::int64_t step, bool accumulate) {
  if (!accumulate) block.each([=](std::int64_t feature) { dbias[feature * step] = dgain[feature * step] = 0; });
  block.each_strip([&](const auto& strip) {
    const Number *const mean = strip.in(means), *const variance = strip.in(variances);
    typename Block::strip::lanes sum, product;
    strip.each([&](std::int64_t i) { sum[i] = product[i] = 0; });
    strip.each_row([&](std::int64_t at) {
      const auto *const dy = strip.row(strip.with.operand[0], at), *const x = strip.row(strip.with.operand[1], at);
      strip.each([&](std::int64_t i) {
        sum[i] += dy[i];
        product[i] += dy[i] * (x[i] - mean[i]);
      });
    });
    strip.each([&](std::int64_t i) {
      dbias[(strip.first + i) * step] += sum[i];
      dgain[(strip.first + i) * step] += product[i] * reciprocal_deviation(variance[i], strip.with);
    });
  });
}

}  // namespace detail

struct batch_norm_kernel : feature_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const feature_block<Element, Team> block(team, which, with);
    using number = computed<Element>;
    const number rows = static_cast<number>(with.attribute[1]);
    number* const mean = with.result[1].as<number>();
    number* const variance = with.result[2].as<number>();
    number* const sum = with.exchanged[0].as<number>();
    number* const squares = with.exchanged[1].as<number>();
    if (with.part == 0) return add_rows(block, sum, [](number value, std::int64_t) { return value; });
    if (with.part == all_parts) {
      find_moments(block, mean, variance);
      block.each([=](std::int64_t feature) { variance[feature] /= rows; });
    } else {
      block.each([=](std::int64_t feature) { mean[feature] = sum[feature] / rows; });
      const auto square = [=](number value, std::int64_t feature) {
        return (value - mean[feature]) * (value - mean[feature]);
      };
      if (with.part == 1) return add_rows(block, squares, square);
      block.each([=](std::int64_t feature) { variance[feature] = squares[feature] / rows; });
    }
    detail::normalise(block, with.result[1], with.result[2]);
  }

 private:
  /// sum = Σ term(x, feature) over the rows.
  template <class Block, class Number, class Term>
  MESHLOOM_DEVICE static void add_rows(const Block& block, Number* sum, Term term) {
    block.each([=](std::int64_t feature) { sum[feature] = 0; });
    block.each_strip([&](const auto& strip) {
      typename Block::strip::lanes part;
      strip.each([&](std::int64_t i) { part[i] = 0; });
      strip.each_row([&](std::int64_t at) {
        const auto* const x = strip.row(strip.with.operand[0], at);
        strip.each([&](std::int64_t i) { part[i] += term(x[i], strip.first + i); });
      });
      strip.each([&](std::int64_t i) { sum[strip.first + i] += part[i]; });
    });
  }

  /// Means, and sums of squares around them: those of each stretch joined to those of the rows before.
  template <class Block, class Number>
  MESHLOOM_DEVICE static void find_moments(const Block& block, Number* means, Number* squares) {
    block.each([=](std::int64_t feature) { means[feature] = squares[feature] = 0; });
    block.each_strip([&](const auto& strip) {
      const view& tensor = strip.with.operand[0];
      const Number before = static_cast<Number>(strip.begin), added = static_cast<Number>(strip.end - strip.begin);
      const Number share = added / (before + added), weight = before * share;
      typename Block::strip::lanes mean, square;
      strip.each([&](std::int64_t i) { mean[i] = square[i] = 0; });
      strip.each_row([&](std::int64_t at) {
        const auto* const x = strip.row(tensor, at);
        strip.each([&](std::int64_t i) { mean[i] += x[i]; });
      });
      strip.each([&](std::int64_t i) { mean[i] /= added; });
      strip.each_row([&](std::int64_t at) {
        const auto* const x = strip.row(tensor, at);
        strip.each([&](std::int64_t i) { square[i] += (x[i] - mean[i]) * (x[i] - mean[i]); });
      });
      Number *const to_mean = means + strip.first, *const to_squares = squares + strip.first;
      strip.each([&](std::int64_t i) {
        const Number apart = mean[i] - to_mean[i];
        to_mean[i] += apart * share;
        to_squares[i] += square[i] + apart * apart * weight;
      });
    });
  }
};

/// dx = gain · rstd · (dy − (Σ dy + x̂ · Σ dy·x̂) / rows), where rstd = 1 / √(variance + epsilon), x̂ = (x − mean) · rstd.
struct batch_norm_gradient_kernel : feature_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const feature_block<Element, Team> block(team, which, with);
    const view &means = with.operand[3], &variances = with.operand[4];
    using number = computed<Element>;
    number* const dgain = with.result[1].as<number>();
    number* const dbias = with.result[2].as<number>();
    number* const exchanged = with.exchanged[0].as<number>();
    if (with.part == 0) return detail::add_slopes(block, means, variances, exchanged, exchanged + 1, 2, false);
    if (with.part == all_parts) {
      detail::add_slopes(block, means, variances, dbias, dgain, 1, false);
    } else {
      block.each([=](std::int64_t feature) {
        dbias[feature] = exchanged[2 * feature];
        dgain[feature] = exchanged[2 * feature + 1];
      });
    }
    block.each_strip([&](const auto& strip) { find_slopes(strip); });
  }

 private:
  template <class Strip>
  MESHLOOM_DEVICE static void find_slopes(const Strip& strip) {
    const call& with = strip.with;
    using number = typename Strip::number;
    const number share = number(1) / static_cast<number>(with.attribute[1]);
    const number *const gain = strip.in(with.operand[2]), *const mean = strip.in(with.operand[3]);
    const number* const variance = strip.in(with.operand[4]);
    const number *const dgain = strip.in(with.result[1]), *const dbias = strip.in(with.result[2]);
    typename Strip::lanes scale, shift, slope;
    strip.each([&](std::int64_t i) {
      const number rstd = detail::reciprocal_deviation(variance[i], with);
      scale[i] = gain[i] * rstd;
      shift[i] = dbias[i] * share;
      slope[i] = dgain[i] * share * rstd;
    });
    strip.each_row([&](std::int64_t at) {
      const auto *const dy = strip.row(with.operand[0], at), *const x = strip.row(with.operand[1], at);
      auto* const dx = strip.row(with.result[0], at);
      strip.each([&](std::int64_t i) { dx[i] = scale[i] * (dy[i] - shift[i] - (x[i] - mean[i]) * slope[i]); });
    });
  }
};

struct batch_norm_inference_kernel : feature_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    detail::normalise(feature_block<Element, Team>(team, which, with), with.operand[3], with.operand[4]);
  }
};

struct batch_norm_inference_gradient_input_kernel : feature_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    feature_block<Element, Team>(team, which, with).each_strip([&](const auto& strip) {
      const auto *const gain = strip.in(with.operand[1]), *const variance = strip.in(with.operand[2]);
      typename feature_strip<Element, Team>::lanes scale;
      strip.each([&](std::int64_t i) { scale[i] = gain[i] * detail::reciprocal_deviation(variance[i], with); });
      strip.each_row([&](std::int64_t at) {
        const Element* const dy = strip.row(with.operand[0], at);
        Element* const dx = strip.row(with.result[0], at);
        strip.each([&](std::int64_t i) { dx[i] = scale[i] * dy[i]; });
      });
    });
  }
};

struct batch_norm_inference_gradient_weights_kernel : feature_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    detail::add_slopes(feature_block<Element, Team>(team, which, with), with.operand[2], with.operand[3],
                       with.result[1].as<computed<Element>>(), with.result[0].as<computed<Element>>(), 1,
                       with.accumulate);
  }
};

template <int Rank, int Features>
struct kernel_of<op::batch_norm<Rank, Features>> : by_features<batch_norm_kernel, Features> {};
template <int Rank, int Features>
struct kernel_of<op::batch_norm_gradient<Rank, Features>> : by_features<batch_norm_gradient_kernel, Features> {};
template <int Rank, int Features>
struct kernel_of<op::batch_norm_inference<Rank, Features>> : by_features<batch_norm_inference_kernel, Features> {};
template <int Rank, int Features>
struct kernel_of<op::batch_norm_inference_gradient_input<Rank, Features>>
    : by_features<batch_norm_inference_gradient_input_kernel, Features> {};
template <int Rank, int Features>
struct kernel_of<op::batch_norm_inference_gradient_weights<Rank, Features>>
    : by_features<batch_norm_inference_gradient_weights_kernel, Features> {};

}  // namespace meshloom
