// SPDX-License-Identifier: Apache-2.0
// Layers from layers: `first | second`, `residual(…)`, `repeat(count, block)`, `named("…", layer)`. `repeat` is one
// type with a count: compile time does not grow with depth.
#pragma once

#include <meshloom/model/layers.hpp>

#include <utility>

namespace meshloom {

/// A layer that composes with `|`: a type with a `name`, callable with a scope and a tensor.
template <class Layer>
concept named_layer = requires {
  Layer::name;
};

/// The name of a layer's type in paths.
template <class Layer>
constexpr std::string_view layer_name(const Layer& layer) {
  if constexpr (requires { layer.label; })
    return layer.label;
  else if constexpr (requires { Layer::name; })
    return Layer::name;
  else
    return "layer";
}

namespace detail {

/// True for layers that open regions themselves.
template <class Layer>
inline constexpr bool opens_regions = false;
template <class Layer>
  requires requires { Layer::opens_regions; }
inline constexpr bool opens_regions<Layer> = Layer::opens_regions;

template <class Scope, class Layer, class Input>
auto call_with(Scope& within, const Layer& layer, const Input& x) {
  if constexpr (std::is_invocable_v<const Layer&, Scope&, const Input&>) {
    return layer(within, x);
  } else {
    const auto value = evaluate(within, x);
    constexpr bool takes_it = std::is_invocable_v<const Layer&, Scope&, decltype(value)>;
    static_assert(takes_it,
                  "meshloom: a layer cannot take what comes before it (`Layer` and `Input` in the lines around "
                  "this one): embedding takes integers, the other layers take numbers, and a layer of your own "
                  "what its operator()(scope, x) says");
    if constexpr (takes_it)
      return layer(within, value);
    else
      return value;
  }
}

}  // namespace detail

/// Calls one layer of a chain: at the top of a model as a region of its own, else as a plain layer, where pointwise
/// expressions stay open so that the next layer can fuse with them.
template <class Scope, class Layer, class Input>
auto call_layer(Scope& within, const Layer& layer, const Input& x) {
  if constexpr (Scope::at_top && detail::opens_regions<Layer>) {
    return layer(within, x);
  } else if constexpr (Scope::at_top) {
    return within.region(layer_name(layer),
                         [&](auto& inside) { return evaluate(inside, detail::call_with(inside, layer, x)); });
  } else {
    return within.layer(layer_name(layer), [&] { return detail::call_with(within, layer, x); });
  }
}

namespace detail {

/// A layer at its place in a chain. Chains that begin alike share these types: a tuple would instantiate its own for
/// every `|` of a long model.
template <std::size_t Place, class Layer>
struct layer_slot {
  Layer layer;
};

template <std::size_t Place, class Layer>
constexpr const Layer& layer_at(const layer_slot<Place, Layer>& slot) {
  return slot.layer;
}

template <class Places, class... Layer>
struct layer_slots;
template <std::size_t... Place, class... Layer>
struct layer_slots<std::index_sequence<Place...>, Layer...> : layer_slot<Place, Layer>... {};

}  // namespace detail

/// Layers one after the other. At the top of a model each becomes a region of its own: a place where a pipeline can be
/// cut.
template <class... Layer>
struct sequential {
  static constexpr std::string_view name = "sequential";
  static constexpr bool opens_regions = true;
  detail::layer_slots<std::index_sequence_for<Layer...>, Layer...> layers;

  auto operator()(auto& scope, const auto& x) const { return call<0>(scope, x); }

 private:
  template <std::size_t Place>
  auto call(auto& scope, const auto& x) const {
    if constexpr (Place == sizeof...(Layer)) {
      return x;
    } else {
      return call<Place + 1>(scope, call_layer(scope, detail::layer_at<Place>(layers), x));
    }
  }
};

namespace detail {

template <class Layer>
constexpr auto as_chain(const Layer& layer) {
  return sequential<Layer>{{{layer}}};
}
template <class... Layer>
constexpr auto as_chain(const sequential<Layer...>& chain) {
  return chain;
}

template <class... First, std::size_t... I, class... Second, std::size_t... J>
constexpr auto link(const sequential<First...>& first, std::index_sequence<I...>, const sequential<Second...>& second,
                    std::index_sequence<J...>) {
  return sequential<First..., Second...>{{{layer_at<I>(first.layers)}..., {layer_at<J>(second.layers)}...}};
}

/// Both chains as one.
template <class... First, class... Second>
constexpr auto link(const sequential<First...>& first, const sequential<Second...>& second) {
  return link(first, std::index_sequence_for<First...>{}, second, std::index_sequence_for<Second...>{});
}

template <class Only>
constexpr auto link_all(const Only& only) {
  return only;
}
template <class First, class Second, class... Rest>
constexpr auto link_all(const First& first, const Second& second, const Rest&... rest) {
  return link_all(link(first, second), rest...);
}

}  // namespace detail

/// `first | second`.
template <class First, class Second>
  requires named_layer<First> || named_layer<Second>
constexpr auto operator|(const First& first, const Second& second) {
  static_assert(named_layer<First> && named_layer<Second>,
                "meshloom: first | second: one of the two is not a layer with a name; give its type a "
                "`static constexpr std::string_view name`");
  return detail::link(detail::as_chain(first), detail::as_chain(second));
}

/// x + body(x).
template <class Body>
struct residual_layer {
  static constexpr std::string_view name = "residual";
  Body body;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    return x + body(scope, x);
  }
};

template <class... Layer>
constexpr auto residual(const Layer&... layer) {
  const auto body = detail::link_all(detail::as_chain(layer)...);
  return residual_layer<std::remove_const_t<decltype(body)>>{body};
}

/// `count` copies of a block, each with parameters of its own. The block maps a tensor to one of the same axes.
template <class Block>
struct repeat_layer {
  static constexpr std::string_view name = "repeat";
  static constexpr bool opens_regions = true;
  std::int32_t count;
  Block block;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    return copies(scope, evaluate(scope, value), name);
  }

  template <class... Axis>
  tensor<Axis...> copies(auto& scope, tensor<Axis...> x, std::string_view label) const {
    return scope.repeat(label, count, x, [&](auto& inside, tensor<Axis...> input) {
      const auto output = evaluate(inside, detail::call_with(inside, block, input));
      static_assert(
          std::is_same_v<decltype(output), const tensor<Axis...>>,
          "meshloom: repeat: the block must return a tensor with the axes of its input, which its next copy reads; "
          "end the block with a layer that brings them back");
      return output;
    });
  }
};

template <class Block>
constexpr auto repeat(std::int32_t count, const Block& block) {
  return repeat_layer<Block>{count, block};
}

namespace detail {

template <class Layer>
inline constexpr bool is_repeat = false;
template <class Block>
inline constexpr bool is_repeat<repeat_layer<Block>> = true;

}  // namespace detail

/// A layer with a name of its own in paths: `named("attention", causal_attention<…>{})`.
template <class Layer>
struct named_as {
  static constexpr std::string_view name = "named";
  static constexpr bool opens_regions = detail::is_repeat<Layer>;
  std::string_view label;
  Layer layer;

  auto operator()(auto& scope, const auto& x) const {
    if constexpr (detail::is_repeat<Layer>)
      return layer.copies(scope, evaluate(scope, x), label);
    else
      return detail::call_with(scope, layer, x);
  }
};

template <class Layer>
constexpr auto named(std::string_view label, const Layer& layer) {
  return named_as<Layer>{label, layer};
}

}  // namespace meshloom
