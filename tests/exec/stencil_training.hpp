// SPDX-License-Identifier: Apache-2.0
// A small model of images whose layers read windows: two blurs, the second with a stride, and a classifier.
#pragma once

#include <meshloom/model/training.hpp>
#include <meshloom/plan/manual.hpp>

#include "stencils.hpp"

namespace stencils {

struct high;  // of the image
struct wide;
struct high_1;  // of the first blur's result
struct wide_1;
struct high_2;
struct wide_2;
struct taps_high_1;
struct taps_wide_1;
struct taps_high_2;
struct taps_wide_2;
struct kind;

struct rows;  // mesh axes
struct columns;

/// Image [.., H, W] under a kernel of taps, giving [.., High, Wide].
template <class High, class Wide, class TapsHigh, class TapsWide>
struct blur_layer {
  static constexpr std::string_view name = "blur";
  stencil high = {}, wide = {};

  template <class Batch, class H, class W>
  auto operator()(auto& scope, const tensor<Batch, H, W>& x) const {
    const auto k = scope.template parameter<TapsHigh, TapsWide>("kernel", {initial::normal, 0.7});
    using all = axes<Batch, H, W, High, Wide, TapsHigh, TapsWide>;
    return tensor<Batch, High, Wide>{scope.template emit<blur>(all{}, attributes_of(high, wide), x, k)[0]};
  }
};

struct classifier {
  static constexpr std::string_view name = "classifier";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto weight = scope.template parameter<high_2, wide_2, kind>("weight", {initial::normal, 0.5});
    return evaluate(scope, dot<high_2, wide_2>(scope, x, weight) + scope.template parameter<kind>("bias", {}));
  }
};

/// The extents of an image, and the stencils of both blurs along high and wide.
struct shape {
  std::int64_t high = 1, wide = 1;
  std::array<stencil, 2> along_high = {}, along_wide = {};
};

inline auto training_of(const shape& how) {
  const std::int64_t high_made = how.along_high[0].positions(how.high);
  const std::int64_t wide_made = how.along_wide[0].positions(how.wide);
  const auto first = blur_layer<high_1, wide_1, taps_high_1, taps_wide_1>{how.along_high[0], how.along_wide[0]};
  const auto second = blur_layer<high_2, wide_2, taps_high_2, taps_wide_2>{how.along_high[1], how.along_wide[1]};
  return training{.model = first | meshloom::gelu{} | second | classifier{},
                  .loss = cross_entropy<kind>{},
                  .optimizer = sgd{.rate = 0.1},
                  .sizes = sizes{size<axis::batch>{4}, size<kind>{3}, size<high>{how.high}, size<wide>{how.wide},
                                 size<high_1>{high_made}, size<wide_1>{wide_made},
                                 size<high_2>{how.along_high[1].positions(high_made)},
                                 size<wide_2>{how.along_wide[1].positions(wide_made)},
                                 size<taps_high_1>{how.along_high[0].taps}, size<taps_wide_1>{how.along_wide[0].taps},
                                 size<taps_high_2>{how.along_high[1].taps}, size<taps_wide_2>{how.along_wide[1].taps}},
                  .input = tensor<axis::batch, high, wide>{},
                  .target = integers<axis::batch>{},
                  .precision = double{}};
}

/// Every image split along high.
inline manual split_high(std::int32_t ranks) {
  return split_all<high, rows>(ranks) & split_all<high_1, rows>(ranks) & split_all<high_2, rows>(ranks);
}
inline manual split_wide(std::int32_t ranks) {
  return split_all<wide, columns>(ranks) & split_all<wide_1, columns>(ranks) & split_all<wide_2, columns>(ranks);
}

/// Strides, paddings and dilations that leave uneven parts, and halos of one and of several elements.
inline constexpr shape uneven{.high = 11,
                              .wide = 9,
                              .along_high = {stencil{3, 1, 1, 1}, stencil{3, 2, 1, 1}},
                              .along_wide = {stencil{2, 1, 0, 2}, stencil{3, 3, 2, 1}}};

/// Fewer rows than ranks.
inline constexpr shape tiny{.high = 3,
                            .wide = 2,
                            .along_high = {stencil{3, 1, 1, 1}, stencil{2, 2, 0, 1}},
                            .along_wide = {stencil{1, 1, 0, 1}, stencil{2, 1, 1, 1}}};

/// A kernel of one tap, and parts that go with the stride: nobody lacks anything of the image.
inline constexpr shape aligned{.high = 8,
                               .wide = 8,
                               .along_high = {stencil{1, 1, 0, 1}, stencil{2, 2, 0, 1}},
                               .along_wide = {stencil{1, 1, 0, 1}, stencil{2, 2, 0, 1}}};

}  // namespace stencils
