// SPDX-License-Identifier: Apache-2.0
// Layers of today's transformers, beside those of model/layers.hpp: RMS norm, gated hidden layers, dropout. Rotary
// positions are a function on queries and keys: `rotary<seq, head>(scope, q)`.
// Law: a layer computes its paper's formula. Source: Zhang and Sennrich 2019 (RMS norm), Shazeer 2020 (gates), Su et
// al. 2021 (rotary positions), Srivastava et al. 2014 (dropout).
#pragma once

#include <meshloom/model/layers.hpp>

namespace meshloom {

/// Root-mean-square normalisation over Feature, the last axis (Zhang and Sennrich 2019).
template <class Feature>
struct rms_norm {
  static constexpr std::string_view name = "rms_norm";
  double epsilon = 1e-6;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto gain = scope.template parameter<Feature>("gain", {initial::constant, 1});
    return rms_norm_of(scope, x, gain, epsilon);
  }
};

struct silu {
  static constexpr std::string_view name = "silu";
  auto operator()(auto&, const pointwise_value auto& x) const { return silu_of(x); }
};

namespace detail {

/// (curve(x · gate) ∗ (x · up)) · down, without biases; curve and product are one operator.
template <class Feature, class Hidden>
auto gated(auto& scope, const pointwise_value auto& value, double deviation, const auto& curve) {
  const auto x = evaluate(scope, value);
  const linear_without_bias<Feature, Hidden> rise{.deviation = deviation};
  const linear_without_bias<Hidden, Feature> fall{.deviation = deviation};
  const auto gate = scope.layer("gate", [&] { return rise(scope, x); });
  const auto up = scope.layer("up", [&] { return rise(scope, x); });
  return scope.layer("down", [&] { return fall(scope, curve(gate) * up); });
}

}  // namespace detail

/// A hidden layer gated by silu (Shazeer 2020), as in LLaMA and PaLM.
template <class Feature, class Hidden>
struct swiglu {
  static constexpr std::string_view name = "swiglu";
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& x) const {
    return detail::gated<Feature, Hidden>(scope, x, deviation, [](const auto& gate) { return silu_of(gate); });
  }
};

/// A hidden layer gated by gelu (Shazeer 2020), as in T5 1.1.
template <class Feature, class Hidden>
struct geglu {
  static constexpr std::string_view name = "geglu";
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& x) const {
    return detail::gated<Feature, Hidden>(scope, x, deviation, [](const auto& gate) { return gelu_of(gate); });
  }
};

/// Drops elements in training: see `dropout_of`.
struct dropout {
  static constexpr std::string_view name = "dropout";
  double rate = 0.1;

  auto operator()(auto& scope, const pointwise_value auto& x) const { return dropout_of(scope, x, rate); }
};

}  // namespace meshloom
