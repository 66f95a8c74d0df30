// SPDX-License-Identifier: Apache-2.0
// Adafactor: sums are one team's work, in double where they are of all elements; the step is a team per row of a matrix
// or stretch of a vector. With `all_parts` one team does everything.
// Law: all views of a call are dense; result 0 and its operands are of the parameter's extents, r and c of all of them
// but the last and but the last but one.
#pragma once

#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/stretch.hpp>
#include <meshloom/op/adafactor.hpp>

namespace meshloom {

namespace detail {

/// How much of a second moment a step keeps: 1 − n^−γ, so that the first keeps nothing.
MESHLOOM_DEVICE inline double adafactor_keeps(const call& with) {
  return 1 - math::exp(-with.attribute[2] * math::log(static_cast<double>(with.step + 1)));
}

/// A step along u, once Σ u² and Σ p² are known.
template <class Element>
struct adafactor_step {
  Element pace, shrink, keep, take;

  MESHLOOM_DEVICE adafactor_step(const call& with, double directions, double weights) {
    double count = 1;
    for (int axis = 0; axis < with.result[0].rank; ++axis) count *= static_cast<double>(with.result[0].global[axis]);
    double scale = with.attribute[0] * with.rate;
    if (const double relative = with.attribute[7]; relative > 0) {
      const double later = 1 / (relative * math::sqrt(static_cast<double>(with.step + 1)));
      const double size = math::sqrt(weights / count);
      scale *= (later < 1 ? later : 1) * (size > with.attribute[4] ? size : with.attribute[4]);
    }
    const double excess = math::sqrt(directions / count) / with.attribute[5];
    pace = static_cast<Element>(excess > 1 ? scale / excess : scale);
    shrink = static_cast<Element>(1 - scale * with.attribute[6]);
    keep = static_cast<Element>(with.attribute[1]), take = static_cast<Element>(1 - with.attribute[1]) * pace;
  }

  /// `m` is null without momentum.
  template <bool Momentum, class Team, class Direction>
  MESHLOOM_DEVICE void move(Team team, std::int64_t n, Element* p, Element* m, Direction u) const {
    if constexpr (Momentum) {
      team.for_each(n, [=, here = *this](std::int64_t i) {
        m[i] = here.keep * m[i] + here.take * u(i);
        p[i] = here.shrink * p[i] - m[i];
      });
    } else {
      team.for_each(n, [=, here = *this](std::int64_t i) { p[i] = here.shrink * p[i] - here.pace * u(i); });
    }
  }
};

/// The sums of u² and p² over some elements, added up.
struct adafactor_sums {
  double directions = 0, weights = 0;

  /// `square(i)` is that of u.
  template <class Element, class Team, class Square>
  MESHLOOM_DEVICE void add(Team team, std::int64_t n, const Element* p, Square square) {
    directions += static_cast<double>(team.template reduce<Element>(n, 0, addition{}, square));
    weights += static_cast<double>(
        team.template reduce<Element>(n, 0, addition{}, [=](std::int64_t i) { return p[i] * p[i]; }));
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE void write(Team team, const view& to) const {
    if (!team.leader()) return;
    to.as<Element>()[0] = static_cast<Element>(directions);
    to.as<Element>()[1] = static_cast<Element>(weights);
  }
  template <class Element>
  MESHLOOM_DEVICE static adafactor_step<Element> step_of(const call& with, const view& sums) {
    return {with, static_cast<double>(sums.as<const Element>()[0]), static_cast<double>(sums.as<const Element>()[1])};
  }
};

/// The matrices of the last two axes of a parameter and its gradient, and the means of g² that are kept of them.
template <class Element>
struct adafactor_matrices {
  Element *p, *r, *c;
  const Element* g;
  std::int64_t matrices = 1, rows, columns;
  Element all_rows, all_columns, keep, take, least;

  MESHLOOM_DEVICE explicit adafactor_matrices(const call& with) {
    const view& of = with.result[0];
    for (int axis = 0; axis < of.rank - 2; ++axis) matrices *= of.extent[axis];
    rows = of.extent[of.rank - 2], columns = of.extent[of.rank - 1];
    all_rows = static_cast<Element>(of.global[of.rank - 2]), all_columns = static_cast<Element>(of.global[of.rank - 1]);
    p = of.as<Element>(), r = with.result[1].as<Element>(), c = with.result[2].as<Element>();
    g = with.operand[1].as<const Element>();
    const double keeps = adafactor_keeps(with);
    keep = static_cast<Element>(keeps), take = static_cast<Element>(1 - keeps);
    least = static_cast<Element>(with.attribute[3]);
  }

  template <class Team>
  MESHLOOM_DEVICE Element row_squares(Team team, std::int64_t row) const {
    const Element* const slope = g + row * columns;
    return team.template reduce<Element>(columns, 0, addition{}, [=](std::int64_t j) { return slope[j] * slope[j]; });
  }

  /// Adds `weight` times the sums of the columns of every matrix.
  template <class Team>
  MESHLOOM_DEVICE void add_column_squares(Team team, Element weight, Element* to) const {
    for (std::int64_t row = 0; row < matrices * rows; ++row) {
      const Element* const slope = g + row * columns;
      Element* const sums = to + row / rows * columns;
      team.for_each(columns, [=](std::int64_t j) { sums[j] += weight * (slope[j] * slope[j]); });
    }
  }

  MESHLOOM_DEVICE Element mixed(Element before, Element mean) const { return keep * before + take * (mean + least); }

  template <class Team>
  MESHLOOM_DEVICE Element sum_of_rows(Team team, std::int64_t matrix) const {
    return team.template reduce<Element>(rows, 0, addition{},
                                         [means = r + matrix * rows](std::int64_t i) { return means[i]; });
  }

  /// The direction of a row is g times this, over the roots of c; `sum` is that of r over the rows of its matrix. Roots
  /// apart: of zero gradients the product of r and c is less than the least number.
  MESHLOOM_DEVICE Element scale(std::int64_t row, Element sum) const {
    return math::sqrt(sum / all_rows) / math::sqrt(r[row]);
  }
};

}  // namespace detail

/// Of matrices, and of more axes than two: matrices of the last two.
template <bool Momentum>
struct adafactor_matrix_kernel {
  template <class Element>
  using matrices = detail::adafactor_matrices<Element>;

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    const matrices<Element> here(with);
    return with.part == 4 ? here.matrices * here.rows : 1;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const matrices<Element> here(with);
    switch (with.part) {
      case 0:
        return sum_rows(team, here, with.exchanged[0].as<Element>());
      case 1:
        return sum_columns(team, here, with.exchanged[1].as<Element>());
      case 2:
        return take_sums(team, here, with);
      case 3:
        return add_up(team, here, with.exchanged[2].as<Element>()).template write<Element>(team, with.exchanged[3]);
      case 4: {
        const Element sum = with.exchanged[2].as<const Element>()[which / here.rows];
        return step(team, here, which, sum, detail::adafactor_sums::step_of<Element>(with, with.exchanged[3]), with);
      }
      default:
        return run_whole(team, here, with);
    }
  }

 private:
  template <class Element, class Team>
  MESHLOOM_DEVICE static void sum_rows(Team team, const matrices<Element>& here, Element* sums) {
    for (std::int64_t row = 0; row < here.matrices * here.rows; ++row) {
      const Element sum = here.row_squares(team, row);
      if (team.leader()) sums[row] = sum;
    }
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void sum_columns(Team team, const matrices<Element>& here, Element* sums) {
    team.for_each(here.matrices * here.columns, [=](std::int64_t j) { sums[j] = 0; });
    team.sync();
    here.add_column_squares(team, Element(1), sums);
  }

  /// Each shard of a row adds its part of the row's mean to the sum of means.
  template <class Element, class Team>
  MESHLOOM_DEVICE static void take_sums(Team team, const matrices<Element>& here, const call& with) {
    const Element* const of_rows = with.exchanged[0].as<const Element>();
    const Element* const of_columns = with.exchanged[1].as<const Element>();
    team.for_each(here.matrices * here.rows,
                  [=](std::int64_t i) { here.r[i] = here.mixed(here.r[i], of_rows[i] / here.all_columns); });
    team.for_each(here.matrices * here.columns,
                  [=](std::int64_t j) { here.c[j] = here.mixed(here.c[j], of_columns[j] / here.all_rows); });
    team.sync();
    const Element share = static_cast<Element>(here.columns) / here.all_columns;
    for (std::int64_t matrix = 0; matrix < here.matrices; ++matrix) {
      const Element sum = here.sum_of_rows(team, matrix);
      if (team.leader()) with.exchanged[2].as<Element>()[matrix] = sum * share;
    }
  }

  /// `sums`, of r over the rows of each matrix, is null if they are still to be made.
  template <class Element, class Team>
  MESHLOOM_DEVICE static detail::adafactor_sums add_up(Team team, const matrices<Element>& here, const Element* sums) {
    detail::adafactor_sums all;
    Element sum = 0;
    for (std::int64_t row = 0; row < here.matrices * here.rows; ++row) {
      if (sums != nullptr) sum = sums[row / here.rows];
      if (sums == nullptr && row % here.rows == 0) sum = here.sum_of_rows(team, row / here.rows);
      const Element* const slope = here.g + row * here.columns;
      const Element* const means = here.c + row / here.rows * here.columns;
      all.add(team, here.columns, static_cast<const Element*>(here.p + row * here.columns),
              [=, scale = here.scale(row, sum)](std::int64_t j) {
                const Element scaled = slope[j] * scale;
                return scaled * scaled / means[j];
              });
    }
    return all;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void step(Team team, const matrices<Element>& here, std::int64_t row, Element sum,
                                   const detail::adafactor_step<Element>& how, const call& with) {
    const std::int64_t first = row * here.columns;
    Element* const m = Momentum ? with.result[3].as<Element>() + first : nullptr;
    const Element* const slope = here.g + first;
    const Element* const means = here.c + row / here.rows * here.columns;
    how.template move<Momentum>(
        team, here.columns, here.p + first, m,
        [=, scale = here.scale(row, sum)](std::int64_t j) { return slope[j] * scale / math::sqrt(means[j]); });
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run_whole(Team team, const matrices<Element>& here, const call& with) {
    for (std::int64_t row = 0; row < here.matrices * here.rows; ++row) {
      const Element mean = here.row_squares(team, row) / here.all_columns;
      if (team.leader()) here.r[row] = here.mixed(here.r[row], mean);
    }
    team.for_each(here.matrices * here.columns, [=](std::int64_t j) { here.c[j] = here.mixed(here.c[j], 0); });
    team.sync();
    here.add_column_squares(team, here.take / here.all_rows, here.c);
    team.sync();
    const detail::adafactor_sums all = add_up<Element>(team, here, nullptr);
    const detail::adafactor_step<Element> how(with, all.directions, all.weights);
    Element sum = 0;
    for (std::int64_t row = 0; row < here.matrices * here.rows; ++row) {
      if (row % here.rows == 0) sum = here.sum_of_rows(team, row / here.rows);
      step(team, here, row, sum, how, with);
    }
  }
};

/// Of vectors and scalars.
template <bool Momentum>
struct adafactor_vector_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return with.part == 1 ? detail::stretch::number_of(with.result[0]) : 1;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    if (with.part == 1)
      return step(team, which, with, detail::adafactor_sums::step_of<Element>(with, with.exchanged[0]));
    const double keeps = detail::adafactor_keeps(with);
    const Element keep = static_cast<Element>(keeps), take = static_cast<Element>(1 - keeps);
    const Element least = static_cast<Element>(with.attribute[3]);
    const std::int64_t stretches = detail::stretch::number_of(with.result[0]);
    detail::adafactor_sums all;
    for (std::int64_t at = 0; at < stretches; ++at) {
      const detail::stretch part(with.result[0], at);
      const Element* const g = with.operand[1].as<const Element>() + part.first;
      Element* const v = with.result[1].as<Element>() + part.first;
      team.for_each(part.count, [=](std::int64_t i) { v[i] = keep * v[i] + take * (g[i] * g[i] + least); });
      all.add(team, part.count, with.result[0].as<const Element>() + part.first,
              [=](std::int64_t i) { return g[i] * g[i] / v[i]; });
    }
    if (with.part == 0) return all.template write<Element>(team, with.exchanged[0]);
    const detail::adafactor_step<Element> how(with, all.directions, all.weights);
    for (std::int64_t at = 0; at < stretches; ++at) step(team, at, with, how);
  }

 private:
  template <class Element, class Team>
  MESHLOOM_DEVICE static void step(Team team, std::int64_t which, const call& with,
                                   const detail::adafactor_step<Element>& how) {
    const detail::stretch part(with.result[0], which);
    const Element* const g = with.operand[1].as<const Element>() + part.first;
    const Element* const v = with.result[1].as<const Element>() + part.first;
    Element* const m = Momentum ? with.result[2].as<Element>() + part.first : nullptr;
    how.template move<Momentum>(team, part.count, with.result[0].as<Element>() + part.first, m,
                                [=](std::int64_t i) { return g[i] / math::sqrt(v[i]); });
  }
};

template <int Rank, bool Momentum>
struct kernel_of<op::adafactor<Rank, Momentum>> : adafactor_matrix_kernel<Momentum> {};
template <int Rank, bool Momentum>
  requires(Rank < 2)
struct kernel_of<op::adafactor<Rank, Momentum>> : adafactor_vector_kernel<Momentum> {};

}  // namespace meshloom
