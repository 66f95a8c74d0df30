// SPDX-License-Identifier: Apache-2.0
// Laws of model/gpt.hpp: every named model has the parameters that its shape says, Alpa's those of Alpa's formula but
// for what differs in the layers, and computes what Alpa's formula says but for what a causal mask spares.
#include <meshloom/model/gpt.hpp>

#include "counts.hpp"

#include <doctest/doctest.h>

using namespace meshloom;

namespace {

/// Alpa's formula: no positions, no head of its own, a bias of width 1 · H for queries, keys and values, and a bias of
/// the head that is counted.
std::int64_t alpa_parameters(std::int64_t h, std::int64_t layers, std::int64_t vocab) {
  return layers * (h * (3 * h + 1) + h * (h + 1) + h * (4 * h + 1) + 4 * h * (h + 1) + 4 * h) + vocab * (h + 1);
}

/// What our layers have beyond it: biases of queries, keys and values, positions, the last norm, and a head without
/// bias.
std::int64_t beyond(const gpt_shape& of) {
  return of.layers * 2 * of.embed + of.seq * of.embed + 2 * of.embed + of.vocab * of.embed - of.vocab;
}

double alpa_flops(const gpt_shape& of) {
  const auto b = static_cast<double>(of.batch), s = static_cast<double>(of.seq), h = static_cast<double>(of.embed),
             v = static_cast<double>(of.vocab);
  return 72 * b * s * h * h * of.layers * (1 + s / (6 * h)) + 6 * b * s * h * v;
}

}  // namespace

TEST_CASE("Alpa's parameter counts are those of its formula") {
  const std::pair<std::string_view, std::int64_t> published[] = {
      {"gpt-125m", 124'408'832},   {"gpt-350m", 354'740'224},   {"gpt-760m", 758'577'152},
      {"gpt-1.3b", 1'313'409'024}, {"gpt-2.6b", 2'648'606'720}, {"gpt-6.7b", 6'653'659'136},
      {"gpt-15b", 15'364'392'960}, {"gpt-39b", 39'078'512'640}, {"gpt-76b", 76'028'569'600}};
  for (const auto& [name, count] : published) {
    const gpt_shape shape = find_gpt(name);
    CHECK(alpa_parameters(shape.embed, shape.layers, shape.vocab) == count);
  }
}

TEST_CASE("a GPT has the parameters of the formula and computes what the formula says") {
  for (const gpt_shape& each : named_gpts) {
    if (each.tied) continue;
    CAPTURE(each.name);
    const graph made = trace(gpt_training(each, adamw{}));
    CHECK(counts::parameters_of(made) == alpa_parameters(each.embed, each.layers, each.vocab) + beyond(each));
    const double spared = counts::causal_saving(static_cast<double>(each.batch), static_cast<double>(each.seq),
                                                static_cast<double>(each.embed), each.layers);
    CHECK(contraction_flops(made) == doctest::Approx(alpa_flops(each) - spared).epsilon(1e-12));
  }
}

TEST_CASE("the largest GPTs have the parameters that their names say") {
  const auto count = [](std::string_view name) {
    return static_cast<double>(counts::parameters_of(trace(gpt_training(find_gpt(name), adamw{}))));
  };
  CHECK(count("gpt-175b") == doctest::Approx(175e9).epsilon(0.01));
  CHECK(count("gpt-1t") == doctest::Approx(1e12).epsilon(0.01));
}

TEST_CASE("a GPT may have any depth") {
  gpt_shape deep = find_gpt("gpt-1.3b");
  deep.layers = 1024;
  const graph made = trace(gpt_training(deep, adamw{}));
  CHECK(counts::parameters_of(made) == alpa_parameters(2048, 1024, 51200) + beyond(deep));
  CHECK(made.nodes.size() == trace(gpt_training(find_gpt("gpt-1.3b"), adamw{})).nodes.size());
}
