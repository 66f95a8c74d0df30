// SPDX-License-Identifier: Apache-2.0
// The ready-made layers. A layer is any value callable as `layer(scope, tensor…)`; these are plain aggregates, so that
// every option is set by its name: `embedding<vocab, embed>{.table = "tokens"}`. Parameters are created in named
// statements, never in arguments: their order is the order of the model, under every compiler.
#pragma once

#include <meshloom/model/functions.hpp>

namespace meshloom {

/// integers → rows of a table [Row, Column]. A named table belongs to the model and can be shared: see `unembedding`.
template <class Row, class Column>
struct embedding {
  static constexpr std::string_view name = "embedding";
  std::string_view table = "";
  double deviation = 0.02;

  template <class... Axis>
  auto operator()(auto& scope, integers<Axis...> tokens) const {
    const initial start{initial::normal, deviation};
    const auto rows = table.empty() ? scope.template parameter<Row, Column>("table", start)
                                    : scope.template shared_parameter<Row, Column>(table, start);
    return lookup(scope, rows, tokens);
  }
};

/// Logits of a tied head: contracts with the table of the `embedding` of the same name.
template <class Column, class Row>
struct unembedding {
  static constexpr std::string_view name = "unembedding";
  std::string_view table = "";
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& x) const {
    return dot<Column>(scope, x, scope.template shared_parameter<Row, Column>(table, {initial::normal, deviation}));
  }
};

/// Adds a learned vector per position.
template <class Position, class Feature>
struct positions {
  static constexpr std::string_view name = "positions";
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& x) const {
    return x + scope.template parameter<Position, Feature>("weight", {initial::normal, deviation});
  }
};

/// Layer normalisation over Feature, the last axis.
template <class Feature>
struct layer_norm {
  static constexpr std::string_view name = "layer_norm";
  double epsilon = 1e-5;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto gain = scope.template parameter<Feature>("gain", {initial::constant, 1});
    const auto bias = scope.template parameter<Feature>("bias", {initial::constant, 0});
    return layer_norm_of(scope, x, gain, bias, epsilon);
  }
};

/// x · weight + bias, contracting In.
template <class In, class Out>
struct linear {
  static constexpr std::string_view name = "linear";
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    static_assert(has_axis<typename decltype(x)::axes_type, In>,
                  "meshloom: linear<In, Out>: the input tensor does not have the axis In; "
                  "feed it a tensor with that axis, or change In");
    const auto weight = scope.template parameter<In, Out>("weight", {initial::normal, deviation});
    const auto bias = scope.template parameter<Out>("bias", {initial::constant, 0});
    return dot<In>(scope, x, weight) + bias;
  }
};

/// x · weight, contracting In.
template <class In, class Out>
struct linear_without_bias {
  static constexpr std::string_view name = "linear";
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    static_assert(has_axis<typename decltype(x)::axes_type, In>,
                  "meshloom: linear_without_bias<In, Out>: the input tensor does not have the "
                  "axis In; feed it a tensor with that axis, or change In");
    return dot<In>(scope, x, scope.template parameter<In, Out>("weight", {initial::normal, deviation}));
  }
};

struct gelu {
  static constexpr std::string_view name = "gelu";
  auto operator()(auto&, const pointwise_value auto& x) const { return gelu_of(x); }
};

struct relu {
  static constexpr std::string_view name = "relu";
  auto operator()(auto&, const pointwise_value auto& x) const { return relu_of(x); }
};

/// Multi-head self-attention (Vaswani et al. 2017), input and output [.., Seq, Feature].
template <class Seq, class Feature, class Heads, class Head, bool Causal = false>
struct attention {
  static constexpr std::string_view name = Causal ? "causal_attention" : "attention";
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    using all = typename decltype(x)::axes_type;
    static_assert(has_axis<all, Seq> && has_axis<all, Feature>,
                  "meshloom: attention and causal_attention<Seq, Feature, Heads, Head>: the input tensor must "
                  "have the axes Seq and Feature; feed it one that has, or change them");
    const auto q = project(scope, "query", x);
    const auto k = rename<Seq, keys<Seq>>(project(scope, "key", x));
    const auto v = rename<Seq, keys<Seq>>(project(scope, "value", x));
    const double scale = 1 / square_root(static_cast<double>(scope.template size_of<Head>()));
    const auto mixed = attention_of<Causal>(scope, q, k, v, scale);
    return scope.layer("output", [&] {
      const auto weight = scope.template parameter<Heads, Head, Feature>("weight", {initial::normal, deviation});
      const auto bias = scope.template parameter<Feature>("bias", {initial::constant, 0});
      return dot<Heads, Head>(scope, mixed, weight) + bias;
    });
  }

 private:
  auto project(auto& scope, std::string_view part, const auto& x) const {
    return scope.layer(part, [&] {
      const auto weight = scope.template parameter<Feature, Heads, Head>("weight", {initial::normal, deviation});
      const auto bias = scope.template parameter<Heads, Head>("bias", {initial::constant, 0});
      using rows = without<typename std::remove_cvref_t<decltype(x)>::axes_type, axes<Seq, Feature>>;
      return evaluate(scope, dot_to<join<rows, axes<Seq, Heads, Head>>>(scope, x, weight) + bias);
    });
  }

  static constexpr double square_root(double square) {
    double root = square > 1 ? square : 1;
    for (int round = 0; round < 64; ++round) root = (root + square / root) / 2;
    return root;
  }
};

/// The same where no position sees what comes later.
template <class Seq, class Feature, class Heads, class Head>
using causal_attention = attention<Seq, Feature, Heads, Head, true>;

}  // namespace meshloom
