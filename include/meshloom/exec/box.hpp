// SPDX-License-Identifier: Apache-2.0
// A box is the part of a whole tensor that a shard holds. Ranks exchange the overlaps of their boxes, row by row, in
// rows as long as the strides of both sides allow.
// Law: afterwards exactly the elements of `to` that lie in both boxes have changed; boxes may be empty.
#pragma once

#include <meshloom/sharding/spec.hpp>

#include <string>

namespace meshloom {

struct box {
  std::array<interval, max_rank> side{};
  std::int32_t rank = 0;
};

box box_of(const view& shard);
box overlap(const box& one, const box& other);
std::int64_t count(const box& part);

/// True if `outer` has every element of `inner`; an empty box lies in any.
bool contains(const box& outer, const box& inner);

/// The elements of `part` in dense memory at `data`, as a part of the same tensor as `like`.
view dense_view(const view& like, const box& part, void* data);

/// to = from, where the boxes overlap. Throws unless both are views of one tensor (dtype, rank and global extents are
/// equal), or one of them has in f32 what the other has in 16 bits. They share no memory, except that equal elements may
/// lie in one place.
void copy_overlap(const view& from, const view& to);

/// to = from + to or max(from, to), likewise.
void combine_overlap(reduction how, const view& from, const view& to);

/// Fills a shard from a whole tensor in dense row-major memory; gather is the way back.
void scatter(const void* whole, const view& shard);
void gather(const view& shard, void* whole);

/// True if both describe parts of the same tensor: dtype, rank and global extents are equal.
bool same_tensor(const view& one, const view& other);

/// "f32 [4, 5]": dtype and global extents.
std::string describe_tensor(const view& shard);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/exec/box.inl>
#endif
