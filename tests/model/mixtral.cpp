// SPDX-License-Identifier: Apache-2.0
// Laws of model/mixtral.hpp: the named models have the parameters of their shapes, as many as their papers say, and
// compute twice an expert's work per token; they train, alone and with experts split over a mesh.
#include <meshloom/model/mixtral.hpp>

#include "counts.hpp"
#include "trial.hpp"

#include <doctest/doctest.h>

using namespace meshloom;

namespace {

std::int64_t attention_parameters(const llama_shape& of) {
  return 2 * of.embed * of.embed + 2 * of.embed * (of.embed / of.heads * of.key_heads);
}

/// Multiplications of parameters per token, `experts` of them in use, and of attention, as in tests/model/gpt.cpp.
double flops_of(const llama_shape& of, std::int64_t experts, std::int64_t gates) {
  const auto tokens = static_cast<double>(of.batch * of.seq);
  const auto used =
      static_cast<double>(of.layers * (attention_parameters(of) + 3 * experts * of.embed * of.mlp + gates * of.embed) +
                          of.embed * of.vocab);
  const auto s = static_cast<double>(of.seq), h = static_cast<double>(of.embed), l = static_cast<double>(of.layers);
  return 6 * tokens * used + 12 * tokens * l * s * h - counts::causal_saving(static_cast<double>(of.batch), s, h, l);
}

std::int64_t shared_parameters(const llama_shape& of) {
  return of.layers * (attention_parameters(of) + 2 * of.embed) + 2 * of.vocab * of.embed + of.embed;
}

}  // namespace

TEST_CASE("a LLaMA has the parameters of its shape") {
  for (const llama_shape& each : named_llamas) {
    CAPTURE(each.name);
    const graph made = trace(llama_training(each, adamw{}));
    CHECK(counts::parameters_of(made) == shared_parameters(each) + each.layers * 3 * each.embed * each.mlp);
    CHECK(contraction_flops(made) == doctest::Approx(flops_of(each, 1, 0)).epsilon(1e-12));
  }
  CHECK(counts::parameters_of(trace(llama_training(find_llama("llama-70b"), adamw{}))) == 68'976'648'192);
}

TEST_CASE("a Mixtral has the parameters of its shape, and uses two experts of a block per token") {
  for (const mixtral_shape& each : named_mixtrals) {
    const llama_shape& llama = each.llama;
    CAPTURE(llama.name);
    const graph made = trace(mixtral_training(each, adamw{}));
    CHECK(counts::parameters_of(made) ==
          shared_parameters(llama) + llama.layers * each.experts * (3 * llama.embed * llama.mlp + llama.embed));
    CHECK(contraction_flops(made) == doctest::Approx(flops_of(llama, 2, each.experts)).epsilon(1e-12));
  }
  CHECK(counts::parameters_of(trace(mixtral_training(find_mixtral("mixtral-8x22b-shaped"), adamw{}))) ==
        140'620'634'112);
}

TEST_CASE("a Mixtral trains, and its experts may be split over a mesh") {
  using namespace trials;
  const auto of = mixtral_training(find_mixtral("mixtral-tiny"), sgd{});
  const training task{of.model, of.loss, of.optimizer, of.sizes, of.input, of.target, of.micro_batched, double{}};
  const vector<double> alone = losses(task, {}, 3, 64);
  CHECK(alone.back() < alone.front());
  const vector<double> split = losses(task, expert_parallel(2), 3, 64);
  REQUIRE(split.size() == alone.size());
  for (std::size_t step = 0; step < alone.size(); ++step)
    CHECK(split[step] == doctest::Approx(alone[step]).epsilon(1e-12));
}

TEST_CASE("names that are no LLaMA's or Mixtral's are refused") {
  CHECK_THROWS_WITH_AS(static_cast<void>(find_llama("gpt-tiny")),
                       "no LLaMA is called 'gpt-tiny'; the named ones are llama-tiny, llama-small, llama-medium, "
                       "llama-70b",
                       error);
  CHECK_THROWS_WITH_AS(static_cast<void>(find_mixtral("gpt-tiny")),
                       "no Mixtral is called 'gpt-tiny'; the named ones are mixtral-tiny, mixtral-8x22b-shaped", error);
}
