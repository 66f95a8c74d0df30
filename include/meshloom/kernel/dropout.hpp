// SPDX-License-Identifier: Apache-2.0
// Dropout by counter: what is drawn for an element depends on its place in the whole batch, never on who holds it.
// Law: 16 random bits per element, so that rates are multiples of 2⁻¹⁶. The elements of every 512 share 64 blocks of
// four words, neighbours taking bits of neighbouring blocks: SIMD lanes and threads each draw a block and write side by
// side.
#pragma once

#include <meshloom/kernel/collapse.hpp>
#include <meshloom/kernel/random.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/dropout.hpp>

namespace meshloom {

/// Which elements a call drops.
struct dropout_mask {
  static constexpr std::int64_t blocks = 64, words = 4 * blocks, run = 2 * words;  ///< a run: what shares the blocks

  std::uint64_t key, stream;
  std::uint32_t threshold;  ///< bits below it drop

  MESHLOOM_DEVICE explicit dropout_mask(const call& with)
      : key(key_of_step(with.seed, with.step)),
        stream((static_cast<std::uint64_t>(with.attribute[1]) << copy_bits) |
               (with.number & ((std::uint64_t{1} << copy_bits) - 1))),
        threshold(math::detail::least(static_cast<std::uint32_t>(with.attribute[0] * 0x1p16 + 0.5), 0xffffu)) {}

  /// What is kept is multiplied by this: 1 / (1 − rate).
  MESHLOOM_DEVICE double scale() const { return 0x1p16 / (0x1p16 - threshold); }

  /// Bits 16·half … of word w are those of element first + half · words + w · blocks + lane; `first` begins a run.
  [[gnu::always_inline]] MESHLOOM_DEVICE random_block draw(std::int64_t first, std::int64_t lane) const {
    const auto which = static_cast<std::uint64_t>(first / run * blocks + lane);
    return philox({{static_cast<std::uint32_t>(which), static_cast<std::uint32_t>(which >> 32),
                    static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
                  static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32));
  }

  template <class Number>
  MESHLOOM_DEVICE Number kept(std::uint32_t word, int half, Number scaled) const {
    return math::choose((word >> 16 * half & 0xffff) < threshold, Number(0), scaled);
  }
};

/// Operand 1 tells the places: its strides count elements of the whole batch, its first origin is that of the first.
/// All last strides are 1. A task is a part of a row.
struct dropout_kernel {
  static constexpr std::int64_t task = 8192;

  MESHLOOM_DEVICE static std::int64_t parts(const view& y) { return (y.extent[y.rank - 1] + task - 1) / task; }

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.result[0]) * parts(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const view &shard = with.result[0], &places = with.operand[1];
    const row_index row(shard, which / parts(shard));
    const std::int64_t begin = which % parts(shard) * task, left = shard.extent[shard.rank - 1] - begin;
    std::int64_t place = places.origin[0] + begin;
    for (int axis = 0; axis < row.axes; ++axis) place += row.at[axis] * places.stride[axis];
    const std::int64_t before = place % dropout_mask::run;  // elements of the first run that are not of this task
    const Element* const x = row.template in<const Element>(with.operand[0]) + begin;
    Element* const y = row.template in<Element>(shard) + begin;
    drop(team, dropout_mask(with), place - before, x, y, -before, left < task ? left : task);
  }

 private:
  /// Elements at, at + 1, … of x and y are those of the runs from `place` on; those from 0 to `count` exist.
  template <class Element, class Team>
  MESHLOOM_DEVICE static void drop(Team team, const dropout_mask& mask, std::int64_t place, const Element* x,
                                   Element* y, std::int64_t at, std::int64_t count) {
    const auto scale = static_cast<computed<Element>>(mask.scale());
    if constexpr (Team::lanes == 1) {
      const std::int64_t runs = (count - at + mask.run - 1) / mask.run;
      team.for_each(runs * mask.blocks, [&](std::int64_t which) {
        const std::int64_t run = which / mask.blocks * mask.run, lane = which % mask.blocks;
        const random_block drawn = mask.draw(place + run, lane);
        for (int part = 0; part < 8; ++part) {
          const std::int64_t i = at + run + part * mask.blocks + lane;
          if (i >= 0 && i < count) y[i] = mask.kept(drawn.word[part % 4], part / 4, x[i] * scale);
        }
      });
    } else {
      for (; at < count; at += mask.run, place += mask.run) drop_run(team, mask, place, x, y, at, count, scale);
    }
  }

  /// SIMD lanes draw all bits of a run first.
  template <class Element, class Team>
  MESHLOOM_DEVICE static void drop_run(Team team, const dropout_mask& mask, std::int64_t place, const Element* x,
                                       Element* y, std::int64_t at, std::int64_t count, computed<Element> scale) {
    std::uint32_t words[dropout_mask::words];
    team.for_each(mask.blocks, [&](std::int64_t lane) {
      const random_block drawn = mask.draw(place, lane);
      for (int word = 0; word < 4; ++word) words[word * mask.blocks + lane] = drawn.word[word];
    });
    for (int half = 0; half < 2; ++half, at += mask.words) {
      const std::int64_t first = at < 0 ? 0 : at, end = at + mask.words < count ? at + mask.words : count;
      const std::uint32_t* const bits = words + (first - at);
      team.for_each(end - first,
                    [=](std::int64_t i) { y[first + i] = mask.kept(bits[i], half, x[first + i] * scale); });
    }
  }
};

template <int Rank>
struct kernel_of<op::dropout<Rank>> {
  using kernel = dropout_kernel;

  /// Merges the axes that lie contiguously in memory and in the whole batch.
  static call arrange(const call& with) {
    call made = with;
    made.operand[1] = places_of(with);
    view* const tensors[] = {&made.result[0], &made.operand[0], &made.operand[1]};
    collapse(tensors, 0, Rank);
    bool dense = made.result[0].rank > 0;
    for (const view* tensor : tensors) dense = dense && tensor->stride[tensor->rank - 1] == 1;
    if (dense) return made;
    for (view* tensor : tensors) {  // the last axis is one element of many: rows of one element
      tensor->extent[tensor->rank] = tensor->stride[tensor->rank] = 1;
      ++tensor->rank;
    }
    return made;
  }

 private:
  static view places_of(const call& with) {
    view places = with.operand[0];
    const auto batched = static_cast<int>(with.attribute[2]);
    std::int64_t step = 1, first = 0;
    for (int axis = Rank - 1; axis >= 0; --axis) {
      const auto parts = static_cast<std::int64_t>(axis == batched ? with.micro_batches : 1);
      const auto part = static_cast<std::int64_t>(axis == batched ? with.micro_batch : 0);
      places.stride[axis] = step;
      first += (part * places.global[axis] + places.origin[axis]) * step;
      step *= places.global[axis] * parts;
    }
    places.origin[0] = first;
    return places;
  }
};

}  // namespace meshloom
