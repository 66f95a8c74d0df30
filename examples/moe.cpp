// SPDX-License-Identifier: Apache-2.0
// Trains a byte-level mixture of experts on a text file under any plan: every second layer has experts, and the planner
// may put them on different ranks while attention is split by samples or heads. See gpt.cpp for the path to a run.
#include "text_training.hpp"

#include <meshloom/model/moe.hpp>

namespace {

struct moe_options : text_options {
  std::int32_t layers = 4;
  std::int64_t embed = 128, heads = 4, experts = 8, expert_mlp = 512;

  static constexpr std::string_view usage =
      "[--layers N] [--embed N] [--heads N] [--experts N] [--expert-mlp N] [--vocab N] [--seq N] [--data FILE]\n"
      "  [--prompt TEXT] [--sample BYTES]\n";

  void add_to(command_line& line) {
    text_options::add_to(line);
    line.number("--layers", layers, 1);
    line.number("--embed", embed, 1);
    line.number("--heads", heads, 1);
    line.number("--experts", experts, 1);
    line.number("--expert-mlp", expert_mlp, 1);
  }
};

void train(const moe_options& options) {
  const ml::moe_shape shape{.gpt = {.name = "moe",
                                    .vocab = options.vocab,
                                    .seq = options.seq,
                                    .batch = options.batch,
                                    .embed = options.embed,
                                    .layers = options.layers,
                                    .heads = options.heads},
                            .experts = options.experts,
                            .expert_mlp = options.expert_mlp};
  learn_text(options, ml::moe_training(shape, ml::adamw{.rate = options.rate}));
}

}  // namespace

int main(int count, char** words) { return run_example<moe_options>("moe", count, words, train); }
