// SPDX-License-Identifier: Apache-2.0
// Models of one large layer, grouped: under pipelines that are cut between the groups they train like one rank, on
// which they are not grouped, and evaluate and answer like it in the plan that is adapted to graphs grouped alike.
#include "comparison.hpp"

#include <meshloom/graph/grouping.hpp>
#include <meshloom/model/moe.hpp>
#include <meshloom/model/wide_resnet.hpp>

namespace {

namespace ml = meshloom;

constexpr unsigned steps = 4;

/// Plans on 2 and 4 ranks that cut a model into as many stages as `pipeline` or `gpipe` says.
const ml::vector<runs::request> cut{{"pipeline=2", 2, 1},
                                    {"pipeline=2", 2, 2, true},
                                    {"gpipe=2", 2, 4},
                                    {"pipeline=4", 4, 4},
                                    {"data=2,pipeline=2", 4, 2},
                                    {"zero3=2,pipeline=2", 4, 1},
                                    {"tensor=2,pipeline=2", 4, 2, true}};

struct answer {
  ml::vector<double> losses = {};
  double judged = 0;
  ml::vector<double> output = {};
};

/// Trains; then what the trained model says of its first sample, in graphs grouped like that of the training.
template <class Task, class Sample>
answer answer_of(const Task& task, const ml::graph& whole, bool grouped, const ml::plan& plan,
                 const ml::cluster& machine, const ml::vector<Sample>& samples, bool sharpens) {
  auto run = ml::start(ml::host{}, ml::lower(whole, plan, machine), task, 7);
  answer made{runs::train(run, samples, sharpens).losses};
  for (const std::string& name : run.names()) CHECK(runs::copies_of(run, name).different == 0);
  const auto started = [&](const ml::graph& traced) {
    const ml::graph other = grouped ? ml::group_alike(traced, whole) : traced;
    const auto faults = ml::check(other);
    CHECK_MESSAGE(faults.empty(), faults.front());
    ml::program adapted = ml::lower(other, ml::adapt(whole, plan, other), machine);
    const auto wrong = ml::check(adapted);
    CHECK_MESSAGE(wrong.empty(), wrong.front());
    return ml::start(ml::host{}, std::move(adapted), task, run);
  };
  const ml::graph inference = ml::trace_inference(task);
  std::int64_t elements = 1;
  const ml::value& result = inference.values[inference.results.front()];
  for (const std::int64_t extent : ml::extents_of(inference.sizes, result.axes)) elements *= extent;
  ml::vector<float> output(static_cast<std::size_t>(elements));
  auto model = started(inference);
  model.step({samples.front().input}, {output.data()});
  auto judge = started(ml::trace_evaluation(task));
  made.judged = judge.step({samples.front().input, samples.front().target}).loss;
  made.output.assign(output.begin(), output.end());
  return made;
}

/// Trains `task` under every plan of `requests`, grouped into layers, beside one rank.
template <class Task, class Sample>
void check_training(const std::string& name, const Task& task, std::int32_t layers, const ml::vector<Sample>& samples,
                    const ml::vector<runs::request>& requests = cut, bool sharpens = true) {
  const ml::graph alone = ml::trace(task), whole = ml::group_operators(alone, {.layers = layers});
  REQUIRE(alone.regions.size() <= 2);
  std::map<int, answer> expected;
  double largest = 0;
  for (const runs::request& asked : requests) {
    CAPTURE(name);
    CAPTURE(name_of(asked));
    const ml::problem posed = runs::problem_of(whole, asked);
    const auto plan = ml::solve(posed);
    REQUIRE_MESSAGE(plan, plan.error());
    const auto violations = ml::evaluate(posed, plan.value()).violations;
    CHECK_MESSAGE(violations.empty(), violations.front());
    CHECK(plan.value().stages.size() >= 2);
    const int parts = asked.micro_batches;
    if (expected.count(parts) == 0)
      expected[parts] =
          answer_of(task, alone, false, runs::plan_of(alone, {"data=1", 1, parts}), ml::local(1), samples, sharpens);
    const answer left = answer_of(task, whole, true, plan.value(), posed.cluster, samples, sharpens);
    const double apart = runs::deviation(left.losses, expected[parts].losses);
    CHECK(apart <= 2e-5);
    CHECK(runs::deviation({left.judged}, {expected[parts].judged}) <= 2e-5);
    CHECK(runs::distance(left.output, expected[parts].output) <= 2e-4);
    CHECK(left.losses.back() < left.losses.front());
    largest = std::max(largest, apart);
  }
  MESSAGE(name << ": " << requests.size() << " runs, largest relative difference of a loss " << largest);
}

constexpr ml::gpt_shape small{.vocab = 50, .seq = 8, .batch = 12, .embed = 16, .layers = 3, .heads = 4};

/// Images and their classes, of which some pixels tell.
ml::vector<runs::sample_of<float>> draw_images(const ml::wide_resnet_shape<2>& of) {
  std::mt19937 dice(5);
  std::normal_distribution<float> noise;
  runs::sample_of<float> made;
  for (std::int64_t sample = 0; sample < of.batch; ++sample) {
    made.target.push_back(static_cast<std::int32_t>(sample % of.classes));
    for (std::int64_t at = 0; at < of.high * of.wide * of.colours; ++at)
      made.input.push_back(noise(dice) + (at % of.classes == sample % of.classes ? 2.0f : 0.0f));
  }
  return ml::vector<runs::sample_of<float>>(steps, made);
}

}  // namespace

TEST_CASE("a GPT in one layer, grouped, trains like one rank") {
  check_training("gpt",
                 ml::training{.model = ml::named("model", ml::gpt(small.layers)),
                              .loss = ml::cross_entropy<ml::axis::vocab>{},
                              .optimizer = ml::adamw{.rate = 1e-3},
                              .sizes = ml::gpt_sizes(small)},
                 9, runs::draw_all(small, steps));
}

TEST_CASE("a GPT in one layer whose head is its embedding, with gradients clipped, trains like one rank") {
  check_training("tied gpt",
                 ml::training{.model = ml::named("model", ml::tied_gpt(small.layers)),
                              .loss = ml::cross_entropy<ml::axis::vocab>{},
                              .optimizer = ml::adamw{.rate = 1e-3, .clip = 1},
                              .sizes = ml::gpt_sizes(small)},
                 9, runs::draw_all(small, steps));
}

TEST_CASE("a mixture of experts in one layer, grouped, trains like one rank") {
  const ml::moe_shape shape{{.vocab = 50, .seq = 8, .batch = 8, .embed = 16, .layers = 4, .heads = 4}, 4, 24};
  check_training("moe",
                 ml::training{.model = ml::named("model", ml::moe_gpt(shape.gpt.layers)),
                              .loss = ml::cross_entropy<ml::axis::vocab>{},
                              .optimizer = ml::sgd{.rate = 0.05},
                              .sizes = ml::moe_sizes(shape)},
                 8, runs::draw_all(shape.gpt, steps));
}

TEST_CASE("a Wide-ResNet in one layer, grouped, trains like one rank and keeps its running statistics") {
  const ml::wide_resnet_shape<2> shape{.high = 8, .wide = 8, .classes = 5, .batch = 8, .base = 4, .depth = {2, 2}};
  auto task = ml::wide_resnet_training(shape, ml::sgd{.rate = 0.02});
  const ml::training whole{.model = ml::named("model", task.model),
                           .loss = task.loss,
                           .optimizer = task.optimizer,
                           .sizes = task.sizes,
                           .input = task.input,
                           .target = task.target};
  check_training("wide-resnet", whole, 8, draw_images(shape),
                 {{"pipeline=2", 2, 1}, {"pipeline=2", 2, 2, true}, {"pipeline=4", 4, 2}, {"data=2,gpipe=2", 4, 1}},
                 false);
}
