// SPDX-License-Identifier: Apache-2.0
// Specs as people write and read them, in plans, reports and errors. For example:
//   whole    split(batch@data)    split(batch@data>tensor, heads@expert)    split(batch@data) partial(sum@tensor)
// A cut is tensor axis @ mesh axes, outer cut first. Law: parse_spec(describe_spec(s)) = s for every spec, where
// names differ and hold no space and none of @ > , ).
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/sharding/spec.hpp>

#include <span>
#include <string>
#include <string_view>

namespace meshloom {

/// `axis_names`: the names of the tensor's axes, in order; `mesh_axis_names`: those of the mesh.
std::string describe_spec(const spec& layout, std::span<const std::string_view> axis_names,
                          std::span<const std::string_view> mesh_axis_names);

/// The spec that `text` describes; otherwise what is wrong with it, in which column, and what would be right. The
/// tensor axes of a split may come in any order, and spaces in any number.
result<spec> parse_spec(std::string_view text, std::span<const std::string_view> axis_names,
                        std::span<const std::string_view> mesh_axis_names);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/sharding/describe.inl>
#endif
