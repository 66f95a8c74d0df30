// SPDX-License-Identifier: Apache-2.0
// Laws of base/ids.hpp: ids are types of their own, which convert into nothing but by name.
#include <doctest/doctest.h>

#include <meshloom/base/ids.hpp>

#include <type_traits>

using namespace meshloom;

namespace {

static_assert(id<axis_id> && id<value_id> && id<node_id> && id<region_id> && id<stage_id> && id<buffer_id>);
static_assert(!id<int> && !std::is_convertible_v<node_id, int> && !std::is_convertible_v<node_id, value_id>);
static_assert(!std::is_convertible_v<int, node_id> && index_of(node_id{7}) == 7);

}  // namespace

TEST_CASE("no id is the index of an entry") { CHECK(index_of(node_id::none) > index_of(node_id{0x7fffffff})); }
