// SPDX-License-Identifier: Apache-2.0
// How reports say it: ranks, blocks, meshes, layers and specs in words, alike in every table.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/report/text_table.hpp>

#include <string>
#include <string_view>

namespace meshloom::detail {

/// "0", "0-3"
std::string ranks_text(const stage_plan& stage);

/// "embedding, repeat[0..2]"
std::string blocks_text(const graph& whole, const stage_plan& stage);

/// "repeat[0..2], repeat[5]": the blocks that recompute, or "all", or "none".
std::string recomputed_text(const graph& whole, const stage_plan& stage);

/// "data=2 x tensor=4", or "single".
std::string grid_text(const stage_plan& stage);

/// A spec of a value, with these names for the mesh axes.
std::string spec_text(const graph& whole, const value& entry, const spec& layout, const vector<std::string>& mesh_axes);

/// "4 x repeat": a layer, with its copies.
std::string layer_text(const region& area);

/// "dot" for "linear.dot" in layer "linear".
std::string without_prefix(const std::string& name, const std::string& prefix);

/// "0,2": stages by number.
std::string numbers_text(const vector<std::size_t>& numbers);

/// A table under a heading, if it has rows.
void add_table(std::string& text, std::string_view heading, const text_table& table);

/// One row per violation.
text_table violation_table(const vector<std::string>& violations);

inline double share_of(picoseconds part, picoseconds all) { return all.count == 0 ? 0 : seconds(part) / seconds(all); }

}  // namespace meshloom::detail

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/wording.inl>
#endif
