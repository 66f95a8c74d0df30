// SPDX-License-Identifier: Apache-2.0
// Laws of tensor/axis.hpp: the printed name is the last component of the type's name wherever it is declared, axes are
// the same if their types are, and lists join and differ in order.
#include <doctest/doctest.h>

#include <meshloom/tensor/axis.hpp>

using namespace meshloom;

struct outside;

namespace somewhere {
struct width;
inline namespace deeper {
struct height;
}
struct batch;
struct frame {
  struct depth;
};
}  // namespace somewhere

namespace {

struct hidden;
struct a;
template <int Stage>
struct inner;

// Names.
static_assert(name_of<axis::batch>() == "batch" && name_of<mesh::tensor>() == "tensor");
static_assert(name_of<outside>() == "outside" && name_of<somewhere::width>() == "width");
static_assert(name_of<somewhere::height>() == "height" && name_of<somewhere::frame::depth>() == "depth");
static_assert(name_of<hidden>() == "hidden" && name_of<a>() == "a");
static_assert(name_of<keys<axis::seq>>() == "seq_keys" && name_of<keys<hidden>>() == "hidden_keys");
static_assert(name_of<keys<keys<axis::seq>>>() == "seq_keys_keys");
static_assert(name_of<somewhere::batch>() == "batch");  // one name, but …

// … identity is the type's.
static_assert(!has_axis<axes<axis::batch>, somewhere::batch> && has_axis<axes<axis::batch>, axis::batch>);
static_assert(!has_axis<axes<axis::seq>, keys<axis::seq>> && !has_axis<axes<>, axis::seq>);
static_assert(std::is_same_v<sized_as<keys<axis::seq>>, axis::seq> && std::is_same_v<sized_as<hidden>, hidden>);
static_assert(std::is_same_v<sized_as<keys<keys<axis::seq>>>, axis::seq>);

// Axes whose size follows from another's, and tags that differ in a number.
static_assert(name_of<strided<axis::high, 2>>() == "high_by_2" && name_of<strided<axis::high, 12>>() == "high_by_12");
static_assert(std::is_same_v<strided<axis::high, 1>, axis::high>);
static_assert(std::is_same_v<strided<strided<axis::high, 2>, 3>, strided<axis::high, 6>>);
static_assert(std::is_same_v<strided<strided<axis::high, 2>, 1>, strided<axis::high, 2>>);
static_assert(name_of<taps<axis::wide, 3>>() == "wide_taps_3");
static_assert(name_of<taps<strided<axis::wide, 4>, 1>>() == "wide_by_4_taps_1");
static_assert(name_of<inner<0>>() == "inner_0" && name_of<keys<inner<31>>>() == "inner_31_keys");

// Lists.
using three = axes<axis::batch, hidden, keys<axis::seq>>;
static_assert(three::count == 3 && axes<>::count == 0);
static_assert(position_in<axis::batch>(three{}) == 0 && position_in<hidden>(three{}) == 1);
static_assert(position_in<keys<axis::seq>>(three{}) == 2 && position_in<axis::seq>(three{}) == -1);
static_assert(position_in<a>(axes<a, a>{}) == 0);

static_assert(all_distinct<three> && all_distinct<axes<>> && all_distinct<axes<axis::seq, keys<axis::seq>>>);
static_assert(!all_distinct<axes<a, a>> && !all_distinct<axes<a, hidden, outside, hidden>>);

static_assert(std::is_same_v<join<>, axes<>> && std::is_same_v<join<three>, three>);
static_assert(std::is_same_v<join<axes<a>, axes<>, axes<hidden, outside>, axes<a>>, axes<a, hidden, outside, a>>);
static_assert(std::is_same_v<without<three, axes<hidden>>, axes<axis::batch, keys<axis::seq>>>);
static_assert(std::is_same_v<without<three, axes<axis::seq>>, three> && std::is_same_v<without<three, three>, axes<>>);
static_assert(std::is_same_v<without<axes<>, three>, axes<>>);
static_assert(std::is_same_v<without<three, axes<keys<axis::seq>, axis::batch>>, axes<hidden>>);

}  // namespace

TEST_CASE("a printed name is text of the program, not of the call") {
  const std::string_view one = name_of<keys<hidden>>(), other = name_of<keys<hidden>>();
  CHECK(one.data() == other.data());
  CHECK(one == "hidden_keys");
  CHECK(one.data()[one.size()] == '\0');
}
