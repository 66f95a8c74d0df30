// SPDX-License-Identifier: Apache-2.0
// Shards are cut here by hand, along both dimensions of the image at once and along one more index, with operands
// widened by `window_over`, in any layout.
#include "law.hpp"
#include "textbook.hpp"

#if defined(TEST_WITH_ONEDNN)
#include <meshloom/exec/onednn.hpp>
#endif

#include <doctest/doctest.h>

namespace {

using namespace meshloom;
using op::channels;

using law::textbook;

/// Never adds to what is there.
struct overwriting : textbook {
  template <class Element, class Result>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool, Result* c, std::int64_t row_c,
            std::int64_t column_c) {
    textbook::gemm<Element>(m, n, k, a, row_a, column_a, b, row_b, column_b, false, c, row_c, column_c);
  }
};

/// A convolution to be: the length of each index, and its stencils.
struct picture {
  law::trial how;
  stencil high, wide;
};

picture picture_of(std::array<std::int64_t, max_indices> extent, const stencil& high, const stencil& wide) {
  picture made{{.extent = extent, .attributes = attributes_of(high, wide)}, high, wide};
  made.how.extent[3] = high.positions(extent[1]);
  made.how.extent[4] = wide.positions(extent[2]);
  made.how.extent[5] = high.taps;
  made.how.extent[6] = wide.taps;
  return made;
}

/// An image and stencils at random, small enough for loops over all pixels, positions and taps.
picture any_picture() {
  const auto any_stencil = [] { return stencil{law::pick(1, 7), law::pick(1, 3), law::pick(0, 4), law::pick(1, 3)}; };
  for (;;) {
    const auto channels = [] { return std::array<std::int64_t, 8>{1, 2, 3, 4, 5, 17, 40, 0}[law::dice() % 8]; };
    const auto extent = [] { return law::dice() % 20 == 0 ? 0 : law::pick(1, 12); };
    const picture made =
        picture_of({law::pick(0, 3), extent(), extent(), 0, 0, 0, 0, channels(), channels(), channels()}, any_stencil(),
                   any_stencil());
    std::int64_t points = 1;
    for (const std::int64_t each : made.how.extent) points *= each;
    if (points < 150000 && (points > 0 || law::dice() % 8 == 0)) return made;
  }
}

/// The part of every index that a shard has.
using parts = std::array<interval, max_indices>;

/// Calls f(offset in the shard, offset in the whole) for every element of a shard, whatever the strides.
template <class Function>
void pair_up(const view& shard, const view& whole, Function f) {
  for (std::int64_t at = 0; at < shard.count(); ++at) {
    std::int64_t rest = at, here = 0, there = 0;
    for (int axis = shard.rank - 1; axis >= 0; --axis) {
      const std::int64_t i = rest % shard.extent[axis];
      rest /= shard.extent[axis];
      here += i * shard.stride[axis];
      there += (shard.origin[axis] + i) * whole.stride[axis];
    }
    f(here, there);
  }
}

/// A shard: dense, with memory of its own, or a part of the whole tensor where it is.
law::tensor cut(const law::tensor& whole, const index_list& axes, const parts& at, bool copied) {
  law::tensor made;
  made.seen = whole.seen;
  std::int64_t start = 0;
  for (int axis = 0; axis < axes.count; ++axis) {
    const interval part = at[static_cast<std::size_t>(axes.at[static_cast<std::size_t>(axis)])];
    made.seen.extent[axis] = part.extent;
    made.seen.origin[axis] = part.origin;
    start += part.origin * whole.seen.stride[axis];
  }
  if (!copied) {
    made.seen.data = static_cast<std::byte*>(whole.seen.data) + start * size_of(whole.seen.type);
    return made;
  }
  make_dense(made.seen);
  made.memory.resize(static_cast<std::size_t>(made.seen.count()) + 1);
  made.seen.data = made.memory.data();
  pair_up(made.seen, whole.seen, [&](std::int64_t here, std::int64_t there) { made.set(here, whole.get(there)); });
  return made;
}

/// `extent` elements in one to three parts, also empty ones.
vector<interval> any_parts(std::int64_t extent) {
  vector<interval> made;
  const std::int64_t count = law::pick(1, 3);
  for (std::int64_t part = 0, begin = 0; part < count; ++part) {
    const std::int64_t end = part + 1 == count ? extent : law::pick(begin, extent);
    made.push_back({begin, end - begin});
    begin = end;
  }
  return made;
}

/// A shard may have more than its window.
interval widened(interval window, std::int64_t extent) {
  const std::int64_t begin = std::max(window.origin - law::pick(0, 2), std::int64_t{0});
  const std::int64_t end = std::min(window.origin + window.extent + law::pick(0, 2), extent);
  return {begin, end - begin};
}

template <class Operator, class Element>
class checker {
 public:
  /// `reversed`: tensors (bit mask, the result last) whose first axis is the contiguous one.
  checker(const picture& what, std::int64_t reversed) : what_(what), given_(tensors{what.how}.whole()) {
    const auto reverse = [](view& seen) {
      for (std::int64_t axis = 0, step = 1; axis < seen.rank; step *= seen.extent[axis++]) seen.stride[axis] = step;
    };
    for (std::size_t k = 0; k < 2; ++k) {
      if (reversed >> k & 1) reverse(given_.operands[k].seen);
    }
    if (reversed >> 2 & 1) reverse(given_.results[0].seen);
    given_.connect(what_.how, {});
  }

  /// True if `apply` equals the reference on the whole, and on the shards of a random cut.
  template <class Apply>
  bool holds(Apply apply) const {
    law::case_of_call expected = given_, whole = given_, pieces = given_;
    for (law::case_of_call* each : {&expected, &whole, &pieces}) each->connect(what_.how, {});
    reference::run<Operator>(expected.with);
    apply(whole.with);
    run_shards(pieces, apply);
    return same(whole, expected) && same(pieces, expected);
  }

 private:
  static constexpr const signature& op = Operator::signature;
  using tensors = law::checker<Operator, Element>;

  /// An index that may be cut beside the two that read windows; those whose shards are partial sums only where the
  /// kernel can add them up.
  int any_other_index() const {
    for (;;) {
      const auto index = static_cast<int>(law::pick(0, op.index_count - 1));
      const role what = op.roles[static_cast<std::size_t>(index)];
      const bool reads = index == op.windows[0].of || index == op.windows[1].of;
      if (!reads && (what == role::mapped || (what == role::contracted && record_of<Operator>.accumulates)))
        return index;
    }
  }

  template <class Apply>
  void run_shards(law::case_of_call& whole, Apply apply) const {
    const int cut_indices[] = {op.windows[0].of, op.windows[1].of, any_other_index()};
    const auto extent = [&](int index) { return what_.how.extent[static_cast<std::size_t>(index)]; };
    std::array<vector<interval>, 3> cuts;
    for (std::size_t k = 0; k < 3; ++k) cuts[k] = any_parts(extent(cut_indices[k]));
    parts at;
    for (int index = 0; index < op.index_count; ++index) at[static_cast<std::size_t>(index)] = {0, extent(index)};
    const std::size_t shards = cuts[0].size() * cuts[1].size() * cuts[2].size();
    for (std::size_t shard = 0; shard < shards; ++shard) {
      bool later = false;  // another shard has written there
      for (std::size_t k = 0, rest = shard; k < 3; rest /= cuts[k++].size()) {
        const interval part = cuts[k][rest % cuts[k].size()];
        at[static_cast<std::size_t>(cut_indices[k])] = part;
        later = later || (rest % cuts[k].size() > 0 && op.results[0].find(cut_indices[k]) < 0);
        if (k == 2) continue;
        const window& read = op.windows[k];
        at[static_cast<std::size_t>(read.in)] = widened(
            window_over(k == 0 ? what_.high : what_.wide, read.transposed, part, extent(read.in)), extent(read.in));
      }
      run_shard(whole, at, later, apply);
    }
  }

  template <class Apply>
  static void run_shard(law::case_of_call& whole, const parts& at, bool later, Apply apply) {
    call with = whole.with;
    vector<law::tensor> operands;
    for (std::size_t k = 0; k < whole.operands.size(); ++k) {
      operands.push_back(cut(whole.operands[k], op.operands[k], at, law::pick(0, 1) == 1));
      with.operand[k] = operands.back().seen;
    }
    const bool copied = law::pick(0, 1) == 1;
    const law::tensor result = cut(whole.results[0], op.results[0], at, copied);
    with.result[0] = result.seen;
    with.accumulate = with.accumulate || later;
    apply(with);
    if (!copied) return;
    pair_up(result.seen, whole.results[0].seen,
            [&](std::int64_t here, std::int64_t there) { whole.results[0].set(there, result.get(here)); });
  }

  static bool same(const law::case_of_call& made, const law::case_of_call& expected) {
    for (std::int64_t at = 0; at < expected.results[0].seen.count(); ++at) {
      if (!tensors{{}}.close(made.result(0, at), expected.result(0, at))) return false;
    }
    return true;
  }

  picture what_;
  law::case_of_call given_;
};

template <class Operator, class Element, class Arithmetic>
bool holds(const picture& what, std::int64_t reversed = 0) {
  Arithmetic how;
  return checker<Operator, Element>(what, reversed).holds([&](const call& with) {
    kernel_of<Operator>::template run<Element>(how, with);
  });
}

template <class Operator>
void check(const picture& what, std::int64_t reversed = 0) {
  CAPTURE(Operator::signature.name);
  CAPTURE(what.how.extent);
  CAPTURE(what.how.attributes);
  CHECK(holds<Operator, float, textbook>(what, reversed));
  CHECK(holds<Operator, double, plain>(what, reversed));
  CHECK(holds<Operator, bf16, textbook>(what, reversed));
  CHECK(holds<Operator, f16, plain>(what, reversed));
#if defined(TEST_WITH_ONEDNN)
  CHECK(holds<Operator, float, onednn>(what, reversed));
  CHECK(holds<Operator, bf16, onednn>(what, reversed));
#endif
}

template <channels Kind>
void check_with_gradients(picture what, std::int64_t reversed = 0) {
  check<op::convolution<Kind>>(what, reversed);
  check<op::convolution_gradient_image<Kind>>(what, reversed);
  check<op::convolution_gradient_weight<Kind>>(what, reversed);
  what.how.accumulate = true;
  check<op::convolution_gradient_weight<Kind>>(what, reversed);
}

constexpr stencil three{3, 1, 1, 1};
const picture small = picture_of({2, 7, 6, 0, 0, 0, 0, 3, 4, 2}, three, three);

/// Runs the kernel on a call that `change` has spoilt.
template <class Operator, class Arithmetic = textbook, class Change>
bool holds_spoilt(const picture& what, Change change) {
  Arithmetic how;
  return checker<Operator, double>(what, 0).holds([&](call with) {
    change(with);
    kernel_of<Operator>::template run<double>(how, with);
  });
}

/// Convolves by itself, if `takes`: writes ones.
struct vendor : textbook {
  bool takes = true;
  vector<convolution_shape> seen;

  template <class Element>
  bool convolve(const convolution_shape& shape) {
    seen.push_back(shape);
    if (takes) std::fill_n(shape.result.as<Element>(), shape.positions() * shape.out, Element(1));
    return takes;
  }
};

}  // namespace

TEST_CASE("convolutions equal the reference, whole and on uneven shards of rows and columns") {
  for (int round = 0; round < 30; ++round) {
    const picture what = any_picture();
    const std::int64_t reversed = round % 2 == 0 ? 0 : law::pick(0, 7);
    check_with_gradients<channels::dense>(what, reversed);
    check_with_gradients<channels::grouped>(what, reversed);
    check_with_gradients<channels::depthwise>(what, reversed);
  }
}

TEST_CASE("convolutions that models use equal the reference") {
  const stencil one{}, every_second{1, 2, 0, 1}, halving{3, 2, 1, 1}, stem{7, 2, 3, 1};
  for (const std::int64_t channels_in : {3, 70}) {
    check_with_gradients<channels::dense>(picture_of({2, 6, 5, 0, 0, 0, 0, channels_in, 8}, one, one));
    check_with_gradients<channels::dense>(
        picture_of({2, 6, 7, 0, 0, 0, 0, channels_in, 5}, every_second, every_second));
    check_with_gradients<channels::dense>(picture_of({1, 6, 5, 0, 0, 0, 0, channels_in, 2}, three, three));
    check_with_gradients<channels::dense>(picture_of({1, 8, 7, 0, 0, 0, 0, channels_in, 2}, halving, halving));
  }
  check_with_gradients<channels::dense>(picture_of({2, 6, 5, 0, 0, 0, 0, 3, 0}, one, one));
  check_with_gradients<channels::dense>(picture_of({1, 10, 11, 0, 0, 0, 0, 3, 4}, stem, stem));
  check_with_gradients<channels::grouped>(picture_of({2, 6, 5, 0, 0, 0, 0, 4, 3, 5}, one, one));
  check_with_gradients<channels::grouped>(picture_of({2, 6, 5, 0, 0, 0, 0, 4, 3, 5}, three, halving));
  check_with_gradients<channels::depthwise>(picture_of({2, 9, 6, 0, 0, 0, 0, 70}, three, three));
}

TEST_CASE("the law rejects a wrong stencil, forgotten origins, and an arithmetic that does not accumulate") {
  const auto forward = [](auto change) { return holds_spoilt<op::convolution<channels::dense>>(small, change); };
  const auto backward = [](auto change) {
    return holds_spoilt<op::convolution_gradient_image<channels::dense>>(small, change);
  };
  const auto nothing = [](call&) {};
  CHECK(forward(nothing));
  CHECK(backward(nothing));
  for (const int attribute : {0, 3, 4, 7}) {
    CHECK_FALSE(
        forward([=](call& with) { with.attribute[attribute] = attribute == 0 ? 2 : 3 - with.attribute[attribute]; }));
  }
  const auto forget = [](call& with) {
    for (view* each : {&with.operand[0], &with.operand[1], &with.result[0]}) each->origin[1] = each->origin[2] = 0;
  };
  bool forward_holds = true, backward_holds = true;  // a cut may be none
  for (int round = 0; round < 8; ++round) {
    forward_holds = forward_holds && forward(forget);
    backward_holds = backward_holds && backward(forget);
  }
  CHECK_FALSE(forward_holds);
  CHECK_FALSE(backward_holds);
  using slope = op::convolution_gradient_weight<channels::dense>;
  CHECK(holds<slope, double, textbook>(small));
  CHECK_FALSE(holds<slope, double, overwriting>(small));
}

TEST_CASE("an arithmetic that convolves by itself goes first, and may decline") {
  law::case_of_call given = law::checker<op::convolution<channels::dense>, double>{small.how}.whole();
  vendor how;
  kernel_of<op::convolution<channels::dense>>::run<double>(how, given.with);
  REQUIRE(how.seen.size() == 1);
  CHECK(how.seen[0].high == convolution_side{7, 7, 3, 1, 1, 1, 1});
  CHECK(given.result(0, 0) == 1);
  CHECK(given.result(0, 2 * 7 * 6 * 4 - 1) == 1);
  how.takes = false;
  CHECK(checker<op::convolution<channels::dense>, double>(small, 0).holds(
      [&](const call& with) { kernel_of<op::convolution<channels::dense>>::run<double>(how, with); }));
}
