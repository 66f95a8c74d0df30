// SPDX-License-Identifier: Apache-2.0
// Trains a model of bytes on a text file under any plan, then measures the loss on held-out text and writes some text
// of its own. `learn_text` is the whole path from a training to a run.
#pragma once

#include "planning.hpp"

#include <algorithm>
#include <iterator>
#include <span>

struct text_options : run_options {
  std::string data;  ///< empty: the sources of this repository
  std::int64_t vocab = 256, seq = 64;
  std::string prompt = "\n";
  std::int64_t sample = 400;  ///< bytes of text to generate

  void add_to(command_line& line) {
    line.text("--data", data);
    line.number("--vocab", vocab, 1);
    line.number("--seq", seq, 1);
    line.text("--prompt", prompt);
    line.number("--sample", sample, 0);
  }
};

/// The text to learn: a file, or the sources of this repository.
inline ml::text read_text(const std::string& path) {
  if (!path.empty()) return ml::text::read(path);
  ml::vector<std::filesystem::path> sources;
  for (const char* folder : {"include", "examples"}) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::filesystem::path(EXAMPLE_SOURCES) / folder)) {
      const auto ending = entry.path().extension();
      if (ending == ".hpp" || ending == ".inl" || ending == ".cpp") sources.push_back(entry.path());
    }
  }
  std::sort(sources.begin(), sources.end());
  std::string all;
  for (const auto& source : sources) {
    std::ifstream file(source, std::ios::binary);
    all.append(std::istreambuf_iterator<char>(file), {});
  }
  return ml::text(all);
}

/// The mean loss over the held-out text (at most 50 samples), by a program of its own on the run's parameters.
double held_out_loss(const text_options& options, const auto& task, const planned& with, ml::host_run& run,
                     const ml::text& text) {
  auto evaluation = start_beside(with, ml::trace_evaluation(task), task, run);
  ml::text_sample sample;
  double sum = 0;
  std::int64_t count = 0;
  for (; count < 50 && text.fill_held_out(sample, options.batch, options.seq, count); ++count) {
    sum += evaluation.step({sample.input, sample.target}).loss;
  }
  return sum / static_cast<double>(count);
}

/// Text drawn byte by byte from the model, which still lies sharded where the plan put it.
std::string generate(const text_options& options, const auto& task, const planned& with, ml::host_run& run) {
  auto alone = task;
  alone.sizes = task.sizes.with(ml::size<ml::axis::batch>{1});
  auto model = start_beside(with, ml::trace_inference(alone), alone, run);
  std::string written = options.prompt;
  ml::vector<std::int32_t> window(static_cast<std::size_t>(options.seq));
  ml::vector<float> logits(static_cast<std::size_t>(options.seq * options.vocab));
  for (std::int64_t made = 0; made < options.sample; ++made) {
    const std::string_view seen =
        std::string_view(written).substr(written.size() > window.size() ? written.size() - window.size() : 0);
    std::transform(seen.begin(), seen.end(), window.begin(),
                   [](char letter) { return static_cast<unsigned char>(letter); });
    model.step({window}, {logits.data()});
    const auto row = std::span(logits).subspan((seen.size() - 1) * static_cast<std::size_t>(options.vocab),
                                               static_cast<std::size_t>(options.vocab));
    written += static_cast<char>(ml::draw(row, 0.8, options.seed, static_cast<std::uint64_t>(made)));
  }
  return written;
}

template <class Training>
void learn_text(const text_options& options, const Training& task) {
  if (options.prompt.empty()) throw ml::error("option --prompt needs at least one byte to go on from");
  const auto text = read_text(options.data);
  text.require(options.vocab, options.batch, options.seq);
  const auto with = plan_training(options, task);
  if (!with) return;

  auto run = ml::start(backend{}, with->program, task, options.seed);  // the ranks
  run.record(!options.trace.empty());
  ml::text_sample sample;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    text.fill(sample, options.batch, options.seq, options.seed, static_cast<std::uint64_t>(step));
    print_step(options, step, run.step({sample.input, sample.target}), options.batch * options.seq, "tokens");
  }
  if (!options.trace.empty()) write_file(options.trace, ml::chrome_trace(with->program, run.events()));

  const double loss = held_out_loss(options, task, *with, run, text);
  if (options.json) return fmt::print("{{\"event\":\"held_out\",\"loss\":{:.7g}}}\n", loss);
  fmt::print("held-out loss {:.4f}\n\n{}\n", loss, generate(options, task, *with, run));
}
