// SPDX-License-Identifier: Apache-2.0
// The options of examples/gpt, read from the command line.
#pragma once

#include <meshloom/base/error.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

struct gpt_options {
  std::string data;  ///< empty: the sources of this repository
  std::int32_t layers = 4;
  std::int64_t embed = 128, heads = 4, vocab = 256, seq = 64, batch = 16;
  std::int32_t micro_batches = 0;  ///< 0: as the planner likes, and 1 under a plan that is not automatic
  std::int64_t steps = 300;
  std::uint64_t seed = 1;
  std::int32_t ranks = 1;
  std::string cluster;  ///< empty: local:RANKS
  double rate = 1e-3;
  std::string backend = "host";
  std::string plan = "auto";
  std::string save_plan, trace;
  std::string prompt = "\n";
  std::int64_t sample = 400;  ///< bytes of text to generate
  bool recompute = false;     ///< the layers of the model keep no activations for backward
  bool explain = false;       ///< print the plan and stop
  bool json = false;
};

inline constexpr std::string_view gpt_usage =
    "usage: gpt [--data FILE] [--layers N] [--embed N] [--heads N] [--vocab N] [--seq N] [--batch N] [--micro-batches "
    "N]\n"
    "           [--steps N] [--rate X] [--seed N] [--ranks N] [--backend host|simulate]\n"
    "           [--cluster here|local:N|p3.16xlarge:N|FILE]\n"
    "           [--plan auto|data|tensor|pipeline|gpipe|zero1|zero2|zero3|\"data=2,tensor=2,pipeline=2\"|FILE] "
    "[--recompute]\n"
    "           [--save-plan FILE] [--explain] [--trace FILE] [--prompt TEXT] [--sample BYTES] [--json]\n";

/// Throws meshloom::error naming the option that is unknown, lacks its value, or has one that is not possible.
inline gpt_options read_options(int count, char** words) {
  gpt_options made;
  int at = 1;
  const auto value = [&]() -> std::string_view {
    if (at + 1 >= count) throw meshloom::error("option " + std::string(words[at]) + " needs a value after it");
    return words[++at];
  };
  const auto number = [&](auto& into, auto least) {
    const std::string_view name = words[at], text = value();
    const auto read = std::from_chars(text.data(), text.data() + text.size(), into);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size() ||
        !(into >= static_cast<decltype(+into)>(least))) {
      throw meshloom::error("option " + std::string(name) + ": '" + std::string(text) +
                            "' is not possible; give a number of " + std::to_string(least) + " or more");
    }
  };
  for (; at < count; ++at) {
    const std::string_view name = words[at];
    if (name == "--data")
      made.data = value();
    else if (name == "--layers")
      number(made.layers, 1);
    else if (name == "--embed")
      number(made.embed, 1);
    else if (name == "--heads")
      number(made.heads, 1);
    else if (name == "--vocab")
      number(made.vocab, 1);
    else if (name == "--seq")
      number(made.seq, 1);
    else if (name == "--batch")
      number(made.batch, 1);
    else if (name == "--micro-batches")
      number(made.micro_batches, 1);
    else if (name == "--steps")
      number(made.steps, 1);
    else if (name == "--rate")
      number(made.rate, 0);
    else if (name == "--seed")
      number(made.seed, 0);
    else if (name == "--ranks")
      number(made.ranks, 1);
    else if (name == "--sample")
      number(made.sample, 0);
    else if (name == "--backend")
      made.backend = value();
    else if (name == "--cluster")
      made.cluster = value();
    else if (name == "--plan")
      made.plan = value();
    else if (name == "--save-plan")
      made.save_plan = value();
    else if (name == "--trace")
      made.trace = value();
    else if (name == "--prompt")
      made.prompt = value();
    else if (name == "--recompute")
      made.recompute = true;
    else if (name == "--explain")
      made.explain = true;
    else if (name == "--json")
      made.json = true;
    else
      throw meshloom::error("option " + std::string(name) + " is unknown; run gpt --help for the options");
  }
  if (made.prompt.empty()) throw meshloom::error("option --prompt needs at least one byte to go on from");
  if (made.backend != "host" && made.backend != "simulate") {
    throw meshloom::error("backend '" + made.backend + "' is not in this binary; use host or simulate");
  }
  return made;
}
