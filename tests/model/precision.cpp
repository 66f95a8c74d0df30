// SPDX-License-Identifier: Apache-2.0
// Laws of mixed precision in graphs: products are in the compute type, what must not be rounded is in the precision,
// and every value has the one type that its maker and readers allow.
#include <meshloom/model/gpt.hpp>
#include <meshloom/model/llama.hpp>
#include <meshloom/model/moe.hpp>
#include <meshloom/model/wide_resnet.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

namespace {

namespace ml = meshloom;
using namespace ml::axis;

constexpr ml::gpt_shape shape{.name = "mixed", .vocab = 20, .seq = 6, .batch = 4, .embed = 8, .layers = 4, .heads = 2};

template <class Precision>
auto gpt_training(Precision precision) {
  return ml::training{.model = ml::gpt(shape.layers),
                      .loss = ml::cross_entropy<vocab>{},
                      .optimizer = ml::adamw{},
                      .sizes = ml::gpt_sizes(shape),
                      .precision = precision};
}

/// A training in another precision.
template <class Training, class Precision>
auto in(Precision precision, const Training& task) {
  return ml::training{.model = task.model,
                      .loss = task.loss,
                      .optimizer = task.optimizer,
                      .sizes = task.sizes,
                      .input = task.input,
                      .target = task.target,
                      .precision = precision};
}

ml::graph mixture() {
  const ml::moe_shape of{shape, 3, 12};
  return ml::trace(ml::training{.model = ml::moe_gpt(of.gpt.layers),
                                .loss = ml::cross_entropy<vocab>{},
                                .optimizer = ml::sgd{},
                                .sizes = ml::moe_sizes(of),
                                .precision = ml::bf16{}});
}

ml::graph llama() {
  const ml::llama_shape of{.vocab = 20,
                           .seq = 6,
                           .batch = 4,
                           .embed = 8,
                           .layers = 2,
                           .heads = 4,
                           .key_heads = 2,
                           .mlp = 12,
                           .dropout = 0.1};
  return ml::trace(ml::training{.model = ml::llama(of),
                                .loss = ml::cross_entropy<vocab>{},
                                .optimizer = ml::adamw{},
                                .sizes = ml::llama_sizes(of),
                                .precision = ml::f16{}});
}

ml::graph images() {
  const ml::wide_resnet_shape<3> of{
      .high = 6, .wide = 6, .classes = 4, .batch = 2, .base = 2, .widening = 2, .depth = {1, 1, 1}};
  return ml::trace(in(ml::bf16{}, ml::wide_resnet_training(of, ml::sgd{})));
}

bool is_named(const ml::node& at, std::string_view op) { return at.op->op.name == op; }

ml::dtype type_of(const ml::graph& of, ml::value_id id) { return of.values[id].type; }

}  // namespace

TEST_CASE("models of every family are sound in 16 bits") {
  for (const ml::graph& of :
       {ml::trace(gpt_training(ml::bf16{})), ml::trace(gpt_training(ml::f16{})), mixture(), llama(), images()}) {
    const auto faults = ml::check(of);
    CHECK_MESSAGE(faults.empty(), faults.front());
    CHECK(of.precision == ml::dtype::f32);
    CHECK(ml::is_half(of.compute));
  }
}

TEST_CASE("products are computed in 16 bits, but for those that say who goes where") {
  for (const ml::graph& of : {ml::trace(gpt_training(ml::bf16{})), mixture(), llama(), images()}) {
    for (const ml::node& at : of.nodes) {
      const bool routes = at.name.find(".d.") == std::string::npos
                              ? std::any_of(at.operands.begin(), at.operands.end(),
                                            [&](ml::value_id id) { return of.values[id].name.ends_with("moe.gate"); })
                              : type_of(of, at.operands.front()) == of.precision;
      if (!at.op->products || routes) continue;
      CAPTURE(at.name);
      CHECK(ml::compute_type_of(of, at) == of.compute);
    }
  }
}

TEST_CASE("losses, gradients of parameters, states and outputs are not rounded") {
  const ml::graph of = ml::trace(gpt_training(ml::bf16{}));
  for (const ml::value_id id : of.results) CHECK(type_of(of, id) == of.precision);
  for (const ml::parameter& each : of.parameters) {
    CAPTURE(of.values[each.value].name);
    for (const ml::value_id id : each.gradients) CHECK(type_of(of, id) == of.precision);
    for (const ml::value_id id : each.states) CHECK(type_of(of, id) == of.precision);
    const bool rounded = type_of(of, each.value) == of.compute;
    CHECK(each.states.size() == (rounded ? 3 : 2));  // its master, and both moments
    if (rounded) CHECK(of.values[each.states[0]].start == of.values[each.value].start);
  }
  const ml::graph model = ml::trace_inference(gpt_training(ml::bf16{}));
  CHECK(ml::check(model).empty());
  CHECK(type_of(model, model.results[0]) == model.precision);
}

TEST_CASE("the gradient of a weight is left unrounded by its product, not widened after it") {
  const ml::graph of = ml::trace(gpt_training(ml::bf16{}));
  int weights = 0;
  for (const ml::parameter& each : of.parameters) {
    if (!of.values[each.value].name.ends_with("weight") || of.values[each.value].axes.size() < 2) continue;
    for (const ml::value_id id : each.gradients) {
      const ml::node_id maker = of.values[id].producer;
      if (maker == ml::node_id::none || !is_named(of.nodes[maker], "dot")) continue;
      CHECK(type_of(of, of.nodes[maker].operands[0]) == of.compute);
      ++weights;
    }
  }
  CHECK(weights >= 6);
}

TEST_CASE("without 16 bits there is nothing to convert, and no master") {
  for (const ml::graph& of : {ml::trace(gpt_training(float{})), ml::trace(gpt_training(double{}))}) {
    CHECK(of.compute == of.precision);
    for (const ml::node& at : of.nodes) {
      CHECK_FALSE(is_named(at, "narrow"));
      CHECK_FALSE(is_named(at, "widen"));
      CHECK_FALSE(is_named(at, "store_rounded"));
    }
    for (const ml::parameter& each : of.parameters) CHECK(each.states.size() == 2);
  }
}

TEST_CASE("a model that ends with a repeated layer gets another region for its output only if that is rounded") {
  const auto regions_of = [](auto precision) {
    const auto stack =
        ml::embedding<vocab, embed>{} | ml::repeat(2, ml::residual(ml::linear<embed, mlp>{}, ml::linear<mlp, embed>{}));
    const auto task = ml::training{.model = stack,
                                   .loss = ml::cross_entropy<embed>{},
                                   .optimizer = ml::sgd{},
                                   .sizes = ml::gpt_sizes(shape),
                                   .precision = precision};
    const ml::graph model = ml::trace_inference(task);
    CHECK(ml::check(model).empty());
    CHECK(type_of(model, model.results[0]) == model.precision);
    return model.regions.size();
  };
  CHECK(regions_of(float{}) == 2);
  CHECK(regions_of(ml::bf16{}) == 3);
}

TEST_CASE("a value of another type is refused, whichever it is") {
  const ml::graph of = ml::trace(gpt_training(ml::bf16{}));
  for (std::size_t v = 0; v < of.values.size(); ++v) {
    const auto id = static_cast<ml::value_id>(v);
    const ml::dtype type = type_of(of, id);
    const bool is_carry = of.values[id].kind == ml::value_kind::carried;
    if (type == ml::dtype::i32 || is_carry) continue;
    ml::graph wrong = of;
    wrong.values[id].type = type == of.compute ? of.precision : of.compute;
    CAPTURE(of.values[id].name);
    CHECK_FALSE(ml::check(wrong).empty());
  }
}
