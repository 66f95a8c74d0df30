// SPDX-License-Identifier: Apache-2.0
// Laws of tensor/tensor.hpp: the axes are in the type, in their order, and a rename keeps the value.
#include <doctest/doctest.h>

#include <meshloom/tensor/tensor.hpp>

using namespace meshloom;
using namespace meshloom::axis;

namespace {

static_assert(std::is_same_v<tensor_of<axes<batch, embed>>, tensor<batch, embed>> &&
              std::is_same_v<tensor_of<axes<>>, tensor<>>);
static_assert(std::is_same_v<tensor<batch, seq>::axes_type, axes<batch, seq>> &&
              std::is_same_v<integers<batch>::axes_type, axes<batch>>);
static_assert(!std::is_convertible_v<tensor<batch, seq>, tensor<seq, batch>> &&
              !std::is_convertible_v<integers<batch>, tensor<batch>>);
static_assert(tensor<batch>{}.id == value_id::none && integers<batch>{}.id == value_id::none);

}  // namespace

TEST_CASE("a rename changes one axis, and the value stays") {
  const tensor<batch, seq, embed> x{value_id{4}};
  const auto renamed = rename<seq, keys<seq>>(x);
  static_assert(std::is_same_v<decltype(renamed), const tensor<batch, keys<seq>, embed>>);
  CHECK(renamed.id == x.id);
  const auto back = rename<keys<seq>, seq>(renamed);
  static_assert(std::is_same_v<decltype(back), const tensor<batch, seq, embed>>);
  CHECK(back.id == x.id);
}
