// SPDX-License-Identifier: Apache-2.0
// The GPT family as layers and as data: one block of layers, and the named sizes that benches and examples use.
// Source: Radford et al. 2019 (GPT-2): pre-norm blocks, learned positions, gelu, no bias in the head.
#pragma once

#include <meshloom/model/training.hpp>

#include <string>
#include <string_view>

namespace meshloom {

/// Sizes of a GPT. The width of a head is embed / heads.
struct gpt_shape {
  std::string_view name = "";
  std::int64_t vocab = 256, seq = 128, batch = 8, embed = 128;
  std::int32_t layers = 4;
  std::int64_t heads = 4;
  bool tied = false;     ///< head and embedding share one table
  std::int64_t mlp = 0;  ///< the hidden width of the MLP; 0: 4 × embed
};

/// Named models: small ones; `gpt-124m` with GPT-2's sizes; those that Alpa was measured on (Zheng et al. 2022, table
/// 5: a sequence of 1024, a batch of 1024, no tied head); and the largest that Megatron-LM was (Narayanan et al. 2021,
/// table 1).
inline constexpr gpt_shape named_gpts[] = {
    {"gpt-tiny", 64, 16, 4, 32, 2, 4, false},
    {"gpt-small", 2048, 128, 8, 256, 4, 4, false},
    {"gpt-medium", 8192, 256, 4, 512, 8, 8, false},
    {"gpt-124m", 50257, 64, 4, 768, 12, 12, true},
    {"gpt-125m", 51200, 1024, 1024, 768, 12, 12, false},
    {"gpt-350m", 51200, 1024, 1024, 1024, 24, 16, false},
    {"gpt-760m", 51200, 1024, 1024, 1536, 24, 16, false},
    {"gpt-1.3b", 51200, 1024, 1024, 2048, 24, 32, false},
    {"gpt-2.6b", 51200, 1024, 1024, 2560, 32, 32, false},
    {"gpt-6.7b", 51200, 1024, 1024, 4096, 32, 32, false},
    {"gpt-15b", 51200, 1024, 1024, 5120, 48, 40, false},
    {"gpt-39b", 51200, 1024, 1024, 8192, 48, 64, false},
    {"gpt-76b", 51200, 1024, 1024, 10240, 60, 80, false},
    {"gpt-175b", 51200, 2048, 1536, 12288, 96, 96, false},
    {"gpt-1t", 51200, 2048, 3072, 25600, 128, 160, false},
};

/// The named model; throws meshloom::error listing the names if there is none.
inline gpt_shape find_gpt(std::string_view name) {
  std::string known;
  for (const gpt_shape& each : named_gpts) {
    if (each.name == name) return each;
    known += (known.empty() ? "" : ", ") + std::string(each.name);
  }
  throw error("no model is called '" + std::string(name) + "'; the named models are " + known);
}

/// One block: attention, then the MLP, each added to its input.
inline auto gpt_block() {
  using namespace axis;
  return residual(layer_norm<embed>{}, causal_attention<seq, embed, heads, head>{}) |
         residual(layer_norm<embed>{}, linear<embed, mlp>{}, gelu{}, linear<mlp, embed>{});
}

/// A GPT with a head of its own.
inline auto gpt(std::int32_t layers) {
  using namespace axis;
  return embedding<vocab, embed>{} | positions<seq, embed>{} | named("blocks", repeat(layers, gpt_block())) |
         layer_norm<embed>{} | linear_without_bias<embed, vocab>{};
}

/// A GPT whose head is its embedding, transposed.
inline auto tied_gpt(std::int32_t layers) {
  using namespace axis;
  return embedding<vocab, embed>{.table = "tokens"} | positions<seq, embed>{} |
         named("blocks", repeat(layers, gpt_block())) | layer_norm<embed>{} |
         unembedding<embed, vocab>{.table = "tokens"};
}

/// The sizes of a GPT's axes; throws meshloom::error if the heads do not divide the width.
inline auto gpt_sizes(const gpt_shape& of) {
  using namespace axis;
  if (of.heads < 1 || of.embed % of.heads != 0) {
    throw error("gpt: a width of " + std::to_string(of.embed) + " cannot be divided into " + std::to_string(of.heads) +
                " heads of equal width; choose a divisor");
  }
  return sizes{size<batch>{of.batch},
               size<seq>{of.seq},
               size<embed>{of.embed},
               size<heads>{of.heads},
               size<head>{of.embed / of.heads},
               size<mlp>{of.mlp > 0 ? of.mlp : 4 * of.embed},
               size<vocab>{of.vocab}};
}

/// Training of a GPT on next tokens.
template <optimizer Optimizer>
auto gpt_training(const gpt_shape& of, const Optimizer& with) {
  return training{
      .model = gpt(of.layers), .loss = cross_entropy<axis::vocab>{}, .optimizer = with, .sizes = gpt_sizes(of)};
}

/// The same with a tied head.
template <optimizer Optimizer>
auto tied_gpt_training(const gpt_shape& of, const Optimizer& with) {
  return training{
      .model = tied_gpt(of.layers), .loss = cross_entropy<axis::vocab>{}, .optimizer = with, .sizes = gpt_sizes(of)};
}

}  // namespace meshloom
