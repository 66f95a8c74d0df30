// SPDX-License-Identifier: Apache-2.0
// How a tensor lies on a logical mesh: for each mesh axis whole, split(axis) or partial (a pending reduction). Where
// several mesh axes split one tensor axis the cuts are ordered, outer first; both orders are legal and different.
// Law: specs are canonical, so two specs mean the same layout if and only if they are equal.
// Source: GSPMD (Xu et al. 2021) and OneFlow's SBP (Yuan et al. 2021), with ordered cuts.
#pragma once

#include <meshloom/tensor/view.hpp>

#include <array>
#include <cstdint>
#include <span>

namespace meshloom {

/// The largest number of axes of a logical mesh.
inline constexpr int max_mesh_rank = 3;

/// The shape of a logical mesh: a grid of ranks, last axis fastest. Rank 0 is a single rank.
struct mesh_shape {
  std::int32_t rank = 0;
  std::array<std::int32_t, max_mesh_rank> size{};

  constexpr bool operator==(const mesh_shape&) const = default;
  constexpr std::int32_t ranks() const {
    std::int32_t product = 1;
    for (int axis = 0; axis < rank; ++axis) product *= size[static_cast<std::size_t>(axis)];
    return product;
  }
};

/// Where a rank sits in its mesh.
using mesh_coordinates = std::array<std::int32_t, max_mesh_rank>;

constexpr mesh_coordinates coordinates_of(const mesh_shape& mesh, std::int32_t rank) {
  mesh_coordinates at{};
  for (int axis = mesh.rank - 1; axis >= 0; --axis) {
    const auto extent = mesh.size[static_cast<std::size_t>(axis)];
    at[static_cast<std::size_t>(axis)] = rank % extent;
    rank /= extent;
  }
  return at;
}

constexpr std::int32_t rank_at(const mesh_shape& mesh, const mesh_coordinates& at) {
  std::int32_t rank = 0;
  for (int axis = 0; axis < mesh.rank; ++axis) {
    rank = rank * mesh.size[static_cast<std::size_t>(axis)] + at[static_cast<std::size_t>(axis)];
  }
  return rank;
}

enum class reduction : std::uint8_t { sum, max };

/// One cut: mesh axis `mesh_axis` splits tensor axis `axis` (a position in the tensor's shape).
struct cut {
  std::int8_t mesh_axis = 0;
  std::int8_t axis = 0;
  constexpr bool operator==(const cut&) const = default;
};

/// What one mesh axis does to a tensor.
struct placement {
  enum kind_type : std::uint8_t { whole, split, partial_sum, partial_max } kind = whole;
  std::int8_t axis = -1;  ///< the tensor axis, if split
  constexpr bool operator==(const placement&) const = default;
};

class spec {
 public:
  constexpr spec() = default;
  constexpr bool operator==(const spec&) const = default;

  /// Cuts sorted by tensor axis; cuts of one tensor axis outer first.
  constexpr std::span<const cut> cuts() const { return {cuts_.data(), static_cast<std::size_t>(cut_count_)}; }
  constexpr std::uint8_t partial_sum() const { return partial_sum_; }  ///< bit per mesh axis
  constexpr std::uint8_t partial_max() const { return partial_max_; }  ///< bit per mesh axis
  constexpr bool has_partial() const { return (partial_sum_ | partial_max_) != 0; }
  constexpr bool is_whole() const { return cut_count_ == 0 && !has_partial(); }

  /// What mesh axis `mesh_axis` does.
  constexpr placement on(int mesh_axis) const {
    if (partial_sum_ >> mesh_axis & 1) return {placement::partial_sum, -1};
    if (partial_max_ >> mesh_axis & 1) return {placement::partial_max, -1};
    for (const cut& c : cuts()) {
      if (c.mesh_axis == mesh_axis) return {placement::split, c.axis};
    }
    return {};
  }

  /// True if `mesh_axis` is the innermost cut of the tensor axis that it splits: only that cut can be undone alone.
  constexpr bool innermost(int mesh_axis) const {
    const placement here = on(mesh_axis);
    int last = -1;
    for (const cut& c : cuts()) {
      if (c.axis == here.axis) last = c.mesh_axis;
    }
    return here.kind == placement::split && last == mesh_axis;
  }

  /// This spec with mesh axis `mesh_axis` (which must be whole here) doing `what`; a split becomes the innermost cut.
  constexpr spec with(int mesh_axis, placement what) const {
    spec next = *this;
    const auto bit = static_cast<std::uint8_t>(1 << mesh_axis);
    if (what.kind == placement::partial_sum) next.partial_sum_ = static_cast<std::uint8_t>(next.partial_sum_ | bit);
    if (what.kind == placement::partial_max) next.partial_max_ = static_cast<std::uint8_t>(next.partial_max_ | bit);
    if (what.kind == placement::split) {
      int at = next.cut_count_++;
      for (; at > 0 && next.cuts_[static_cast<std::size_t>(at - 1)].axis > what.axis; --at) {
        next.cuts_[static_cast<std::size_t>(at)] = next.cuts_[static_cast<std::size_t>(at - 1)];
      }
      next.cuts_[static_cast<std::size_t>(at)] = {static_cast<std::int8_t>(mesh_axis), what.axis};
    }
    return next;
  }

  /// This spec with mesh axis `mesh_axis` whole.
  constexpr spec without(int mesh_axis) const {
    spec next;
    for (const cut& c : cuts()) {
      if (c.mesh_axis != mesh_axis) next.cuts_[static_cast<std::size_t>(next.cut_count_++)] = c;
    }
    const auto keep = static_cast<std::uint8_t>(~(1 << mesh_axis));
    next.partial_sum_ = static_cast<std::uint8_t>(partial_sum_ & keep);
    next.partial_max_ = static_cast<std::uint8_t>(partial_max_ & keep);
    return next;
  }

  /// This spec with every pending reduction done: the same cuts, whole where it was partial.
  constexpr spec without_partial() const {
    spec next = *this;
    next.partial_sum_ = 0;
    next.partial_max_ = 0;
    return next;
  }

 private:
  std::array<cut, max_mesh_rank> cuts_{};
  std::uint8_t cut_count_ = 0;
  std::uint8_t partial_sum_ = 0;
  std::uint8_t partial_max_ = 0;
};

/// A half-open interval of one axis.
struct interval {
  std::int64_t origin = 0;
  std::int64_t extent = 0;
  constexpr bool operator==(const interval&) const = default;
};

/// Part `which` of `parts` balanced parts: the first n mod p parts get one element more; parts may be empty.
constexpr interval balanced_part(interval whole, std::int64_t parts, std::int64_t which) {
  const std::int64_t each = whole.extent / parts;
  const std::int64_t more = whole.extent % parts;
  const std::int64_t before = which * each + (which < more ? which : more);
  return {whole.origin + before, each + (which < more ? 1 : 0)};
}

/// The interval of tensor axis `axis` (of `extent` elements) that the rank at `at` holds under `layout`.
constexpr interval shard_interval(const spec& layout, const mesh_shape& mesh, const mesh_coordinates& at, int axis,
                                  std::int64_t extent) {
  interval part{0, extent};
  for (const cut& c : layout.cuts()) {
    const auto mesh_axis = static_cast<std::size_t>(c.mesh_axis);
    if (c.axis == axis) part = balanced_part(part, mesh.size[mesh_axis], at[mesh_axis]);
  }
  return part;
}

/// The elements of the largest shard of a tensor of the given extents; the rank at coordinates 0 holds it.
constexpr std::int64_t largest_shard(const spec& layout, const mesh_shape& mesh,
                                     std::span<const std::int64_t> extents) {
  std::int64_t product = 1;
  for (std::size_t axis = 0; axis < extents.size(); ++axis) {
    product *= shard_interval(layout, mesh, {}, static_cast<int>(axis), extents[axis]).extent;
  }
  return product;
}

}  // namespace meshloom
