// SPDX-License-Identifier: Apache-2.0
// Optimizers in a whole training: what they write into the graph, and that every plan trains alike. The updates are
// written again here, from their formulas and the gradients that a step of plain SGD subtracts.
#include "optimizing.hpp"

#include <functional>
#include <map>

using namespace optimizing;

namespace {

/// The update operators of the trained parameters, by the name of the parameter.
std::map<std::string, attribute_list> attributes_in(const graph& whole) {
  std::map<std::string, attribute_list> found;
  for (const node& at : whole.nodes) {
    if (at.op->in_place) found[whole.values[at.operands[0]].name] = at.attributes;
  }
  return found;
}

}  // namespace

TEST_CASE("a schedule of the rate is the same under every plan, and the one that its formula says") {
  const sgd rule{.rate = warmup_cosine{.peak = 0.2, .warmup = 2, .steps = 5, .floor = 0.02}};
  const auto whole = train(rule, {}, 6);
  const double rates[] = {0.1, 0.2, 0.2, 0.02 + 0.18 * 0.75, 0.02 + 0.18 * 0.25, 0.02};
  for (std::size_t step = 0; step < 6; ++step) {
    numbers expected;
    for (const auto& [name, slope] : gradients(whole[step])) {
      expected[name] = whole[step].at(name);
      for (std::size_t i = 0; i < slope.size(); ++i) expected[name][i] -= rates[step] * slope[i];
    }
    CHECK(difference(expected, whole[step + 1]) < 1e-13);
  }
  for (const manual& how : plans()) CHECK(difference(whole.back(), train(rule, how, 6).back()) < 1e-11);
}

TEST_CASE("a schedule moves AdamW's rate and decay alike") {
  const adamw rule{.rate = step_decay{.peak = 0.01, .every = 2, .factor = 0.5}, .decay = 0.1};
  const auto whole = train(rule, {}, 4);
  numbers first, second, at = whole[0];
  for (int step = 0; step < 4; ++step) {
    const double rate = step < 2 ? 0.01 : 0.005;
    for (const auto& [name, slope] : gradients(at)) {
      first[name].resize(slope.size()), second[name].resize(slope.size());
      for (std::size_t i = 0; i < slope.size(); ++i) {
        double &p = at[name][i], &m = first[name][i], &v = second[name][i];
        m = 0.9 * m + 0.1 * slope[i];
        v = 0.999 * v + 0.001 * slope[i] * slope[i];
        p -= rate * 0.1 * p;
        p -= rate * m / (1 - std::pow(0.9, step + 1)) / (std::sqrt(v / (1 - std::pow(0.999, step + 1))) + 1e-8);
      }
      CHECK(difference({{name, at[name]}}, whole[static_cast<std::size_t>(step) + 1]) < 1e-11);
    }
  }
}

TEST_CASE("a rate whose schedule means nothing is refused") {
  const graph made = trace(training_of(sgd{.rate = warmup_linear{.peak = 1, .warmup = 7, .steps = 7}}));
  REQUIRE(check(made).size() == 1);
  CHECK(check(made)[0].find("schedule of its rate") != std::string::npos);
}

TEST_CASE("groups say rate and decay of every update") {
  const adamw rule{.rate = 0.5, .decay = 0.25, .groups = {{.rank = 1, .decay = 0}, {.names = "linear*", .rate = 3}}};
  const auto found = attributes_in(trace(training_of(rule)));
  int vectors = 0, linears = 0;
  for (const auto& [name, attributes] : found) {
    const bool vector = name.ends_with("bias") || name.ends_with("gain"), linear = name.starts_with("linear");
    vectors += vector, linears += linear;
    const attribute_list expected{linear ? 1.5 : 0.5, 0.9, 0.999, 1e-8, vector ? 0 : 0.25};
    CHECK_MESSAGE(attributes == expected, name);
  }
  CHECK(found.size() == 12);
  CHECK(vectors == 7);
  CHECK(linears == 6);
}

TEST_CASE("a training with groups is two updates") {
  const sgd rule{.rate = 0.1, .momentum = 0.9, .decay = 0.3, .groups = {{.rank = 1, .rate = 2, .decay = 0}}};
  const auto whole = train(rule, {}, 3);
  numbers at = whole[0], velocity;
  for (std::size_t step = 0; step < 3; ++step) {
    for (const auto& [name, slope] : gradients(at)) {
      const bool vector = name.ends_with("bias") || name.ends_with("gain");
      velocity[name].resize(slope.size());
      for (std::size_t i = 0; i < slope.size(); ++i) {
        double &p = at[name][i], &v = velocity[name][i];
        v = 0.9 * v + slope[i] + (vector ? 0 : 0.3 * p);
        p -= (vector ? 0.2 : 0.1) * v;
      }
      CHECK(difference({{name, at[name]}}, whole[step + 1]) < 1e-12);
    }
  }
  for (const manual& how : plans()) CHECK(difference(whole.back(), train(rule, how, 3).back()) < 1e-11);
}

namespace {

/// The norm of all gradients together.
double norm_of(const numbers& gradients) {
  double squares = 0;
  for (const auto& [name, values] : gradients) {
    for (const double each : values) squares += each * each;
  }
  return std::sqrt(squares);
}

/// The norm that each of some steps reports, all on one batch.
template <class Training>
vector<double> norms(const Training& task, const manual& how, int steps) {
  host_run run = started(task, how);
  const batch_of_numbers inputs(run.executed(), classes, 3);
  vector<double> made;
  for (int step = 0; step < steps; ++step) made.push_back(run.step({inputs[0], inputs[1]}).gradient_norm);
  return made;
}

}  // namespace

TEST_CASE("gradients whose norm is too large are scaled down to it, all alike") {
  const double whole_norm = norm_of(gradients(train(sgd{.rate = 0}, {}, 0)[0]));
  for (const double limit : {whole_norm / 3, whole_norm * 3}) {
    const sgd rule{.rate = 0.1, .clip = limit};
    const auto whole = train(rule, {}, 4);
    const auto reported = norms(training_of(rule), {}, 4);
    CHECK(reported[0] == doctest::Approx(whole_norm).epsilon(1e-12));
    for (std::size_t step = 0; step < 4; ++step) {
      const numbers slopes = gradients(whole[step]);
      const double norm = norm_of(slopes), scale = std::min(1.0, limit / norm);
      CHECK(reported[step] == doctest::Approx(norm).epsilon(1e-12));
      numbers expected = whole[step];
      for (const auto& [name, slope] : slopes) {
        for (std::size_t i = 0; i < slope.size(); ++i) expected[name][i] -= 0.1 * scale * slope[i];
        CHECK(difference({{name, expected[name]}}, whole[step + 1]) < 1e-12);
      }
    }
  }
}

TEST_CASE("clipping is the same under every plan, and every program and prediction with it is sound") {
  const adamw rule{.rate = 0.01, .clip = 0.05};
  const auto task = training_of(rule);
  const auto whole = train(rule, {}, 3);
  const auto reported = norms(task, {}, 3);
  CHECK(reported[0] > 0.1);
  for (const manual& how : plans()) {
    CHECK(difference(whole.back(), train(rule, how, 3).back()) < 1e-11);
    const auto seen = norms(task, how, 3);
    for (std::size_t step = 0; step < 3; ++step) CHECK(seen[step] == doctest::Approx(reported[step]).epsilon(1e-11));
    check_soundness(task, how);
  }
}

TEST_CASE("weights that two stages share count once") {
  const auto task = in_double(tied_gpt_training(tiny_gpt, sgd{.rate = 0.1, .clip = 0.01}));
  const auto reported = norms(task, {}, 3);
  for (const manual& how : {pipeline(2), pipeline(4), zero(2, 2) & pipeline(2), data_parallel(2) & pipeline(2)}) {
    const auto seen = norms(task, how, 3);
    for (std::size_t step = 0; step < 3; ++step) CHECK(seen[step] == doctest::Approx(reported[step]).epsilon(1e-11));
  }
}

TEST_CASE("a training that does not clip has no total, reports no norm and takes what it took") {
  const auto task = training_of(sgd{});
  CHECK(trace(task).squares.value == value_id::none);
  CHECK(norms(task, data_parallel(2), 1) == vector<double>{0});
  CHECK_THROWS_WITH_AS(trace(training_of(sgd{.clip = 0})),
                       "trace: .clip, the largest norm of all gradients, is not more than 0; leave it out", error);
}

TEST_CASE("a total that is no total is a fault of the graph or of the program") {
  const graph sound = trace(training_of(sgd{.clip = 1}));
  CHECK(check(sound).empty());
  graph faulty = sound;
  faulty.squares.parts.push_back(faulty.parameters[0].value);
  CHECK(check(faulty) == vector<std::string>{"the graph: a part of its total is no scalar that an update makes"});
  faulty = sound;
  faulty.squares.value = faulty.results[0];
  REQUIRE(!check(faulty).empty());
  CHECK(check(faulty).back() == "the graph: its total is no scalar, or a value of another kind");
  program lowered = program_of(sound, pipeline(2));
  CHECK(check(lowered).empty());
  auto& body = lowered.stages[stage_id{1}].bodies[static_cast<std::size_t>(pass::update)];
  const auto at =
      std::find_if(body.begin(), body.end(), [](const auto& each) { return each.kind == instruction::total; });
  REQUIRE(at != body.end());
  program twice = lowered;
  auto& repeated = twice.stages[stage_id{1}].bodies[static_cast<std::size_t>(pass::update)];
  repeated.insert(repeated.begin() + (at - body.begin()), *at);
  const auto faults = check(twice);
  CHECK(std::find(faults.begin(), faults.end(), "stage 1: has 2 totals where stage 0 has 1") != faults.end());
}
