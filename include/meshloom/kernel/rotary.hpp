// SPDX-License-Identifier: Apache-2.0
// Rotary positions: a team per position, which computes each angle once for all rows at it.
// Law: angles depend on the position in the whole sequence alone; they are computed in double whatever the elements
// are, so that sines and cosines are off by at most 2e-10 up to position 2^20, and by less before.
#pragma once

#include <meshloom/kernel/collapse.hpp>
#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/rotary.hpp>

namespace meshloom {

/// The rotations of one position: of pair i by turn · base^(−i / half).
struct rotary_angles {
  double turn, step;

  MESHLOOM_DEVICE rotary_angles(double base, double position, std::int64_t half)
      : turn(position), step(-math::log(base) * math::log2_of_e / static_cast<double>(half)) {}
  MESHLOOM_DEVICE math::sine_and_cosine of(std::int64_t i) const {
    return math::sine_and_cosine(turn * math::exp2(static_cast<double>(i) * step));
  }
};

/// Views are [position, …, element]; the origin of their first axis is that of the positions.
struct rotary_kernel {
  static constexpr std::int64_t block = 128;  ///< pairs whose sines and cosines are kept at a time

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return with.operand[0].extent[0];
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const view& shard = with.operand[0];
    const std::int64_t n = shard.extent[shard.rank - 1], half = n / 2, rows = row_count(shard) / shard.extent[0];
    const double position = with.attribute[1] * static_cast<double>(shard.origin[0] + which);
    const rotary_angles angles(with.attribute[0], position, half);
    if constexpr (Team::lanes == 1) {
      using number = computed<Element>;
      team.for_each(half, [&](std::int64_t i) {
        const auto [sine, cosine] = angles.of(i);
        for (std::int64_t row = which * rows; row < (which + 1) * rows; ++row) {
          pairs<Element>(with, row, half).turn(i, static_cast<number>(sine), static_cast<number>(cosine));
        }
      });
    } else {
      run_in_blocks<Element>(team, which, with, rows, half, angles);
    }
    if (n % 2 == 0 || !team.leader()) return;
    for (std::int64_t row = which * rows; row < (which + 1) * rows; ++row) {
      const pairs<Element> last(with, row, half);
      last.y[n - 1] = last.x[n - 1];
    }
  }

 private:
  /// The pairs of one row.
  template <class Element>
  struct pairs {
    const Element* x;
    Element* y;
    std::int64_t half;

    MESHLOOM_DEVICE pairs(const call& with, std::int64_t which, std::int64_t pairs_of_row) : half(pairs_of_row) {
      const row_index row(with.operand[0], which);
      x = row.template in<const Element>(with.operand[0]);
      y = row.template in<Element>(with.result[0]);
    }
    MESHLOOM_DEVICE void turn(std::int64_t i, computed<Element> sine, computed<Element> cosine) const {
      const computed<Element> left = x[i], right = x[half + i];
      y[i] = left * cosine - right * sine;
      y[half + i] = right * cosine + left * sine;
    }
  };

  /// SIMD lanes compute a block of sines and cosines first, then use them in every row.
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run_in_blocks(Team team, std::int64_t which, const call& with, std::int64_t rows,
                                            std::int64_t half, const rotary_angles& angles) {
    using number = computed<Element>;
    number sine[block], cosine[block];
    for (std::int64_t begin = 0; begin < half; begin += block) {
      const std::int64_t count = half - begin < block ? half - begin : block;
      team.for_each(count, [&](std::int64_t i) {
        const math::sine_and_cosine at = angles.of(begin + i);
        sine[i] = static_cast<number>(at.sine);
        cosine[i] = static_cast<number>(at.cosine);
      });
      for (std::int64_t row = which * rows; row < (which + 1) * rows; ++row) {
        const pairs<Element> of_row(with, row, half), ahead(with, row + rows, half);  // at the next position
        for (std::int64_t i = 0; i < 2 * count; i += Team::lanes) {
          team.fetch(ahead.x + 2 * begin + i);
          team.fetch(ahead.y + 2 * begin + i);
        }
        team.for_each(count, [&](std::int64_t i) { of_row.turn(begin + i, sine[i], cosine[i]); });
      }
    }
  }
};

template <int Rank, int Seq>
struct kernel_of<op::rotary<Rank, Seq>> {
  using kernel = rotary_kernel;

  static call arrange(const call& with) {
    index_list given = op::first<Rank>::list::list, wanted = given;
    for (int axis = Seq; axis > 0; --axis) {
      wanted.at[static_cast<std::size_t>(axis)] = given.at[static_cast<std::size_t>(axis - 1)];
    }
    wanted.at[0] = Seq;
    call made = with;
    for (view* tensor : {&made.operand[0], &made.result[0]}) {
      view pattern = *tensor;
      for (int axis = 0; axis < Rank; ++axis)
        pattern.extent[axis] = tensor->extent[wanted.at[static_cast<std::size_t>(axis)]];
      *tensor = realigned(*tensor, given, wanted, pattern);
    }
    made.operand[0].origin[0] = with.operand[0].origin[Seq];
    view* const both[] = {&made.operand[0], &made.result[0]};
    collapse(both, 1, Rank - 1);
    return made;
  }
};

}  // namespace meshloom
