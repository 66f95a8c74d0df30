// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts as a layer, and a family of transformers made of it: every other MLP is a choice of experts.
// Law: what becomes of a token depends on its group alone, so batches may be cut in any way.
// Source: GShard (Lepikhin et al. 2021), two choices; Switch Transformer (Fedus et al. 2022), one.
#pragma once

#include <meshloom/model/gpt.hpp>
#include <meshloom/model/routing.hpp>

#include <span>

namespace meshloom {

/// The slots that each expert has for a group of tokens: as many as each would need if they were chosen alike, times
/// `factor`. At least 1, and at most one per token: a token takes no more.
constexpr std::int64_t expert_capacity(std::int64_t group, std::int64_t experts, int choices, double factor) {
  const double even = static_cast<double>(choices) * static_cast<double>(group) * factor / static_cast<double>(experts);
  return even >= static_cast<double>(group) ? group : even < 1 ? 1 : static_cast<std::int64_t>(even);
}

/// The size of the axis of slots of a `moe`, to be bound with the sizes: `tokens` is the size of its token axis, the
/// others are the options of the layer. Where it is dropless the size is that of the token axis.
constexpr std::int64_t expert_slots(std::int64_t tokens, std::int64_t group, std::int64_t experts, int choices = 2,
                                    double capacity_factor = 1) {
  const std::int64_t size = group == 0 ? tokens : group;
  return tokens / size * expert_capacity(size, experts, choices, capacity_factor);
}

/// What an expert does with its tokens, without bias: an MLP, or one gated by silu (Shazeer 2020), as in Mixtral.
enum class expert_kind : std::uint8_t { plain, gated };

/// Each token [rows…, Token, Feature] goes through its choice of experts, which are MLPs of width Hidden without bias.
/// Who finds no slot at an expert goes without it; with `dropless` every expert has a slot for every token, which costs
/// experts / (choices · capacity_factor) times the memory and the work of the experts.
template <class Token, class Feature, class Expert, class Slot, class Hidden, expert_kind Kind = expert_kind::plain>
struct moe {
  static constexpr std::string_view name = "moe";
  int choices = 2;             ///< 1: Switch; 2: GShard
  double capacity_factor = 1;  ///< slots, relative to what even choices need
  std::int64_t group = 0;      ///< consecutive tokens that compete for slots; 0: the whole axis
  bool dropless = false;
  double balance = 0.01;  ///< weight of the auxiliary loss
  double deviation = 0.02;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    using all = typename decltype(x)::axes_type;
    using rows = without<all, axes<Token, Feature>>;
    static_assert(
        rows::count > 0 && std::is_same_v<all, join<rows, axes<Token, Feature>>>,
        "meshloom: moe<Token, Feature, …>: the last axes of the input must be Token and Feature, with another "
        "before them; feed it a tensor of such axes, or change them");
    const std::int64_t capacity = checked_capacity(scope);
    const initial start{initial::normal, deviation};
    const auto gate = scope.template parameter<Feature, Expert>("gate", start);

    // Rounding would change who goes where: selective precision (Fedus et al. 2022, section 2.4).
    const auto shares = scope.exactly([&] { return softmax<Expert>(scope, dot<Feature>(scope, x, gate)); });
    const auto by = choices == 1 ? route_of<1, Token, Expert>(scope, shares, group, capacity)
                                 : route_of<2, Token, Expert>(scope, shares, group, capacity);
    if (balance > 0 && scope.trains()) scope.add_loss(auxiliary_loss(scope, by.balance));
    const auto sent = dispatch_of<Slot>(scope, by, x);
    const auto hidden = hidden_of(scope, sent, start);
    const auto out = scope.template parameter<Expert, Hidden, Feature>("out", start);
    return combine_of<Slot>(scope, by, dot<Hidden>(scope, hidden, out));
  }

 private:
  /// The slots of an expert per group; throws meshloom::error where options and sizes do not go together.
  std::int64_t checked_capacity(auto& scope) const {
    const std::int64_t tokens = scope.template size_of<Token>(), size = group == 0 ? tokens : group;
    const std::string token(name_of<Token>()), slot(name_of<Slot>());
    if (choices != 1 && choices != 2)
      throw error("moe: a token has 1 choice or 2, not " + std::to_string(choices) + "; set .choices to one of these");
    if (size < 1 || tokens % size != 0) {
      throw error("moe: the " + std::to_string(tokens) + " elements of " + token + " cannot be cut into groups of " +
                  std::to_string(size) + "; set .group to a divisor, or to 0 for one group");
    }
    const std::int64_t capacity =
        dropless ? size : expert_capacity(size, scope.template size_of<Expert>(), choices, capacity_factor);
    const std::int64_t needed = tokens / size * capacity, bound = scope.template size_of<Slot>();
    if (needed != bound) {
      throw error("moe: the axis " + slot + " has size " + std::to_string(bound) + ", but " + std::to_string(capacity) +
                  " slots for each " + std::to_string(size) + " of the " + std::to_string(tokens) + " elements of " +
                  token + " make " + std::to_string(needed) + "; bind size<" + slot + ">{" + std::to_string(needed) +
                  "}, see expert_slots");
    }
    return capacity;
  }

  /// What the experts make of the tokens sent to them, before the last product.
  auto hidden_of(auto& scope, const auto& sent, const initial& start) const {
    const auto in = scope.template parameter<Expert, Feature, Hidden>("in", start);
    if constexpr (Kind == expert_kind::plain) {
      return evaluate(scope, gelu_of(dot<Feature>(scope, sent, in)));
    } else {
      const auto up = scope.template parameter<Expert, Feature, Hidden>("up", start);
      return evaluate(scope, silu_of(dot<Feature>(scope, sent, in)) * dot<Feature>(scope, sent, up));
    }
  }

  /// The mean of the groups' balances, weighted: what is added to the loss.
  template <class... Row>
  tensor<> auxiliary_loss(auto& scope, tensor<Row...> balances) const {
    const double rows = (1.0 * ... * static_cast<double>(scope.template size_of<Row>()));
    return sum<Row...>(scope, balances, balance / rows);
  }
};

/// Sizes of a GPT whose layers 0, 2, … have experts of width `expert_mlp` in the place of the MLP. The tokens of a
/// sample are a group.
struct moe_shape {
  gpt_shape gpt;
  std::int64_t experts = 8, expert_mlp = 512;
};

/// Named models: the sizes of the GPTs of the same names.
inline constexpr moe_shape named_moes[] = {
    {{"moe-tiny", 64, 16, 4, 32, 2, 4}, 4, 64},
    {{"moe-small", 2048, 128, 8, 256, 4, 4}, 8, 1024},
    {{"moe-medium", 8192, 256, 4, 512, 8, 8}, 8, 2048},
};

/// Those that Alpa was measured on (Zheng et al. 2022, section 8, and others of its benchmarks); every MLP, an
/// expert or not, is 8 times as wide as the model. There groups are of 2048 tokens, two samples.
inline constexpr moe_shape alpa_moes[] = {
    {{"moe-380m", 32000, 1024, 1024, 768, 8, 16, false, 6144}, 8, 6144},
    {{"moe-690m", 32000, 1024, 1024, 768, 8, 16, false, 6144}, 16, 6144},
    {{"moe-1.3b", 32000, 1024, 1024, 768, 16, 16, false, 6144}, 16, 6144},
    {{"moe-2.4b", 32000, 1024, 1024, 1024, 16, 16, false, 8192}, 16, 8192},
    {{"moe-7.1b", 32000, 1024, 1024, 1280, 16, 16, false, 10240}, 32, 10240},
    {{"moe-10b", 32000, 1024, 1024, 1536, 16, 16, false, 12288}, 32, 12288},
    {{"moe-27b", 32000, 1024, 1024, 2048, 16, 16, false, 16384}, 48, 16384},
    {{"moe-70b", 32000, 1024, 1024, 2048, 32, 16, false, 16384}, 64, 16384},
    {{"moe-140b", 32000, 1024, 1024, 2048, 32, 16, false, 16384}, 128, 16384},
};

/// The named model; throws meshloom::error listing the names if there is none.
inline moe_shape find_moe(std::string_view name) {
  std::string known;
  for (const std::span<const moe_shape> list : {std::span<const moe_shape>(named_moes), {alpa_moes}}) {
    for (const moe_shape& each : list) {
      if (each.gpt.name == name) return each;
      known += (known.empty() ? "" : ", ") + std::string(each.gpt.name);
    }
  }
  throw error("no mixture of experts is called '" + std::string(name) + "'; the named ones are " + known);
}

/// Two blocks: one with experts, one without.
inline auto moe_block() {
  using namespace axis;
  return residual(layer_norm<embed>{}, causal_attention<seq, embed, heads, head>{}) |
         residual(layer_norm<embed>{}, moe<seq, embed, expert, slots, expert_mlp>{}) | gpt_block();
}

/// A GPT with experts; throws meshloom::error if the layers do not come in pairs.
inline auto moe_gpt(std::int32_t layers) {
  using namespace axis;
  if (layers < 2 || layers % 2 != 0)
    throw error("moe_gpt: " + std::to_string(layers) + " layers are not pairs of layers; choose an even number");
  return embedding<vocab, embed>{} | positions<seq, embed>{} | named("blocks", repeat(layers / 2, moe_block())) |
         layer_norm<embed>{} | linear_without_bias<embed, vocab>{};
}

/// The sizes of its axes.
inline auto moe_sizes(const moe_shape& of) {
  using namespace axis;
  const gpt_shape& gpt = of.gpt;
  const auto dense = gpt_sizes(gpt);
  return sizes{size<batch>{gpt.batch},
               size<seq>{gpt.seq},
               size<embed>{gpt.embed},
               size<heads>{gpt.heads},
               size<head>{dense.get<head>()},
               size<mlp>{dense.get<mlp>()},
               size<vocab>{gpt.vocab},
               size<expert>{of.experts},
               size<slots>{expert_slots(gpt.seq, 0, of.experts)},
               size<expert_mlp>{of.expert_mlp}};
}

/// Training of a mixture of experts on next tokens.
template <optimizer Optimizer>
auto moe_training(const moe_shape& of, const Optimizer& with) {
  return training{
      .model = moe_gpt(of.gpt.layers), .loss = cross_entropy<axis::vocab>{}, .optimizer = with, .sizes = moe_sizes(of)};
}

}  // namespace meshloom
