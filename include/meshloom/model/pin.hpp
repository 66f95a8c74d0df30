// SPDX-License-Identifier: Apache-2.0
// Constraints written into the model: `pinned(layer, split<mlp, mesh::tensor>{})` binds the layer's result, in any
// plan, and `pinned_gradient(layer, …)` the gradient of that result, which nothing else ties to it. All pinned is a
// manual plan, none an automatic one. Law: an axis the result lacks does not compile.
#pragma once

#include <meshloom/model/compose.hpp>

namespace meshloom {

/// Mesh axis `MeshAxis` splits tensor axis `Axis`.
template <class Axis, class MeshAxis>
struct split {};

/// Mesh axis `MeshAxis` leaves the tensor whole.
template <class MeshAxis>
struct whole {};

enum class pinned_side : bool { result, gradient };

template <pinned_side Side, class Layer, class... Constraint>
struct pinned_layer {
  static constexpr std::string_view name = Layer::name;
  Layer layer;

  auto operator()(auto& scope, const auto& x) const {
    const auto result = evaluate(scope, detail::call_with(scope, layer, x));
    (add<Constraint>(scope, result), ...);
    return result;
  }

 private:
  template <class>
  struct constraint;
  template <class Axis, class MeshAxis>
  struct constraint<split<Axis, MeshAxis>> {
    template <class List>
    static pin on(value_id value) {
      static_assert(has_axis<List, Axis>,
                    "meshloom: pinned: the layer's result does not have the axis to split; pin an axis that it has");
      return {value, std::string(name_of<MeshAxis>()), static_cast<std::int8_t>(position_in<Axis>(List{})),
              Side == pinned_side::gradient};
    }
  };
  template <class MeshAxis>
  struct constraint<whole<MeshAxis>> {
    template <class List>
    static pin on(value_id value) {
      return {value, std::string(name_of<MeshAxis>()), -1, Side == pinned_side::gradient};
    }
  };

  template <class Bound, class Result>
  static void add(auto& scope, const Result& result) {
    scope.pin(constraint<Bound>::template on<typename Result::axes_type>(result.id));
  }
};

/// The layer, its result bound by `split`s and `whole`s.
template <class Layer, class... Constraint>
constexpr auto pinned(const Layer& layer, Constraint...) {
  return pinned_layer<pinned_side::result, Layer, Constraint...>{layer};
}

/// The layer, the gradient of its result bound by `split`s and `whole`s. Without a backward there is nothing to bind.
template <class Layer, class... Constraint>
constexpr auto pinned_gradient(const Layer& layer, Constraint...) {
  return pinned_layer<pinned_side::gradient, Layer, Constraint...>{layer};
}

}  // namespace meshloom
