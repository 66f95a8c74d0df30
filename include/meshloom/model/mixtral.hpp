// SPDX-License-Identifier: Apache-2.0
// The Mixtral family as layers and as data: LLaMA's blocks with gated experts in the place of the hidden layer.
// Source: Jiang et al. 2024 (Mixtral of experts). There no token is dropped; here every expert has as many slots as
// even choices need, so that a step computes as much, and what finds no slot is dropped.
#pragma once

#include <meshloom/model/llama.hpp>
#include <meshloom/model/moe.hpp>

namespace meshloom {

/// Sizes of a Mixtral: `llama.mlp` is the width of an expert, and a token has two of them. The tokens of a sample are a
/// group.
struct mixtral_shape {
  llama_shape llama;
  std::int64_t experts = 8;
};

/// Named models: a small one, and Mixtral 8x22B (Mistral AI 2024), but for its tokens that are dropped.
inline constexpr mixtral_shape named_mixtrals[] = {
    {{"mixtral-tiny", 64, 16, 4, 32, 2, 4, 2, 88}, 4},
    {{"mixtral-8x22b-shaped", 32000, 4096, 1024, 6144, 56, 48, 8, 16384}, 8},
};

/// The named model; throws meshloom::error listing the names if there is none.
inline mixtral_shape find_mixtral(std::string_view name) {
  std::string known;
  for (const mixtral_shape& each : named_mixtrals) {
    if (each.llama.name == name) return each;
    known += (known.empty() ? "" : ", ") + std::string(each.llama.name);
  }
  throw error("no Mixtral is called '" + std::string(name) + "'; the named ones are " + known);
}

/// One block: attention, then the experts, each added to its input.
inline auto mixtral_block() {
  using namespace axis;
  return residual(rms_norm<embed>{}, grouped_attention<seq, embed, heads, share, head>{.base = 1e6}) |
         residual(rms_norm<embed>{}, moe<seq, embed, expert, slots, expert_mlp, expert_kind::gated>{});
}

inline auto mixtral(const mixtral_shape& of) {
  using namespace axis;
  return embedding<vocab, embed>{} | named("blocks", repeat(of.llama.layers, mixtral_block())) | rms_norm<embed>{} |
         linear_without_bias<embed, vocab>{};
}

/// The sizes of its axes; throws meshloom::error if heads do not divide.
inline auto mixtral_sizes(const mixtral_shape& of) {
  using namespace axis;
  const auto llama = llama_sizes(of.llama);
  return sizes{size<batch>{of.llama.batch},
               size<seq>{of.llama.seq},
               size<embed>{of.llama.embed},
               size<heads>{llama.get<heads>()},
               size<share>{llama.get<share>()},
               size<head>{llama.get<head>()},
               size<vocab>{of.llama.vocab},
               size<expert>{of.experts},
               size<slots>{expert_slots(of.llama.seq, 0, of.experts)},
               size<expert_mlp>{of.llama.mlp}};
}

/// Training of a Mixtral on next tokens.
template <optimizer Optimizer>
auto mixtral_training(const mixtral_shape& of, const Optimizer& with) {
  return training{
      .model = mixtral(of), .loss = cross_entropy<axis::vocab>{}, .optimizer = with, .sizes = mixtral_sizes(of)};
}

}  // namespace meshloom
