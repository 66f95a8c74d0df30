// SPDX-License-Identifier: Apache-2.0
// Random shards for the tests of exec: any box of a tensor, dense or not, in any axis order, between places that must
// not change.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/exec/box.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <random>
#include <type_traits>
#include <utility>

namespace shards {

using meshloom::box;
using meshloom::max_rank;
using meshloom::view;

using place = std::array<std::int64_t, max_rank>;
using chance = std::mt19937;

/// Uniform in 0 … last.
inline std::int64_t draw(chance& dice, std::int64_t last) {
  return std::uniform_int_distribution<std::int64_t>(0, last)(dice);
}

template <class Body>
void for_each_index(const box& part, Body body) {
  place at{};
  const auto visit = [&](const auto& self, std::size_t axis) -> void {
    if (axis == static_cast<std::size_t>(part.rank)) return body(std::as_const(at));
    for (std::int64_t step = 0; step < part.side[axis].extent; ++step) {
      at[axis] = part.side[axis].origin + step;
      self(self, axis + 1);
    }
  };
  visit(visit, 0);
}

/// The element of `shard` at a place of the whole tensor.
template <class Element>
Element& element(const view& shard, const place& at) {
  std::int64_t offset = 0;
  for (int axis = 0; axis < shard.rank; ++axis) {
    offset += (at[static_cast<std::size_t>(axis)] - shard.origin[axis]) * shard.stride[axis];
  }
  return shard.as<Element>()[offset];
}

/// The same of any type, as a number.
inline double value_at(const view& shard, const place& at) {
  if (shard.type == meshloom::dtype::i32) return element<std::int32_t>(shard, at);
  return meshloom::with_floating(shard.type,
                                 [&]<class Element>(Element) { return double(element<Element>(shard, at)); });
}

/// A shard of any type between bytes that must not change; NaN until it is written.
struct held {
  static constexpr std::size_t margin = 64;
  static constexpr std::byte untouched{0xa5}, nan{0xff};

  meshloom::vector<std::byte> memory;
  view seen;

  held(view shape, meshloom::dtype type) : seen(shape) {
    seen.type = type;
    meshloom::make_dense(seen);
    memory.assign(static_cast<std::size_t>(seen.count() * meshloom::size_of(type)) + 2 * margin, untouched);
    std::fill(memory.begin() + margin, memory.end() - margin, nan);
    seen.data = memory.data() + margin;
  }

  bool intact() const {
    const auto clean = [](std::byte each) { return each == untouched; };
    return std::all_of(memory.begin(), memory.begin() + margin, clean) &&
           std::all_of(memory.end() - margin, memory.end(), clean);
  }
};

/// What member `member` has at a place: a fraction whose sums depend on their order, or a small integer.
template <class Element>
Element value(std::size_t member, const place& at, std::uint64_t salt = 0) {
  std::uint64_t bits = member + 1 + 1000 * salt;
  for (const std::int64_t i : at) bits = (bits ^ static_cast<std::uint64_t>(i)) * 0x9e3779b97f4a7c15ULL + 12345;
  bits ^= bits >> 29;
  const auto number = static_cast<std::int32_t>(bits % 2000003) - 1000001;
  if constexpr (std::is_integral_v<Element>)
    return number;
  else
    return static_cast<Element>(static_cast<meshloom::computed<Element>>(number) / 997);
}

template <class Element>
inline constexpr Element untouched = static_cast<Element>(static_cast<meshloom::computed<Element>>(-77777777));

/// A shard with memory of its own.
template <class Element>
struct shard {
  meshloom::vector<Element> memory;
  view seen;

  shard(chance& dice, const meshloom::vector<std::int64_t>& global, const box& part, bool dense = false) {
    seen.rank = part.rank;
    seen.type = meshloom::dtype_of<Element>;
    std::copy(global.begin(), global.end(), seen.global);
    meshloom::vector<int> order(global.size());
    std::iota(order.begin(), order.end(), 0);
    if (!dense && draw(dice, 3) == 0) std::shuffle(order.begin(), order.end(), dice);
    std::int64_t step = !dense && draw(dice, 7) == 0 ? 2 : 1;
    for (std::size_t k = order.size(); k-- > 0;) {
      const auto axis = static_cast<std::size_t>(order[k]);
      seen.origin[axis] = part.side[axis].origin;
      seen.extent[axis] = part.side[axis].extent;
      seen.stride[axis] = step;
      step *= seen.extent[axis] + (!dense && draw(dice, 3) == 0 ? draw(dice, 2) : 0);
    }
    const std::int64_t before = dense ? 0 : draw(dice, 3);
    memory.assign(static_cast<std::size_t>(before + step + 2), untouched<Element>);
    seen.data = memory.data() + before;
  }
  shard(shard&&) = default;
  shard& operator=(shard&&) = default;

  void fill(std::size_t member, std::uint64_t salt = 0) {
    for_each_index(meshloom::box_of(seen),
                   [&](const place& at) { element<Element>(seen, at) = value<Element>(member, at, salt); });
  }

  /// How many places differ from `expected(index)` inside the box and from `untouched` outside; bitwise.
  template <class Expected>
  std::size_t count_wrong(Expected expected) const {
    std::size_t wrong = 0, inside = 0;
    for_each_index(meshloom::box_of(seen), [&](const place& at) {
      ++inside;
      wrong += element<Element>(seen, at) != expected(at);
    });
    const auto outside = static_cast<std::size_t>(std::count(memory.begin(), memory.end(), untouched<Element>));
    return wrong + (outside == memory.size() - inside ? 0 : 1);
  }
};

inline meshloom::vector<std::int64_t> random_extents(chance& dice, int rank, std::int64_t largest) {
  meshloom::vector<std::int64_t> extents;
  for (int axis = 0; axis < rank; ++axis) extents.push_back(draw(dice, 15) == 0 ? 0 : 1 + draw(dice, largest - 1));
  return extents;
}

inline box whole_box(const meshloom::vector<std::int64_t>& global) {
  box whole{.rank = static_cast<std::int32_t>(global.size())};
  for (std::size_t axis = 0; axis < global.size(); ++axis) whole.side[axis] = {0, global[axis]};
  return whole;
}

/// Any box of the tensor, on about half of the axes all of it.
inline box random_box(chance& dice, const meshloom::vector<std::int64_t>& global) {
  box part = whole_box(global);
  for (std::size_t axis = 0; axis < global.size(); ++axis) {
    if (draw(dice, 1) == 0) continue;
    const std::int64_t origin = draw(dice, global[axis]);
    part.side[axis] = {origin, draw(dice, global[axis] - origin)};
  }
  return part;
}

/// `parts` boxes that together are `whole`, cut along one axis: balanced, or anywhere.
inline meshloom::vector<box> pieces_of(chance& dice, const box& whole, std::size_t axis, std::size_t parts) {
  const meshloom::interval side = whole.side[axis];
  meshloom::vector<std::int64_t> border{0, side.extent};
  for (std::size_t k = 1; k < parts; ++k) border.push_back(draw(dice, side.extent));
  std::sort(border.begin(), border.end());
  const bool balanced = draw(dice, 1) == 0;
  meshloom::vector<box> boxes(parts, whole);
  for (std::size_t k = 0; k < parts; ++k) {
    const auto count = static_cast<std::int64_t>(parts), which = static_cast<std::int64_t>(k);
    boxes[k].side[axis] = balanced ? meshloom::balanced_part(side, count, which)
                                   : meshloom::interval{side.origin + border[k], border[k + 1] - border[k]};
  }
  return boxes;
}

}  // namespace shards
