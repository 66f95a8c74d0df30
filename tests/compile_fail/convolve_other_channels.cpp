// SPDX-License-Identifier: Apache-2.0
// A convolution by a weight without the channels of the image.
// expected: meshloom: convolve: image and weight do not meet
#include "layers.hpp"

#include <meshloom/model/convolution.hpp>

struct taps_high;
struct taps_wide;

struct filtered {
  static constexpr std::string_view name = "filtered";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
#if defined(MESHLOOM_MUST_FAIL)
    const auto weight = scope.template parameter<taps_high, taps_wide, heads, mlp>("weight", {});
#else
    const auto weight = scope.template parameter<taps_high, taps_wide, embed, mlp>("weight", {});
#endif
    return ml::convolve<seq, batch>(scope, x, weight, {.taps = 3, .padding = 1}, {.taps = 3, .padding = 1});
  }
};

void convolve_it() {
  const ml::sizes sizes{ml::size<batch>{8}, ml::size<seq>{16},      ml::size<heads>{4},    ml::size<embed>{32},
                        ml::size<mlp>{64},  ml::size<taps_high>{3}, ml::size<taps_wide>{3}};
  ml::graph_builder into;
  ml::no_visitor nothing;
  ml::scope<std::remove_const_t<decltype(sizes)>, ml::no_visitor, true> scope(into, sizes, nothing);
  ml::call_layer(scope, filtered{}, ml::tensor<heads, seq, batch, embed>{});
}
