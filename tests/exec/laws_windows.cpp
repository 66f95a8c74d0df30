// SPDX-License-Identifier: Apache-2.0
// The law of operators, on operators with windows: a shard gets all that it reads, and no less would do.
#include "laws_operators.hpp"
#include "stencils.hpp"

#include <doctest/doctest.h>

using namespace laws;

namespace {

template <class Operator>
subject one() {
  collector only;
  only(operators<Operator>{});
  return only.subjects().front();
}

/// The operator with a kernel that is told something else of its first operand along its second axis.
template <class Operator, auto Change>
subject told_otherwise() {
  subject made = one<Operator>();
  const auto run = []<class Element>(const call& with) {
    call other = with;
    Change(other.operand[0]);
    run_on_host<kernel_of<Operator>, Element>(other);
  };
  made.in_f32 = [](const call& with, void*) { decltype(run){}.template operator()<float>(with); };
  made.in_f64 = [](const call& with, void*) { decltype(run){}.template operator()<double>(with); };
  return made;
}

std::int64_t broken(const subject& what) { return judge(what, 100, 4, 7).broken; }

constexpr auto nothing = [](view&) {};
constexpr auto no_origin = [](view& read) { read.origin[1] = 0; };
/// Elements at the ends of a window that are not at the ends of the image.
constexpr auto one_short_at_the_end = [](view& read) {
  if (read.extent[1] > 0 && read.origin[1] + read.extent[1] < read.global[1]) --read.extent[1];
};
constexpr auto one_short_at_the_begin = [](view& read) {
  if (read.extent[1] == 0 || read.origin[1] == 0) return;
  const std::int64_t next = read.stride[1] * size_of(read.type);
  read.data = static_cast<std::byte*>(read.data) + next;
  ++read.origin[1];
  --read.extent[1];
};

template <class Operator>
void hold_and_break() {
  const std::string name(Operator::signature.name);
  CAPTURE(name);
  CHECK(judge(one<Operator>(), 200, 4, 1).first == "");
  CHECK(broken(told_otherwise<Operator, nothing>()) == 0);
  CHECK(broken(told_otherwise<Operator, no_origin>()) > 0);
  CHECK(broken(told_otherwise<Operator, one_short_at_the_end>()) > 0);
  CHECK(broken(told_otherwise<Operator, one_short_at_the_begin>()) > 0);
}

}  // namespace

TEST_CASE("operators with windows keep the law, and need every element of a window") {
  hold_and_break<stencils::moving_sum>();
  hold_and_break<stencils::moving_sum_gradient>();
  hold_and_break<stencils::blur>();
  hold_and_break<stencils::blur_image_gradient>();
}

TEST_CASE("partial sums over positions keep the law too") {
  CHECK(judge(one<stencils::blur_kernel_gradient>(), 200, 4, 1).first == "");
  CHECK(broken(told_otherwise<stencils::blur_kernel_gradient, no_origin>()) > 0);
  CHECK(broken(told_otherwise<stencils::blur_kernel_gradient, one_short_at_the_end>()) > 0);
}

TEST_CASE("windows of another dimension, or the wrong way round, break the law") {
  subject turned = one<stencils::blur>();
  std::swap(turned.op.op.windows[0].dimension, turned.op.op.windows[1].dimension);
  CHECK(broken(turned) > 0);
}
