// SPDX-License-Identifier: Apache-2.0
// Averages of weights over a whole training, and evaluation with them.
#include "optimizing.hpp"

#include <meshloom/train/averages.hpp>

using namespace optimizing;

namespace {

constexpr adamw inner{.rate = 0.02, .decay = 0.1, .clip = 0.5};
constexpr ema rule{.of = inner, .decay = 0.75};

/// The parameters of a run that have averages, by name.
numbers averages_of(const numbers& kept) {
  numbers found;
  for (const auto& [name, values] : kept) {
    if (name.ends_with(".average")) found[name.substr(0, name.size() - 8)] = values;
  }
  return found;
}

}  // namespace

TEST_CASE("averages forget exponentially what was before the last step, and do not change the training") {
  const auto whole = train(rule, {}, 5), alone = train(inner, {}, 5);
  numbers expected;
  for (std::size_t step = 0; step <= 5; ++step) {
    CHECK(difference(alone[step], whole[step]) == 0);
    for (const auto& [name, average] : averages_of(whole[step])) {
      const meshloom::vector<double>& now = whole[step].at(name);
      if (step <= 1) expected[name] = now;  // at the start, and after the first step, what they average
      for (std::size_t i = 0; step > 1 && i < now.size(); ++i)
        expected[name][i] = 0.75 * expected[name][i] + 0.25 * now[i];
    }
    CHECK(averages_of(whole[step]).size() == 24);
    CHECK(difference(expected, averages_of(whole[step])) < 1e-14);
  }
}

TEST_CASE("an optimizer with averages trains alike under every plan") {
  check_parity(rule);
  check_parity(ema{.of = lamb{.rate = 0.05}, .decay = 0.5});
}

TEST_CASE("an evaluation with averages is that of a model that has them as weights, under any plan") {
  const auto task = training_of(rule);
  const graph evaluated = trace_evaluation(task);
  for (const manual& how : {manual{}, zero(1, 2), zero(3, 2) & pipeline(2)}) {
    host_run run = started(task, how);
    const batch_of_numbers inputs(run.executed(), classes, 3);
    for (int step = 0; step < 4; ++step) run.step({inputs[0], inputs[1]});
    for (const manual& other : {manual{}, data_parallel(2), pipeline(2)}) {
      host_run with_averages = started(task, evaluated, other), with_weights = started(task, evaluated, other);
      take_averages(run, with_averages);
      for (const std::string& name : with_weights.names()) {
        CHECK(with_averages.read(name) == run.read(name + ".average"));
        with_weights.write(name, run.read(name));
      }
      const double averaged = with_averages.step({inputs[0], inputs[1]}).loss;
      CHECK(averaged != with_weights.step({inputs[0], inputs[1]}).loss);
      for (const std::string& name : with_weights.names()) with_weights.write(name, run.read(name + ".average"));
      CHECK(averaged == with_weights.step({inputs[0], inputs[1]}).loss);
    }
  }
}

TEST_CASE("averages are not written over the weights that are trained") {
  const auto task = training_of(rule);
  host_run run = started(task);
  host_run beside = start(host{}, program_of(trace_evaluation(task), {}), task, run);
  CHECK_THROWS_WITH_AS(take_averages(run, beside),
                       "take_averages: both runs keep linear.weight in one place; start the run that takes averages "
                       "with parameters of its own",
                       error);
}

TEST_CASE("what is not averaged is taken as it is") {
  const auto task = training_of(sgd{.rate = 0.1});
  host_run run = started(task), other = start(host{}, program_of(trace_evaluation(task), {}), task, 8);
  CHECK(other.read("linear.weight") != run.read("linear.weight"));
  take_averages(run, other);
  CHECK(other.read("linear.weight") == run.read("linear.weight"));
}

TEST_CASE("a decay that means nothing is refused") {
  for (const double decay : {-0.1, 1.0, std::nan("")}) {
    CHECK_THROWS_WITH_AS(trace(training_of(ema{.of = sgd{}, .decay = decay})),
                         "trace: the decay of ema is not between 0 and 1; 0.999 averages some thousand steps", error);
  }
}

TEST_CASE("an average of what is not updated, or not yet, is a fault of the graph or of the program") {
  const graph sound = trace(training_of(rule));
  CHECK(check(sound).empty());
  graph faulty = sound;
  for (node& each : faulty.nodes) {
    if (each.name == "linear.weight.ema") each.operands[1] = faulty.parameters[0].value;
  }
  CHECK(check(faulty) == meshloom::vector<std::string>{
                             "node linear.weight.ema: reads linear.weight as updated, which no operator replaces"});
  program lowered = program_of(sound, {});
  CHECK(check(lowered).empty());
  auto& body = lowered.stages[stage_id{0}].bodies[static_cast<std::size_t>(pass::update)];
  const auto at =
      std::find_if(body.begin(), body.end(), [](const auto& each) { return each.name == "linear.weight.ema"; });
  REQUIRE(at != body.end());
  std::rotate(body.begin(), at, at + 1);
  const auto faults = check(lowered);
  const auto says = [](const std::string& each) { return each.find("before it is updated") != std::string::npos; };
  CHECK(std::count_if(faults.begin(), faults.end(), says) == 1);
}
