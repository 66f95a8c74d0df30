// SPDX-License-Identifier: Apache-2.0
#include <meshloom/exec/box.hpp>

#include <meshloom/base/error.hpp>

#include <algorithm>
#include <cstring>

namespace meshloom {

namespace detail {

/// Two views walked together over the box they share: level 0 is the row, innermost; axes that are contiguous on both
/// sides are one level.
struct joint_walk {
  struct level_type {
    std::int64_t extent = 1;
    std::int64_t from_stride = 1;
    std::int64_t to_stride = 1;
  };
  std::array<level_type, max_rank> level{};
  int levels = 1;
  std::int64_t from_offset = 0;
  std::int64_t to_offset = 0;
};

inline joint_walk walk_over(const box& shared, const view& from, const view& to) {
  joint_walk walk;
  for (int axis = shared.rank - 1; axis >= 0; --axis) {
    const interval side = shared.side[static_cast<std::size_t>(axis)];
    walk.from_offset += (side.origin - from.origin[axis]) * from.stride[axis];
    walk.to_offset += (side.origin - to.origin[axis]) * to.stride[axis];
    if (side.extent == 1) continue;
    const joint_walk::level_type next{side.extent, from.stride[axis], to.stride[axis]};
    auto& last = walk.level[static_cast<std::size_t>(walk.levels - 1)];
    if (last.extent == 1) {
      last = next;
    } else if (next.from_stride == last.extent * last.from_stride && next.to_stride == last.extent * last.to_stride) {
      last.extent *= next.extent;
    } else {
      walk.level[static_cast<std::size_t>(walk.levels++)] = next;
    }
  }
  return walk;
}

template <class From, class To, class Row>
void for_each_row(const joint_walk& walk, int level, const From* from, To* to, Row row) {
  const auto& here = walk.level[static_cast<std::size_t>(level)];
  if (level == 0) return row(here, from, to);
  for (std::int64_t index = 0; index < here.extent; ++index) {
    for_each_row(walk, level - 1, from + index * here.from_stride, to + index * here.to_stride, row);
  }
}

/// A whole row: `to = next(from, to)`.
template <class From, class To, class Next>
void combine_row(const joint_walk::level_type& row, const From* from, To* to, Next next) {
  if (row.from_stride == 1 && row.to_stride == 1) {
    for (std::int64_t i = 0; i < row.extent; ++i) to[i] = next(from[i], to[i]);
  } else {
    for (std::int64_t i = 0; i < row.extent; ++i) {
      to[i * row.to_stride] = next(from[i * row.from_stride], to[i * row.to_stride]);
    }
  }
}

struct copy_row {
  template <class Element>
  void operator()(const joint_walk::level_type& row, const Element* from, Element* to) const {
    if (from == to) return;
    if (row.from_stride == 1 && row.to_stride == 1) {
      std::memcpy(to, from, static_cast<std::size_t>(row.extent) * sizeof(Element));
    } else {
      combine_row(row, from, to, [](Element value, Element) { return value; });
    }
  }
  template <class From, class To>
  void operator()(const joint_walk::level_type& row, const From* from, To* to) const {
    combine_row(row, from, to, [](From value, To) { return static_cast<To>(value); });
  }
};

struct add_row {
  template <class From, class To>
  void operator()(const joint_walk::level_type& row, const From* from, To* to) const {
    combine_row(row, from, to, [](From value, To sum) { return static_cast<To>(sum + value); });
  }
  /// Integers wrap.
  void operator()(const joint_walk::level_type& row, const std::int32_t* from, std::int32_t* to) const {
    combine_row(row, from, to, [](std::int32_t value, std::int32_t sum) {
      return static_cast<std::int32_t>(static_cast<std::uint32_t>(sum) + static_cast<std::uint32_t>(value));
    });
  }
};

struct larger_row {
  template <class From, class To>
  void operator()(const joint_walk::level_type& row, const From* from, To* to) const {
    combine_row(row, from, to, [](From value, To best) { return best < value ? static_cast<To>(value) : best; });
  }
};

template <class From, class To, class Row>
void apply_rows(const joint_walk& walk, const view& from, const view& to, Row row) {
  for_each_row<From, To>(walk, walk.levels - 1, from.as<const From>() + walk.from_offset, to.as<To>() + walk.to_offset,
                         row);
}

/// Rows of one type, or of 16 bits beside the f32 that they are summed as.
template <class Row>
void apply_rows(const joint_walk& walk, const view& from, const view& to, Row row) {
  if (from.type == dtype::i32) return apply_rows<std::int32_t, std::int32_t>(walk, from, to, row);
  with_floating(from.type, [&]<class From>(From) {
    if (to.type == from.type) return apply_rows<From, From>(walk, from, to, row);
    if constexpr (half_type<From>) return apply_rows<From, float>(walk, from, to, row);
    if constexpr (std::is_same_v<From, float>) {
      if (to.type == dtype::bf16) return apply_rows<float, bf16>(walk, from, to, row);
      return apply_rows<float, f16>(walk, from, to, row);
    }
  });
}

/// True if `sums` is in f32 what `of` is in 16 bits.
inline bool is_sum_of(const view& of, view sums) {
  if (!is_half(of.type) || sums.type != dtype::f32) return false;
  sums.type = of.type;
  return same_tensor(of, sums);
}

template <class Row>
void apply_overlap(const view& from, const view& to, Row row) {
  if (!same_tensor(from, to) && !is_sum_of(from, to) && !is_sum_of(to, from)) {
    throw error("a shard of " + describe_tensor(from) + " has no overlap with a shard of " + describe_tensor(to) +
                ": dtype, rank and global extents must be equal");
  }
  const box shared = overlap(box_of(from), box_of(to));
  if (count(shared) == 0) return;
  const joint_walk walk = walk_over(shared, from, to);
  apply_rows(walk, from, to, row);
}

/// The dense whole of the tensor that `shard` is a part of.
inline view whole_of(const view& shard, void* data) {
  box whole{.rank = shard.rank};
  for (int axis = 0; axis < shard.rank; ++axis) whole.side[static_cast<std::size_t>(axis)] = {0, shard.global[axis]};
  return dense_view(shard, whole, data);
}

}  // namespace detail

MESHLOOM_INLINE box box_of(const view& shard) {
  box part{.rank = shard.rank};
  for (int axis = 0; axis < shard.rank; ++axis) {
    part.side[static_cast<std::size_t>(axis)] = {shard.origin[axis], shard.extent[axis]};
  }
  return part;
}

MESHLOOM_INLINE box overlap(const box& one, const box& other) {
  box shared{.rank = one.rank};
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(one.rank); ++axis) {
    const interval a = one.side[axis], b = other.side[axis];
    const std::int64_t begin = std::max(a.origin, b.origin);
    const std::int64_t end = std::min(a.origin + a.extent, b.origin + b.extent);
    shared.side[axis] = {begin, std::max<std::int64_t>(end - begin, 0)};
  }
  return shared;
}

MESHLOOM_INLINE std::int64_t count(const box& part) {
  std::int64_t product = 1;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(part.rank); ++axis) product *= part.side[axis].extent;
  return product;
}

MESHLOOM_INLINE bool contains(const box& outer, const box& inner) {
  return count(overlap(outer, inner)) == count(inner);
}

MESHLOOM_INLINE view dense_view(const view& like, const box& part, void* data) {
  view dense = like;
  dense.data = data;
  for (int axis = 0; axis < dense.rank; ++axis) {
    dense.origin[axis] = part.side[static_cast<std::size_t>(axis)].origin;
    dense.extent[axis] = part.side[static_cast<std::size_t>(axis)].extent;
  }
  make_dense(dense);
  return dense;
}

MESHLOOM_INLINE void copy_overlap(const view& from, const view& to) {
  detail::apply_overlap(from, to, detail::copy_row{});
}

MESHLOOM_INLINE void combine_overlap(reduction how, const view& from, const view& to) {
  how == reduction::sum ? detail::apply_overlap(from, to, detail::add_row{})
                        : detail::apply_overlap(from, to, detail::larger_row{});
}

MESHLOOM_INLINE void scatter(const void* whole, const view& shard) {
  copy_overlap(detail::whole_of(shard, const_cast<void*>(whole)), shard);  // `from` is only read
}

MESHLOOM_INLINE void gather(const view& shard, void* whole) { copy_overlap(shard, detail::whole_of(shard, whole)); }

MESHLOOM_INLINE bool same_tensor(const view& one, const view& other) {
  return one.type == other.type && one.rank == other.rank &&
         std::equal(one.global, one.global + one.rank, other.global);
}

MESHLOOM_INLINE std::string describe_tensor(const view& shard) {
  std::string text = std::string(name_of(shard.type)) + " [";
  for (int axis = 0; axis < shard.rank; ++axis) {
    text += (axis == 0 ? "" : ", ") + std::to_string(shard.global[axis]);
  }
  return text + "]";
}

}  // namespace meshloom
