// SPDX-License-Identifier: Apache-2.0
// Trains a byte-level LLaMA on a text file under any plan: RMS norms, rotary positions, grouped queries, SwiGLU and
// dropout. See gpt.cpp for the path to a run.
#include "text_training.hpp"

#include <meshloom/model/llama.hpp>

namespace {

struct llama_options : text_options {
  std::int32_t layers = 4;
  std::int64_t embed = 128, heads = 4, key_heads = 2, mlp = 344;
  double dropout = 0;

  static constexpr std::string_view usage =
      "[--layers N] [--embed N] [--heads N] [--key-heads N] [--mlp N] [--dropout X] [--vocab N] [--seq N]\n"
      "  [--data FILE] [--prompt TEXT] [--sample BYTES]\n";

  void add_to(command_line& line) {
    text_options::add_to(line);
    line.number("--layers", layers, 1);
    line.number("--embed", embed, 1);
    line.number("--heads", heads, 1);
    line.number("--key-heads", key_heads, 1);
    line.number("--mlp", mlp, 1);
    line.number("--dropout", dropout, 0);
  }
};

void train(const llama_options& options) {
  const ml::llama_shape shape{.name = "llama",
                              .vocab = options.vocab,
                              .seq = options.seq,
                              .batch = options.batch,
                              .embed = options.embed,
                              .layers = options.layers,
                              .heads = options.heads,
                              .key_heads = options.key_heads,
                              .mlp = options.mlp,
                              .dropout = options.dropout};
  learn_text(options, ml::llama_training(shape, ml::adamw{.rate = options.rate}));
}

}  // namespace

int main(int count, char** words) { return run_example<llama_options>("llama", count, words, train); }
