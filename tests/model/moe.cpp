// SPDX-License-Identifier: Apache-2.0
// Laws of model/moe.hpp: the layer is what its formula says, token by token; sizes that do not go together are refused
// in words that say which would; the named models are pairs of blocks, Alpa's with the parameters and the products that
// its formulas say.
#include <meshloom/model/moe.hpp>

#include "counts.hpp"
#include "trial.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace trials;
using namespace meshloom::axis;

namespace {

constexpr std::int64_t rows = 3, tokens = 6, width = 4, wide = 5, count = 3;
using layer = moe<seq, embed, expert, slots, expert_mlp>;
using gated_layer = moe<seq, embed, expert, slots, expert_mlp, expert_kind::gated>;

template <class Layer = layer>
auto task_of(const Layer& what, std::int64_t slot_count) {
  return training{.model = what,
                  .loss = cross_entropy<embed>{},
                  .optimizer = sgd{},
                  .sizes = sizes{size<batch>{rows}, size<seq>{tokens}, size<embed>{width}, size<expert>{count},
                                 size<slots>{slot_count}, size<expert_mlp>{wide}},
                  .input = tensor<batch, seq, embed>{},
                  .precision = double{}};
}

std::string error_of(const layer& what, std::int64_t slot_count) {
  try {
    static_cast<void>(trace(task_of(what, slot_count)));
  } catch (const error& why) {
    return why.what();
  }
  return "";
}

vector<double> drawn(std::size_t size, unsigned seed) {
  std::mt19937 dice(seed);
  std::normal_distribution<double> number(0, 1);
  vector<double> values(size);
  for (double& each : values) each = number(dice);
  return values;
}

struct weights {
  vector<double> gate = drawn(width * count, 1), in = drawn(count * width * wide, 2),
                 out = drawn(count * wide * width, 3), up = drawn(count * width * wide, 4);
  bool gated = false;
};

double gelu_value(double v) { return 0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))); }

/// What expert `e` makes of a token.
vector<double> mlp_of(const weights& with, std::size_t e, const double* x) {
  vector<double> made(width);
  for (std::size_t h = 0; h < wide; ++h) {
    double sum = 0, up = 0;
    for (std::size_t i = 0; i < width; ++i) sum += x[i] * with.in[(e * width + i) * wide + h];
    for (std::size_t i = 0; i < width; ++i) up += x[i] * with.up[(e * width + i) * wide + h];
    const double bent = with.gated ? sum / (1 + std::exp(-sum)) * up : gelu_value(sum);
    for (std::size_t o = 0; o < width; ++o) made[o] += bent * with.out[(e * wide + h) * width + o];
  }
  return made;
}

vector<double> shares_of(const weights& with, const double* x) {
  vector<double> shares(count);
  double sum = 0;
  for (std::size_t e = 0; e < count; ++e) {
    for (std::size_t i = 0; i < width; ++i) shares[e] += x[i] * with.gate[i * count + e];
    sum += shares[e] = std::exp(shares[e]);
  }
  for (double& each : shares) each /= sum;
  return shares;
}

/// The layer where nothing is dropped: every token goes through its `choices` best experts.
vector<double> by_formula(const weights& with, const vector<double>& x, std::size_t choices) {
  vector<double> made(x.size());
  for (std::size_t t = 0; t < x.size() / width; ++t) {
    const vector<double> shares = shares_of(with, x.data() + t * width);
    vector<std::size_t> order(count);
    for (std::size_t e = 0; e < count; ++e) order[e] = e;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return shares[a] > shares[b]; });
    double sum = choices == 1 ? 1 : 0;
    for (std::size_t k = 0; choices == 2 && k < choices; ++k) sum += shares[order[k]];
    for (std::size_t k = 0; k < choices; ++k) {
      const vector<double> part = mlp_of(with, order[k], x.data() + t * width);
      for (std::size_t i = 0; i < width; ++i) made[t * width + i] += shares[order[k]] / sum * part[i];
    }
  }
  return made;
}

template <class Layer = layer>
vector<double> by_layer(const weights& with, const vector<double>& x, const Layer& what, std::int64_t slot_count) {
  return output(task_of(what, slot_count), {x.data(), std::ssize(x), dtype::f64}, [&](host_run& run) {
    run.write("moe.gate", with.gate);
    run.write("moe.in", with.in);
    if (with.gated) run.write("moe.up", with.up);
    run.write("moe.out", with.out);
  });
}

double distance(const vector<double>& left, const vector<double>& right) {
  double apart = left.size() == right.size() ? 0 : 1;
  for (std::size_t i = 0; i < left.size() && apart < 1; ++i) apart = std::max(apart, std::abs(left[i] - right[i]));
  return apart;
}

/// Alpa's formula: see tests/model/gpt.cpp; here half of the blocks have experts, and the gates are left out.
std::int64_t alpa_parameters(const moe_shape& of) {
  const std::int64_t h = of.gpt.embed, attention = h * (3 * h + 1) + h * (h + 1),
                     mlp = h * (8 * h + 1) + 8 * h * (h + 1);
  return of.gpt.layers / 2 * (2 * attention + mlp + of.experts * mlp + 8 * h) + of.gpt.vocab * (h + 1);
}

/// What our layers have beyond it: what a GPT's have, and gates; experts have no biases here.
std::int64_t beyond(const moe_shape& of) {
  const gpt_shape& gpt = of.gpt;
  return gpt.layers * 2 * gpt.embed + gpt.seq * gpt.embed + 2 * gpt.embed + gpt.vocab * gpt.embed - gpt.vocab +
         gpt.layers / 2 * (gpt.embed * of.experts - of.experts * 9 * gpt.embed);
}

/// Alpa's formula without remat, less what causal attention spares, and without its terms of groups: there tokens are
/// sent and fetched by products with matrices of zeros and ones, here they are moved. Experts work on whole slots.
double alpa_flops(const moe_shape& of) {
  const auto b = static_cast<double>(of.gpt.batch), s = static_cast<double>(of.gpt.seq),
             h = static_cast<double>(of.gpt.embed), v = static_cast<double>(of.gpt.vocab),
             e = static_cast<double>(of.experts), l = static_cast<double>(of.gpt.layers);
  const double attention = 8 * b * s * h * h + 4 * b * s * s * h, dense = attention + 32 * b * s * h * h,
               slot_count = std::floor(2 * s / e) * e,  // 2 · s, or a little less
      mixture = attention + 4 * b * slot_count * h * h * 8 + 2 * b * s * h * e;
  return l / 2 * 3 * (dense + mixture) + 6 * b * s * h * v - counts::causal_saving(b, s, h, l);
}

}  // namespace

TEST_CASE("a dropless layer puts every token through its choice of experts, in groups or not") {
  const weights with;
  const vector<double> x = drawn(rows * tokens * width, 7);
  for (const std::int64_t group : {0, 1, 2, 6}) {
    CAPTURE(group);
    CHECK(distance(by_layer(with, x, {.choices = 2, .group = group, .dropless = true}, tokens),
                   by_formula(with, x, 2)) < 1e-12);
    CHECK(distance(by_layer(with, x, {.choices = 1, .group = group, .dropless = true}, tokens),
                   by_formula(with, x, 1)) < 1e-12);
  }
}

TEST_CASE("gated experts are LLaMA's hidden layers") {
  const weights with{.gated = true};
  const vector<double> x = drawn(rows * tokens * width, 7);
  const vector<double> made = by_layer(with, x, gated_layer{.choices = 2, .dropless = true}, tokens);
  CHECK(distance(made, by_formula(with, x, 2)) < 1e-12);
  CHECK(distance(made, by_formula(weights{}, x, 2)) > 1e-3);
}

TEST_CASE(
    "a capacity for every token drops none; a small one drops whole tokens and changes no other with one choice") {
  const weights with;
  const vector<double> x = drawn(rows * tokens * width, 7);
  CHECK(distance(by_layer(with, x, {.capacity_factor = 3}, tokens), by_formula(with, x, 2)) < 1e-12);

  const vector<double> all = by_formula(with, x, 1), some = by_layer(with, x, {.choices = 1}, 2);
  int dropped = 0;
  for (std::size_t t = 0; t < rows * tokens; ++t) {
    double size = 0, apart = 0;
    for (std::size_t i = t * width; i < (t + 1) * width; ++i) {
      size += std::abs(some[i]);
      apart += std::abs(some[i] - all[i]);
    }
    CHECK((size == 0 || apart < 1e-12));
    dropped += size == 0;
  }
  CHECK(dropped > 0);
  CHECK(dropped < rows * tokens);
}

TEST_CASE("capacities are rounded down, but a group has a slot, and no token has two") {
  CHECK(expert_capacity(16, 4, 2, 1) == 8);
  CHECK(expert_capacity(10, 4, 1, 1) == 2);
  CHECK(expert_capacity(10, 4, 1, 1.25) == 3);
  CHECK(expert_capacity(3, 8, 1, 1) == 1);
  CHECK(expert_capacity(16, 1, 2, 1) == 16);
  CHECK(expert_slots(16, 0, 4) == 8);
  CHECK(expert_slots(16, 4, 4, 1, 2) == 8);
}

TEST_CASE("options and sizes that do not go together are refused") {
  CHECK(error_of({}, 4) == "");
  CHECK(error_of({.group = 3}, 4) == "");
  CHECK(error_of({}, 5) ==
        "moe: the axis slots has size 5, but 4 slots for each 6 of the 6 elements of seq make 4; bind size<slots>{4}, "
        "see "
        "expert_slots");
  CHECK(error_of({.group = 3, .dropless = true}, 4) ==
        "moe: the axis slots has size 4, but 3 slots for each 3 of the 6 elements of seq make 6; bind size<slots>{6}, "
        "see "
        "expert_slots");
  CHECK(error_of({.choices = 3}, 4) == "moe: a token has 1 choice or 2, not 3; set .choices to one of these");
  CHECK(error_of({.group = 4}, 4) ==
        "moe: the 6 elements of seq cannot be cut into groups of 4; set .group to a divisor, or to 0 for one group");
}

TEST_CASE("experts may be split over a mesh, and the loss is the same") {
  const auto task = task_of({}, 4);
  const vector<double> alone = losses(task, {}, 3, width);
  for (const manual& how :
       {expert_parallel(2), expert_parallel(3), data_parallel(3),
        split_all<expert, meshloom::mesh::expert>(2) & data_parallel(2), split_all<slots, meshloom::mesh::expert>(3),
        split_all<expert_mlp, meshloom::mesh::tensor>(2)}) {
    CHECK(distance(losses(task, how, 3, width), alone) < 1e-12);
  }
}

TEST_CASE("Alpa's mixtures have the parameters of its formula and compute what its formula says") {
  const std::pair<std::string_view, std::int64_t> published[] = {
      {"moe-380m", 383'506'688},   {"moe-690m", 685'717'760},   {"moe-1.3b", 1'346'827'520},
      {"moe-2.4b", 2'382'961'920}, {"moe-10b", 10'169'642'240}, {"moe-27b", 26'648'100'096},
      {"moe-70b", 70'415'219'968}};
  for (const auto& [name, count_of_alpa] : published) CHECK(alpa_parameters(find_moe(name)) == count_of_alpa);
  for (const moe_shape& each : alpa_moes) {
    CAPTURE(each.gpt.name);
    const graph made = trace(moe_training(each, adafactor{}));
    CHECK(counts::parameters_of(made) == alpa_parameters(each) + beyond(each));
    CHECK(contraction_flops(made) == doctest::Approx(alpa_flops(each)).epsilon(1e-12));
  }
}

TEST_CASE("named mixtures are pairs of blocks") {
  for (const char* name : {"moe-tiny", "moe-small", "moe-medium"}) {
    const moe_shape shape = find_moe(name);
    const graph made = trace(moe_training(shape, sgd{}));
    CHECK(check(made) == vector<std::string>{});
    CHECK(made.regions[region_id{2}].count == shape.gpt.layers / 2);
  }
  CHECK_THROWS_WITH_AS(
      static_cast<void>(find_moe("gpt-tiny")),
      "no mixture of experts is called 'gpt-tiny'; the named ones are moe-tiny, moe-small, moe-medium, "
      "moe-380m, moe-690m, moe-1.3b, moe-2.4b, moe-7.1b, moe-10b, moe-27b, moe-70b, moe-140b",
      error);
  CHECK_THROWS_WITH_AS(static_cast<void>(moe_gpt(3)),
                       "moe_gpt: 3 layers are not pairs of layers; choose an even number", error);
}
