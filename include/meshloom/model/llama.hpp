// SPDX-License-Identifier: Apache-2.0
// The LLaMA family as layers and as data: RMS norms, rotary positions, grouped queries, gated hidden layers, no biases.
// Source: Touvron et al. 2023 (LLaMA), Ainslie et al. 2023 (grouped-query attention).
#pragma once

#include <meshloom/model/training.hpp>
#include <meshloom/model/transformer.hpp>

#include <cmath>
#include <string>
#include <string_view>

namespace meshloom {

/// Causal self-attention with rotary positions, input and output [.., Seq, Feature]. Keys and values have Heads heads,
/// each of which Share heads of queries look at.
template <class Seq, class Feature, class Heads, class Share, class Head>
struct grouped_attention {
  static constexpr std::string_view name = "grouped_attention";
  double base = 10000;  ///< of the rotary positions
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    using all = typename decltype(x)::axes_type;
    using rows = without<all, axes<Seq, Feature>>;
    static_assert(std::is_same_v<all, join<rows, axes<Seq, Feature>>>,
                  "meshloom: grouped_attention<Seq, Feature, …>: the last axes of the input must be Seq and Feature; "
                  "feed it a tensor of such axes, or change them");
    const auto q = project<rows, Heads, Share, Head>(scope, "query", x);
    const auto k = project<rows, Heads, Head>(scope, "key", x);
    const auto v = project<rows, Heads, Head>(scope, "value", x);
    const double scale = 1 / std::sqrt(static_cast<double>(scope.template size_of<Head>()));
    const auto mixed =
        attention_of<true>(scope, rotary<Seq, Head>(scope, q, base),
                           rename<Seq, keys<Seq>>(rotary<Seq, Head>(scope, k, base)), rename<Seq, keys<Seq>>(v), scale);
    return scope.layer("output", [&] {
      return dot<Heads, Share, Head>(
          scope, mixed, scope.template parameter<Heads, Share, Head, Feature>("weight", {initial::normal, deviation}));
    });
  }

 private:
  template <class Rows, class... To>
  auto project(auto& scope, std::string_view part, const auto& x) const {
    return scope.layer(part, [&] {
      const auto weight = scope.template parameter<Feature, To...>("weight", {initial::normal, deviation});
      return dot_to<join<Rows, axes<Seq, To...>>>(scope, x, weight);
    });
  }
};

/// Sizes of a LLaMA. `heads` are those of queries, `key_heads` those of keys and values.
struct llama_shape {
  std::string_view name = "";
  std::int64_t vocab = 256, seq = 128, batch = 8, embed = 128;
  std::int32_t layers = 4;
  std::int64_t heads = 4, key_heads = 2, mlp = 344;
  double dropout = 0;
};

/// Named models: three of about the sizes of the GPTs of the same names, a hidden layer of 8/3 of the width; and LLaMA
/// 2 with 70 billion parameters in batches of 4 million tokens (Touvron et al. 2023).
inline constexpr llama_shape named_llamas[] = {
    {"llama-tiny", 64, 16, 4, 32, 2, 4, 2, 88},
    {"llama-small", 2048, 128, 8, 256, 4, 4, 2, 688},
    {"llama-medium", 8192, 256, 4, 512, 8, 8, 4, 1376},
    {"llama-70b", 32000, 4096, 1024, 8192, 80, 64, 8, 28672},
};

/// The named model; throws meshloom::error listing the names if there is none.
inline llama_shape find_llama(std::string_view name) {
  std::string known;
  for (const llama_shape& each : named_llamas) {
    if (each.name == name) return each;
    known += (known.empty() ? "" : ", ") + std::string(each.name);
  }
  throw error("no LLaMA is called '" + std::string(name) + "'; the named ones are " + known);
}

/// One block: attention, then the hidden layer, each added to its input.
inline auto llama_block(double dropped) {
  using namespace axis;
  return residual(rms_norm<embed>{}, grouped_attention<seq, embed, heads, share, head>{}, dropout{.rate = dropped}) |
         residual(rms_norm<embed>{}, swiglu<embed, mlp>{}, dropout{.rate = dropped});
}

inline auto llama(const llama_shape& of) {
  using namespace axis;
  return embedding<vocab, embed>{} | named("blocks", repeat(of.layers, llama_block(of.dropout))) | rms_norm<embed>{} |
         linear_without_bias<embed, vocab>{};
}

/// The sizes of its axes; throws meshloom::error if heads do not divide.
inline auto llama_sizes(const llama_shape& of) {
  using namespace axis;
  if (of.key_heads < 1 || of.heads % of.key_heads != 0 || of.embed % (2 * of.heads) != 0) {
    throw error("llama: a width of " + std::to_string(of.embed) + ", " + std::to_string(of.heads) +
                " heads of queries and " + std::to_string(of.key_heads) +
                " of keys do not go together: those of keys must divide those of queries, and these the width into "
                "even parts");
  }
  return sizes{size<batch>{of.batch},
               size<seq>{of.seq},
               size<embed>{of.embed},
               size<heads>{of.key_heads},
               size<share>{of.heads / of.key_heads},
               size<head>{of.embed / of.heads},
               size<mlp>{of.mlp},
               size<vocab>{of.vocab}};
}

/// Training of a LLaMA on next tokens.
template <optimizer Optimizer>
auto llama_training(const llama_shape& of, const Optimizer& with) {
  return training{
      .model = llama(of), .loss = cross_entropy<axis::vocab>{}, .optimizer = with, .sizes = llama_sizes(of)};
}

}  // namespace meshloom
