// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

using namespace meshloom;

namespace {

/// Images of a size, and how windows lie along each dimension.
struct pooling_case {
  std::int64_t batch, high, wide, channels;
  stencil down, across;

  law::trial trial() const {
    return {.extent = {batch, high, wide, down.positions(high), across.positions(wide), channels},
            .attributes = attributes_of(down, across)};
  }
};

pooling_case any_case() {
  using law::pick;
  const auto side = [] { return stencil{pick(1, 4), pick(1, 3), pick(0, 2), pick(1, 2)}; };
  pooling_case made{pick(0, 2), pick(1, 9), pick(1, 9), pick(0, 1) ? pick(0, 5) : 67, side(), side()};
  while (made.down.positions(made.high) == 0) ++made.high;
  while (made.across.positions(made.wide) == 0) ++made.wide;
  return made;
}

/// Cut shards of a call: `part` of index `of`, and of operands what it reads.
template <class Operator>
law::case_of_call shard_of(const law::case_of_call& from, const law::trial& how, int of, interval part) {
  const signature& op = Operator::signature;
  law::case_of_call made;
  const auto cut = [&](const index_list& axes, const law::tensor& source) {
    law::tensor piece = law::make_tensor(axes, how, source.seen.type, op, of, part);
    law::match(piece.seen, [&](std::int64_t at, std::int64_t whole) { piece.set(at, source.get(whole)); });
    return piece;
  };
  for (std::size_t k = 0; k < from.operands.size(); ++k) made.operands.push_back(cut(op.operands[k], from.operands[k]));
  for (std::size_t k = 0; k < from.results.size(); ++k) made.results.push_back(cut(op.results[k], from.results[k]));
  made.connect(how, {});
  return made;
}

/// True if all that a call made is what was expected of its part of the whole.
bool same(const law::case_of_call& made, const law::case_of_call& expected, double tolerance) {
  bool all = true;
  for (std::size_t k = 0; k < made.results.size(); ++k) {
    law::match(made.results[k].seen, [&](std::int64_t at, std::int64_t whole) {
      const double value = made.results[k].get(at), wanted = expected.results[k].get(whole);
      all = all && (value == wanted || std::abs(value - wanted) <= tolerance * (1 + std::abs(wanted)));
    });
  }
  return all;
}

/// True if a kernel equals the reference on whole tensors and on every split of every index that may be split.
template <class Operator, class Element, class Kernel = kernel_of<Operator>>
bool holds(const pooling_case& shape) {
  const signature& op = Operator::signature;
  const law::trial how = shape.trial();
  const auto values = [&](const index_list& axes, bool integers) {
    law::tensor made = law::make_tensor(axes, how, integers ? dtype::i32 : dtype_of<Element>);
    const std::int64_t taps = shape.down.taps * shape.across.taps;
    for (std::int64_t at = 0; at < made.seen.count(); ++at)  // of few values, so that many are the largest
      made.set(at, static_cast<double>(integers ? law::pick(-1, taps - 1) : law::pick(-3, 3)));
    return made;
  };
  law::case_of_call given;
  for (int k = 0; k < op.operand_count; ++k)
    given.operands.push_back(values(op.operands[static_cast<std::size_t>(k)], k == 1));  // the numbers of taps
  for (int k = 0; k < op.result_count; ++k)
    given.results.push_back(values(op.results[static_cast<std::size_t>(k)], op.integer_results >> k & 1));
  law::case_of_call expected = given;
  given.connect(how, {});
  expected.connect(how, {});
  reference::run<Operator>(expected.with);
  // The last bit of what is rounded once.
  constexpr double tolerance = std::is_same_v<Element, double> ? 1e-12
                               : std::is_same_v<Element, bf16> ? 1.0 / 256
                               : std::is_same_v<Element, f16>  ? 1.0 / 2048
                                                               : 1e-5;
  for (int of = 0; of < op.index_count; ++of) {
    if (op.roles[static_cast<std::size_t>(of)] == role::windowed) continue;
    const std::int64_t extent = how.extent[static_cast<std::size_t>(of)], first = law::pick(0, extent);
    for (const interval part : {interval{0, first}, interval{first, extent - first}}) {
      law::case_of_call shard = shard_of<Operator>(given, how, of, part);
      run_on_host<Kernel, Element>(shard.with);
      if (!same(shard, expected, tolerance)) return false;
    }
  }
  run_on_host<Kernel, Element>(given.with);
  return same(given, expected, tolerance);
}

template <class Element>
bool all_hold(const pooling_case& shape) {
  return holds<op::max_pool, Element>(shape) && holds<op::max_pool_gradient, Element>(shape) &&
         holds<op::average_pool, Element>(shape) && holds<op::average_pool_gradient, Element>(shape);
}

/// Sees the padding as zeros.
struct zero_padding : max_pool_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, const call& with) {
    max_pool_kernel::run<Element>(team, which, with);
    Element* const y = with.result[0].as<Element>();
    for (std::int64_t at = 0; at < with.result[0].count(); ++at) y[at] = std::max(y[at], Element(0));
  }
};

/// Takes the part of the image that it has for the whole.
struct local_image : average_pool_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, call with) {
    view& x = with.operand[0];
    for (int axis = 1; axis < 3; ++axis) x.origin[axis] = 0, x.global[axis] = x.extent[axis];
    average_pool_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("pooling and its gradients equal the reference, whole and on shards with their neighbours' edges") {
  for (int round = 0; round < 100; ++round) {
    CHECK(all_hold<float>(any_case()));
    CHECK(all_hold<double>(any_case()));
    CHECK(all_hold<bf16>(any_case()));
    CHECK(all_hold<f16>(any_case()));
  }
}

TEST_CASE("a NaN in a window is its largest element, and a window of padding has none") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), below = -std::numeric_limits<double>::infinity();
  vector<double> x{1, nan, 3, below}, y(6);
  vector<std::int32_t> chosen(6);
  const auto see = [](void* data, std::int64_t wide, dtype type) {
    view made{.data = data, .extent = {1, 1, wide, 1}, .global = {1, 1, wide, 1}, .rank = 4, .type = type};
    make_dense(made);
    return made;
  };
  call with;
  with.operand[0] = see(x.data(), 4, dtype::f64);
  with.result[0] = see(y.data(), 4, dtype::f64), with.result[1] = see(chosen.data(), 4, dtype::i32);
  const attribute_list attributes = attributes_of({}, {.taps = 2, .stride = 2, .padding = 2});
  std::copy(attributes.begin(), attributes.end(), with.attribute);
  run_on_host<max_pool_kernel, double>(with);
  CHECK(y[0] == below);
  CHECK(chosen[0] == -1);
  CHECK(std::isnan(y[1]));
  CHECK(chosen[1] == 1);
  CHECK(y[2] == 3);
  CHECK(chosen[2] == 0);
}

TEST_CASE("the law rejects a maximum over zeros around the image, and one that knows its part only") {
  constexpr stencil near{.taps = 2, .stride = 2, .padding = 1}, wide{.taps = 3, .stride = 2, .padding = 1};
  const pooling_case many{8, 7, 7, 3, near, near};  // hundreds of windows, of which one in 16 has no positive element
  CHECK(all_hold<double>(many));
  CHECK_FALSE(holds<op::max_pool, double, zero_padding>(many));
  const pooling_case few{2, 7, 7, 3, wide, wide};
  CHECK(all_hold<double>(few));
  int refused = 0;  // where no shard is of the first pixels alone
  for (int round = 0; round < 10; ++round) refused += !holds<op::average_pool, double, local_image>(few);
  CHECK(refused > 5);
}
