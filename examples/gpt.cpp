// SPDX-License-Identifier: Apache-2.0
// Trains a byte-level GPT on a text file under any plan. Start here: `learn_text` is the whole path from a training to
// a run, `plan_training` the part of it that plans.
#include "text_training.hpp"

namespace {

struct gpt_options : text_options {
  std::int32_t layers = 4;
  std::int64_t embed = 128, heads = 4;

  static constexpr std::string_view usage =
      "[--layers N] [--embed N] [--heads N] [--vocab N] [--seq N] [--data FILE] [--prompt TEXT] [--sample BYTES]\n";

  void add_to(command_line& line) {
    text_options::add_to(line);
    line.number("--layers", layers, 1);
    line.number("--embed", embed, 1);
    line.number("--heads", heads, 1);
  }
};

void train(const gpt_options& options) {
  const ml::gpt_shape shape{.name = "gpt",
                            .vocab = options.vocab,
                            .seq = options.seq,
                            .batch = options.batch,
                            .embed = options.embed,
                            .layers = options.layers,
                            .heads = options.heads};
  learn_text(options, ml::gpt_training(shape, ml::adamw{.rate = options.rate}));
}

}  // namespace

int main(int count, char** words) { return run_example<gpt_options>("gpt", count, words, train); }
