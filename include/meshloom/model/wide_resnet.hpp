// SPDX-License-Identifier: Apache-2.0
// The Wide-ResNet family as layers and as data: bottleneck residual networks on images, of any depth and width.
// Source: He et al. 2016 (bottlenecks), Zagoruyko and Komodakis 2016 (width); batch norms after each convolution,
// strides in the 3 × 3 one.
#pragma once

#include <meshloom/base/sentence.hpp>
#include <meshloom/model/image_layers.hpp>
#include <meshloom/model/training.hpp>

#include <array>
#include <string_view>

namespace meshloom {

/// The channels of stage `Stage`: of its blocks' results, and of those of the first and of the second convolution.
template <int Stage>
struct outer_channels;
template <int Stage>
struct entry_channels;
template <int Stage>
struct inner_channels;
struct stem_channels;

/// The names of a stage's regions: its first block, and the others.
template <int Stage>
struct first_block;
template <int Stage>
struct more_blocks;

/// How the first layer looks at an image: 3 × 3, or 7 × 7 in strides of 2 and then a pooling in strides of 2.
enum class stem : std::uint8_t { small, large };

/// Sizes of a Wide-ResNet. Stage i has `depth[i]` blocks of base·2^i·4 channels; the 3 × 3 convolution inside makes
/// base·2^i·widening from base·2^i·entry_widening. Every stage but the first halves the image.
template <int Stages>
struct wide_resnet_shape {
  std::string_view name = "";
  std::int64_t high = 32, wide = 32, colours = 3, classes = 10, batch = 16, base = 16, widening = 2;
  std::array<std::int32_t, static_cast<std::size_t>(Stages)> depth{};
  std::int64_t entry_widening = 2;
};

/// relu(shortcut(x) + three convolutions of x), each with its batch norm. With `Project` the shortcut is a convolution,
/// else x itself.
template <class Entry, class Inner, class Outer, int Stride, bool Project>
struct bottleneck {
  static constexpr std::string_view name = "bottleneck";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto body = convolution<Entry, 1>{} | batch_norm{} | relu{} | convolution<Inner, 3, Stride>{} | batch_norm{} |
                      relu{} | convolution<Outer, 1>{} | batch_norm{};
    const auto deep = evaluate(scope, body(scope, x));
    if constexpr (Project) {
      const auto shortcut = named("shortcut", convolution<Outer, 1, Stride>{} | batch_norm{});
      return relu_of(deep + call_layer(scope, shortcut, x));
    } else {
      return relu_of(deep + x);
    }
  }
};

/// The blocks of one stage: the first changes the shape, the others repeat.
template <int Stage>
struct resnet_stage {
  static constexpr std::string_view name = "stage";
  static constexpr bool opens_regions = true;
  std::int32_t depth = 1;

  auto operator()(auto& scope, const pointwise_value auto& x) const {
    using entry = entry_channels<Stage>;
    using inner = inner_channels<Stage>;
    using outer = outer_channels<Stage>;
    if (depth < 1) throw error(sentence({"wide_resnet: a stage has ", depth, " blocks; give it 1 or more"}));
    static constexpr auto change =
        named(name_of<first_block<Stage>>(), bottleneck < entry, inner, outer, Stage == 0 ? 1 : 2, true > {});
    const auto first = evaluate(scope, call_layer(scope, change, x));
    if (depth == 1) return first;
    const auto keep = repeat(depth - 1, bottleneck<entry, inner, outer, 1, false>{});
    return call_layer(scope, named(name_of<more_blocks<Stage>>(), keep), first);
  }
};

namespace detail {

template <int... Stage>
auto resnet_stages(const std::array<std::int32_t, sizeof...(Stage)>& depth, std::integer_sequence<int, Stage...>) {
  return link_all(as_chain(resnet_stage<Stage>{depth[static_cast<std::size_t>(Stage)]})...);
}

template <stem Stem>
auto resnet_stem() {
  if constexpr (Stem == stem::small)
    return convolution<stem_channels, 3>{} | batch_norm{} | relu{};
  else
    return convolution<stem_channels, 7, 2>{} | batch_norm{} | relu{} | max_pooling<3, 2>{};
}

template <int... Stage>
auto resnet_sizes(const auto& of, std::integer_sequence<int, Stage...>) {
  using namespace axis;
  return sizes{size<batch>{of.batch},
               size<high>{of.high},
               size<wide>{of.wide},
               size<channels>{of.colours},
               size<classes>{of.classes},
               size<stem_channels>{of.base},
               size<entry_channels<Stage>>{(of.base << Stage) * of.entry_widening}...,
               size<inner_channels<Stage>>{(of.base << Stage) * of.widening}...,
               size<outer_channels<Stage>>{(of.base << Stage) * 4}...};
}

}  // namespace detail

template <stem Stem = stem::small, int Stages>
auto wide_resnet(const wide_resnet_shape<Stages>& of) {
  using namespace axis;
  return named("stem", detail::resnet_stem<Stem>()) |
         detail::resnet_stages(of.depth, std::make_integer_sequence<int, Stages>{}) | global_average_pooling{} |
         linear<outer_channels<Stages - 1>, classes>{};
}

/// Training of a Wide-ResNet on labelled images.
template <stem Stem = stem::small, int Stages, optimizer Optimizer>
auto wide_resnet_training(const wide_resnet_shape<Stages>& of, const Optimizer& with) {
  using namespace axis;
  return training{.model = wide_resnet<Stem>(of),
                  .loss = cross_entropy<classes>{},
                  .optimizer = with,
                  .sizes = detail::resnet_sizes(of, std::make_integer_sequence<int, Stages>{}),
                  .input = tensor<batch, high, wide, channels>{},
                  .target = integers<batch>{}};
}

/// Named models: two small ones, and WRN-50-2, which has a large stem.
inline constexpr wide_resnet_shape<2> wrn_tiny{"wrn-tiny", 16, 16, 3, 10, 8, 8, 2, {1, 1}};
inline constexpr wide_resnet_shape<3> wrn_small{"wrn-small", 32, 32, 3, 100, 16, 32, 2, {2, 2, 2}};
inline constexpr wide_resnet_shape<4> wrn_medium{"wrn-medium", 128, 128, 3, 1000, 4, 64, 2, {3, 4, 6, 3}};

/// Those that Alpa was measured on (Zheng et al. 2022, section 8), with large stems: only what the 3 × 3 convolution
/// makes is widened.
inline constexpr wide_resnet_shape<4> alpa_wide_resnets[] = {
    {"wide-resnet-250m", 224, 224, 3, 1024, 1536, 160, 2, {3, 4, 6, 3}, 1},
    {"wide-resnet-500m", 224, 224, 3, 1024, 1536, 224, 2, {3, 4, 6, 3}, 1},
    {"wide-resnet-1b", 224, 224, 3, 1024, 1536, 320, 2, {3, 4, 6, 3}, 1},
    {"wide-resnet-2b", 224, 224, 3, 1024, 1536, 448, 2, {3, 4, 6, 3}, 1},
    {"wide-resnet-4b", 224, 224, 3, 1024, 1536, 640, 2, {3, 4, 6, 3}, 1},
    {"wide-resnet-6.8b", 224, 224, 3, 1024, 1536, 320, 16, {3, 4, 6, 3}, 1},
    {"wide-resnet-13b", 224, 224, 3, 1024, 1520, 320, 16, {3, 4, 23, 3}, 1},
};

}  // namespace meshloom
