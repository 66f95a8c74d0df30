// SPDX-License-Identifier: Apache-2.0
// planner/solve.hpp in half precision: a model in bf16 has sound plans on every cluster; what is asked of a plan in
// words needs less memory and smaller messages than in f32, and less time where products are faster.
#include <meshloom/exec/simulate.hpp>
#include <meshloom/program/check.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/report/evaluate.hpp>

#include "../plan/measures.hpp"
#include "../plan/models.hpp"

#include <doctest/doctest.h>

namespace {

namespace ml = meshloom;
using namespace ml::axis;

/// Wide enough for activations, and for products, to matter.
template <class Precision>
ml::graph gpt() {
  return ml::trace(
      ml::training{.model = ml::embedding<vocab, embed>{} | ml::positions<seq, embed>{} | models::attention() |
                            models::perceptron() | ml::layer_norm<embed>{} | ml::linear<embed, vocab>{},
                   .loss = ml::cross_entropy<vocab>{},
                   .optimizer = ml::adamw{},
                   .sizes = ml::sizes{ml::size<batch>{8}, ml::size<seq>{1024}, ml::size<embed>{512}, ml::size<heads>{8},
                                      ml::size<head>{64}, ml::size<mlp>{2048}, ml::size<vocab>{1000}},
                   .precision = Precision{}});
}

/// The plan, once it and its program are seen to be sound.
ml::plan sound(const ml::graph& graph, const ml::cluster& machine, const ml::manual& asked) {
  const ml::problem posed = ml::formulate(graph, machine, asked);
  const auto made = ml::solve(posed);
  REQUIRE_MESSAGE(made, made.error());
  const auto violations = ml::evaluate(posed, made.value()).violations;
  CHECK_MESSAGE(violations.empty(), violations.front());
  const auto faults = ml::check(graph, made.value());
  CHECK_MESSAGE(faults.empty(), faults.front());
  const auto wrong = ml::check(ml::lower(graph, made.value(), machine));
  CHECK_MESSAGE(wrong.empty(), wrong.front());
  return made.value();
}

/// Of all messages between stages.
ml::bytes sent(const ml::graph& graph, const ml::plan& made, const ml::cluster& machine) {
  const ml::program whole = ml::lower(graph, made, machine);
  ml::bytes sum;
  for (const ml::transfer& each : whole.transfers) sum += ml::bytes_of_message(whole, each);
  return sum;
}

}  // namespace

TEST_CASE("a GPT in bf16 is planned on every cluster") {
  const ml::graph half = gpt<ml::bf16>();
  for (const ml::cluster& machine : {ml::local(4), ml::p3_16xlarge(1)}) {
    CAPTURE(machine.name);
    sound(half, machine, ml::automatic());
  }
}

TEST_CASE("in bf16 the same plan holds less, sends half as much, and is faster where products are") {
  const ml::graph exact = gpt<float>(), half = gpt<ml::bf16>();
  for (const ml::cluster& machine : {ml::local(4), ml::p3_16xlarge(1)}) {
    const std::string piped = "data=" + std::to_string(machine.ranks() / 2) + ",pipeline=2";
    for (const std::string& text : {std::string("data"), std::string("tensor"), std::string("zero3"), piped}) {
      CAPTURE(machine.name);
      CAPTURE(text);
      const ml::manual asked = ml::parse_manual(text, machine.ranks()).value();
      const ml::plan wide = sound(exact, machine, asked), narrow = sound(half, machine, asked);
      CHECK(measures::peak_of(half, narrow, machine) < measures::peak_of(exact, wide, machine));
      CHECK(sent(half, narrow, machine) * 2 == sent(exact, wide, machine));
      CHECK((sent(half, narrow, machine) > ml::bytes{}) == (text == piped));
      ml::cluster faster = machine;
      faster.device.half_flops_per_second = 8 * machine.device.flops_per_second;
      CHECK(sound(half, faster, asked).predicted < wide.predicted);
      CHECK(sound(exact, faster, asked).predicted == wide.predicted);
    }
  }
}
