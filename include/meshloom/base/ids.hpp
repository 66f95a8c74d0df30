// SPDX-License-Identifier: Apache-2.0
// Ids are types of their own: an index into a table of values cannot be used on a table of nodes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace meshloom {

enum class axis_id : std::int32_t { none = -1 };
enum class value_id : std::int32_t { none = -1 };
enum class node_id : std::int32_t { none = -1 };
enum class region_id : std::int32_t { none = -1 };
enum class stage_id : std::int32_t { none = -1 };
enum class buffer_id : std::int32_t { none = -1 };

template <class Id>
concept id = requires {
  Id::none;
};

template <id Id>
constexpr std::size_t index_of(Id which) {
  return static_cast<std::size_t>(which);
}

}  // namespace meshloom
