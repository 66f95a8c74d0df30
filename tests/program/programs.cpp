// SPDX-License-Identifier: Apache-2.0
#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/model/training.hpp>
#include <meshloom/planner/solve.hpp>

#include <algorithm>

namespace programs {

namespace {

template <class Precision = float>
auto training_of_gpt() {
  using namespace ml::axis;
  constexpr std::int64_t divisible = 720720;  // by every number up to 16
  const auto attend = ml::residual(ml::layer_norm<embed>{}, ml::causal_attention<seq, embed, heads, head>{});
  const auto think =
      ml::residual(ml::layer_norm<embed>{}, ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{});
  const auto model = ml::embedding<vocab, embed>{.table = "tokens"} | ml::positions<seq, embed>{} |
                     ml::repeat(6, attend | think) | ml::layer_norm<embed>{} |
                     ml::unembedding<embed, vocab>{.table = "tokens"};
  return ml::training{.model = model,
                      .loss = ml::cross_entropy<vocab>{},
                      .optimizer = ml::adamw{},
                      .sizes = ml::sizes{ml::size<batch>{divisible}, ml::size<seq>{16}, ml::size<embed>{32},
                                         ml::size<heads>{4}, ml::size<head>{8}, ml::size<mlp>{64}, ml::size<vocab>{50}},
                      .precision = Precision{}};
}

}  // namespace

const ml::graph& gpt() {
  static const ml::graph traced = ml::trace(training_of_gpt());
  return traced;
}

const ml::graph& gpt_in_bf16() {
  static const ml::graph traced = ml::trace(training_of_gpt<ml::bf16>());
  return traced;
}

const ml::graph& gpt_inference() {
  static const ml::graph traced = ml::trace_inference(training_of_gpt());
  return traced;
}

ml::program program_of(const std::string& plan, std::int32_t ranks, std::int32_t micro_batches, const ml::graph& of) {
  CAPTURE(plan);
  CAPTURE(micro_batches);
  ml::manual asked = ml::parse_manual(plan, ranks).value();
  asked.micro_batches = micro_batches;
  const ml::cluster machine = ml::local(ranks);
  return ml::lower(of, ml::solve(ml::formulate(of, machine, asked)).value(), machine);
}

void rejects(ml::program whole, const std::function<void(ml::program&)>& plant, std::string_view sentence) {
  CAPTURE(sentence);
  REQUIRE(ml::check(whole).empty());
  plant(whole);
  const auto faults = ml::check(whole);
  const auto found = std::find_if(faults.begin(), faults.end(),
                                  [&](const std::string& fault) { return fault.find(sentence) != std::string::npos; });
  CHECK_MESSAGE(found != faults.end(), (faults.empty() ? "no fault was found" : faults.front()));
}

ml::vector<ml::action>& actions_of(ml::program& whole, int stage) {
  auto& schedule = stage_of(whole, stage).schedule;
  if (schedule.size() != 1 || schedule.front().count != 1) schedule = {{1, ml::expand(schedule)}};
  return schedule.front().body;
}

ml::instruction& find(ml::vector<ml::instruction>& body, const std::function<bool(const ml::instruction&)>& wanted) {
  const auto found = std::find_if(body.begin(), body.end(), wanted);
  REQUIRE(found != body.end());
  return *found;
}

ml::transfer& message(ml::program& whole, const ml::message& route) {
  const auto found = std::find_if(whole.transfers.begin(), whole.transfers.end(),
                                  [&](const ml::transfer& each) { return each.route == route; });
  REQUIRE(found != whole.transfers.end());
  return *found;
}

}  // namespace programs
