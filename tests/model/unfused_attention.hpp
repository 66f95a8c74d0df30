// SPDX-License-Identifier: Apache-2.0
// Attention as its textbook has it: scores, their softmax, and the mixture of values, each an operator and a tensor of
// its own. Parameters are those of the layer, in name, order and shape.
#pragma once

#include <meshloom/model/layers.hpp>

#include <cmath>

template <class Seq, class Feature, class Heads, class Head, bool Causal>
struct unfused_attention {
  using fused = meshloom::attention<Seq, Feature, Heads, Head, Causal>;
  using keys = meshloom::keys<Seq>;
  static constexpr std::string_view name = fused::name;
  double deviation = 0.02;

  auto operator()(auto& scope, const meshloom::pointwise_value auto& value) const {
    using namespace meshloom;
    const auto x = evaluate(scope, value);
    const auto project = [&](std::string_view part) {
      return scope.layer(part, [&] {
        const auto weight = scope.template parameter<Feature, Heads, Head>("weight", {initial::normal, deviation});
        const auto bias = scope.template parameter<Heads, Head>("bias", {initial::constant, 0});
        return evaluate(scope, dot<Feature>(scope, x, weight) + bias);
      });
    };
    const auto q = project("query");
    const auto k = rename<Seq, keys>(project("key"));
    const auto v = rename<Seq, keys>(project("value"));
    using outer = without<typename decltype(x)::axes_type, axes<Seq, Feature>>;
    const double scale = 1 / std::sqrt(static_cast<double>(scope.template size_of<Head>()));
    const auto scores = dot_to<join<outer, axes<Heads, Seq, keys>>>(scope, q, k);
    const auto shares = softmax<keys, Causal>(scope, scores, scale);
    const auto mixed = dot_to<join<outer, axes<Seq, Heads, Head>>>(scope, shares, v);
    return scope.layer("output", [&] {
      const auto weight = scope.template parameter<Heads, Head, Feature>("weight", {initial::normal, deviation});
      const auto bias = scope.template parameter<Feature>("bias", {initial::constant, 0});
      return dot<Heads, Head>(scope, mixed, weight) + bias;
    });
  }
};
