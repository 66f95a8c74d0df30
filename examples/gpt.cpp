// SPDX-License-Identifier: Apache-2.0
// Trains a byte-level GPT on a text file under any plan, then measures the loss on held-out text and writes some text
// of its own. Start here: `main` is the whole path from a model to a run.
#include "gpt_options.hpp"

#include <meshloom/meshloom.hpp>
#if defined(EXAMPLE_WITH_CBLAS)
#include <meshloom/exec/cblas.hpp>
#endif
#if defined(EXAMPLE_WITH_ONEDNN)
#include <meshloom/exec/onednn.hpp>
#endif

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace ml = meshloom;

namespace {

#if defined(EXAMPLE_WITH_CBLAS)
using products = ml::cblas;
#else
using products = ml::plain;
#endif
#if defined(EXAMPLE_WITH_ONEDNN)
using arithmetic = ml::onednn_with<products>;
#else
using arithmetic = products;
#endif
using backend = ml::host<arithmetic>;

/// The text to learn: a file, or the sources of this repository.
ml::text read_text(const std::string& path) {
  if (!path.empty()) return ml::text::read(path);
  std::vector<std::filesystem::path> sources;
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

/// The cluster to plan for: a preset, a file, or this machine, measured.
ml::cluster choose_cluster(const gpt_options& options) {
  if (options.cluster.empty()) return ml::local(options.ranks);
  ml::cluster chosen;
  if (options.cluster == "here")
    chosen = ml::this_machine<arithmetic>(options.ranks);
  else if (std::filesystem::is_regular_file(options.cluster))
    chosen = ml::load_cluster(options.cluster).value();
  else
    chosen = ml::find_cluster(options.cluster).value();
  if (chosen.ranks() != options.ranks) {
    throw ml::error(fmt::format("cluster '{}' has {} ranks, not {}; say --ranks {}", options.cluster, chosen.ranks(),
                                options.ranks, chosen.ranks()));
  }
  return chosen;
}

/// What may be chosen: everything, or what a preset or a product of presets leaves open. A saved plan says it all.
ml::problem pose(const gpt_options& options, const ml::graph& graph, const ml::cluster& machine) {
  if (std::filesystem::is_regular_file(options.plan)) return ml::formulate(graph, machine);
  ml::manual constraints = ml::parse_manual(options.plan, options.ranks).value();
  constraints.micro_batches = options.micro_batches;
  return ml::formulate(graph, machine, constraints);
}

/// The planner's choice, or the plan that was saved. With --explain, why there is none, and what would help.
ml::plan choose_plan(const gpt_options& options, const ml::problem& problem) {
  if (std::filesystem::is_regular_file(options.plan))
    return ml::load_plan(options.plan, problem.graph, options.ranks).value();
  const auto made = ml::solve(problem);
  if (!made && options.explain && !options.json) fmt::print("{}\n", ml::explain(*ml::why_infeasible(problem)));
  return made.value();
}

void print_plan(const gpt_options& options, const ml::problem& problem, const ml::plan& plan,
                const ml::program& program, double seconds) {
  if (!options.json) return fmt::print("{}\n", ml::explain(problem, plan));
  std::string peaks;
  for (std::int32_t rank = 0; rank < program.ranks; ++rank) {
    peaks += fmt::format("{}{}", rank > 0 ? "," : "", program.stages[ml::stage_of_rank(program, rank)].peak().count);
  }
  const double predicted = ml::seconds(plan.predicted), bound = ml::seconds(plan.bound);
  const std::string proof =
      bound > 0 ? fmt::format("\"bound_seconds\":{:.6g},\"gap\":{:.4g},", bound, (predicted - bound) / predicted) : "";
  fmt::print("{{\"event\":\"plan\",\"predicted_step_seconds\":{:.6g},\"seconds\":{:.4g},{}\"peak_bytes\":[{}]}}\n",
             predicted, seconds, proof, peaks);
  std::fflush(stdout);
}

void print_step(const gpt_options& options, std::int64_t step, const ml::step_result& made) {
  if (options.json) {
    fmt::print("{{\"event\":\"step\",\"step\":{},\"loss\":{:.7g},\"seconds\":{:.6g}}}\n", step, made.loss,
               made.seconds);
  } else if (step < 10 || step % 10 == 0 || step + 1 == options.steps) {
    const double tokens = static_cast<double>(options.batch * options.seq) / made.seconds;
    fmt::print("step {:5}/{}  loss {:.4f}  {:7.0f} tokens/s  {:4.0f} s left\n", step + 1, options.steps, made.loss,
               tokens, made.seconds * static_cast<double>(options.steps - step - 1));
  }
  std::fflush(stdout);
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.flush();
  if (!file) throw ml::error("cannot write '" + path + "'; give the path of a file in a folder that exists");
}

/// The mean loss over the held-out text (at most 50 samples), by a program of its own on the run's parameters.
double held_out_loss(const auto& task, const ml::graph& graph, const ml::plan& plan, const ml::cluster& machine,
                     ml::host_run& run, const ml::text& text, const gpt_options& options) {
  const ml::graph forward = ml::trace_evaluation(task);
  auto evaluation = ml::start(backend{}, ml::lower(forward, ml::adapt(graph, plan, forward), machine), task, run);
  ml::text_sample sample;
  double sum = 0;
  std::int64_t count = 0;
  for (; count < 50 && text.fill_held_out(sample, options.batch, options.seq, count); ++count) {
    sum += evaluation.step({sample.input, sample.target}).loss;
  }
  return sum / static_cast<double>(count);
}

/// Text drawn byte by byte from the model, which still lies sharded where the plan put it.
std::string generate(const auto& task, const ml::graph& graph, const ml::plan& plan, const ml::cluster& machine,
                     ml::host_run& run, const gpt_options& options) {
  auto alone = task;
  alone.sizes = task.sizes.with(ml::size<ml::axis::batch>{1});
  const ml::graph forward = ml::trace_inference(alone);
  auto model = ml::start(backend{}, ml::lower(forward, ml::adapt(graph, plan, forward), machine), alone, run);
  std::string written = options.prompt;
  std::vector<std::int32_t> window(static_cast<std::size_t>(options.seq));
  std::vector<float> logits(static_cast<std::size_t>(options.seq * options.vocab));
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

void simulate(const gpt_options& options, const ml::program& program, const ml::cluster& machine) {
  const auto predicted = ml::simulate(program, machine);
  if (!options.trace.empty()) write_file(options.trace, ml::chrome_trace(program, predicted.events));
  if (options.json)
    fmt::print("{{\"event\":\"simulated\",\"seconds\":{:.6g}}}\n", ml::seconds(predicted.step));
  else
    fmt::print("simulated: {:.3f} ms per step; nothing was trained\n", ml::seconds(predicted.step) * 1e3);
}

void train(const gpt_options& options) {
  const ml::gpt_shape shape{.name = "gpt",
                            .vocab = options.vocab,
                            .seq = options.seq,
                            .batch = options.batch,
                            .embed = options.embed,
                            .layers = options.layers,
                            .heads = options.heads};
  const auto task = ml::gpt_training(shape, ml::adamw{.rate = options.rate});
  const auto text = read_text(options.data);
  text.require(options.vocab, options.batch, options.seq);

  const auto machine = choose_cluster(options);
  const auto graph = ml::trace(task);                  // what is to be computed
  const auto problem = pose(options, graph, machine);  // what may be chosen
  const auto begin = std::chrono::steady_clock::now();
  const auto plan = choose_plan(options, problem);  // how it is spread
  const std::chrono::duration<double> planning = std::chrono::steady_clock::now() - begin;
  const auto program = ml::lower(graph, plan, machine);  // what every rank executes
  if (!options.save_plan.empty()) ml::save_plan(options.save_plan, graph, plan);
  print_plan(options, problem, plan, program, planning.count());
  if (options.explain) return;
  if (options.backend == "simulate") return simulate(options, program, machine);

  auto run = ml::start(backend{}, program, task, options.seed);  // the ranks
  run.record(!options.trace.empty());
  ml::text_sample sample;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    text.fill(sample, options.batch, options.seq, options.seed, static_cast<std::uint64_t>(step));
    print_step(options, step, run.step({sample.input, sample.target}));
  }
  if (!options.trace.empty()) write_file(options.trace, ml::chrome_trace(program, run.events()));

  const double loss = held_out_loss(task, graph, plan, machine, run, text, options);
  if (options.json) return fmt::print("{{\"event\":\"held_out\",\"loss\":{:.7g}}}\n", loss);
  fmt::print("held-out loss {:.4f}\n\n{}\n", loss, generate(task, graph, plan, machine, run, options));
}

}  // namespace

int main(int count, char** words) {
  try {
    if (count == 2 && std::string_view(words[1]) == "--help") return fmt::print("{}", gpt_usage), 0;
    train(read_options(count, words));
  } catch (const std::exception& why) {
    fmt::print(stderr, "gpt: {}\n", why.what());
    return 2;
  }
}
