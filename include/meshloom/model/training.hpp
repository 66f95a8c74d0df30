// SPDX-License-Identifier: Apache-2.0
// A training: model, loss, optimizer, sizes and precision as one value, and its trace into a graph.
// Law: the graph does not depend on the compiler, and evaluation and generation are traces of the same value.
#pragma once

#include <meshloom/graph/differentiate.hpp>
#include <meshloom/model/compose.hpp>
#include <meshloom/model/loss.hpp>
#include <meshloom/model/optimizer.hpp>
#include <meshloom/model/pin.hpp>
#include <meshloom/op/convert.hpp>

namespace meshloom {

/// Gradients of f16 vanish below 6e-8 and need it; bf16 has the range of float.
template <class Precision>
inline constexpr loss_scaling usual_scaling = std::is_same_v<Precision, f16> ? loss_scaling{65536} : loss_scaling{};

/// `Input` and `Target` say what a sample is; `MicroBatched` is the axis that micro-batches cut. `Precision` is the
/// element type of parameters, activations and gradients: float, double, or (mixed precision) bf16 or f16, in which
/// products are computed and what follows from them is kept; sums, statistics, losses and updates are then float, and
/// updates change a master copy of each parameter (Micikevicius et al. 2018).
template <class Model, class Loss, class Optimizer, class Sizes, class Input = integers<axis::batch, axis::seq>,
          class Target = integers<axis::batch, axis::seq>, class MicroBatched = axes<axis::batch>,
          class Precision = float>
struct training {
  static_assert(optimizer<Optimizer>,
                "meshloom: training: .optimizer is not an optimizer; use sgd{} or adamw{}, or give "
                "yours an update<Rank>, states and attributes()");
  Model model;
  Loss loss;
  Optimizer optimizer;
  Sizes sizes;
  Input input = {};
  Target target = {};
  MicroBatched micro_batched = {};
  Precision precision = {};
  loss_scaling scaling = usual_scaling<Precision>;  ///< of the loss: see graph/loss_scaling.hpp
};

namespace detail {

template <class... Axis>
value_id add_input(graph_builder& into, const auto& sizes, std::string_view name, integers<Axis...>) {
  return into.add_input(name, {into.axis(name_of<Axis>(), sizes.template get<Axis>())...}, dtype::i32);
}
template <class... Axis>
value_id add_input(graph_builder& into, const auto& sizes, std::string_view name, tensor<Axis...>) {
  return into.add_input(name, {into.axis(name_of<Axis>(), sizes.template get<Axis>())...}, into.made.precision);
}

template <class Axis>
axis_id micro_axis(graph_builder& into, const auto& sizes, axes<Axis>) {
  return into.axis(name_of<Axis>(), sizes.template get<Axis>());
}

/// Sum of the losses of all rows, divided by their number in the whole batch.
template <class Scope, class... Row>
tensor<> mean(Scope& within, tensor<Row...> losses) {
  const double rows = (1.0 * ... * static_cast<double>(within.template size_of<Row>()));
  return sum<Row...>(within, losses, 1 / rows);
}

template <class Scope, class Loss, class Output, class Target>
tensor<> mean_loss(Scope& within, const Loss& loss, const Output& output, const Target& target) {
  constexpr bool takes_it = std::is_invocable_v<const Loss&, Scope&, const Output&, const Target&>;
  static_assert(takes_it,
                "meshloom: training: .loss cannot be called as loss(scope, output of the model, target); use "
                "cross_entropy, or give yours that operator()");
  if constexpr (takes_it)
    return mean(within, evaluate(within, loss(within, output, target)));
  else
    return {};
}

/// What leaves a program is in the precision.
inline value_id in_precision(graph_builder& into, value_id output) {
  if (into.made.values[output].type == into.made.precision) return output;
  const region_id home = into.made.values[output].region;
  if (into.made.regions[home].repeated)
    into.open_region("output", 1, false);
  else
    into.resume(phase::forward, home, "output.");
  return into.as_type(output, into.made.precision);
}

}  // namespace detail

/// The operators between a compute type of fewer bits and the precision, for tensors of every rank.
using conversion_operators = join_operators<every_rank<op::narrow>::type, every_rank<op::widen>::type,
                                            every_rank<op::store_rounded>::type>::type;

/// What a model is traced for.
enum class purpose : std::uint8_t { training, evaluation, inference };

/// Traces the forward pass of a training's model: inputs "input" (and "target", unless for inference), first result the
/// loss (or the model's output).
template <class Training, class Visitor>
graph_builder trace_forward(const Training& task, purpose why, Visitor& visitor) {
  using precision = decltype(task.precision);
  graph_builder into;
  into.trains = why == purpose::training;
  into.made.precision = dtype_of<computed<precision>>;
  into.made.compute = dtype_of<precision>;
  into.made.micro_batched = detail::micro_axis(into, task.sizes, task.micro_batched);
  auto input = task.input;
  input.id = detail::add_input(into, task.sizes, "input", input);
  scope<std::remove_cvref_t<decltype(task.sizes)>, Visitor, true> top(into, task.sizes, visitor);
  const auto output = call_layer(top, task.model, input);
  if (why == purpose::inference) {
    into.made.results = {detail::in_precision(into, output.id)};
  } else {
    auto target = task.target;
    target.id = detail::add_input(into, task.sizes, "target", target);
    const auto loss =
        top.region("loss", [&](auto& inside) { return detail::mean_loss(inside, task.loss, output, target); });
    into.made.results.insert(into.made.results.begin(), loss.id);
  }
  return into;
}

/// Calls `visitor(operators<Operator>{})` for every operator type that training can execute: the compile-time closure
/// over model, loss, gradients and optimizer. Backends instantiate their kernels with it.
template <class Training, class Visitor>
void for_each_operator(const Training& task, Visitor& visitor) {
  trace_forward(task, purpose::training, visitor);
  trace_forward(task, purpose::evaluation, visitor);
  const auto visit = [&visitor]<class... Operator>(operators<Operator...>) { (visitor(operators<Operator>{}), ...); };
  visit(operators_of<std::remove_cvref_t<decltype(task.optimizer)>>{});
  visit(training_operators{});
  if constexpr (half_type<std::remove_cvref_t<decltype(task.precision)>>) {
    visit(conversion_operators{});
    visit(clipping_operators{});
  }
}

/// The graph of one training step: forward, backward and update.
template <class Training>
graph trace(const Training& task) {
  no_visitor nothing;
  graph_builder into = trace_forward(task, purpose::training, nothing);
  differentiate(into, into.made.results.front());
  into.made.scaling = task.scaling;
  add_updates(into, rules_of(task.optimizer, into.made));
  return std::move(into.made);
}

/// The graph of the loss alone, for held-out data.
template <class Training>
graph trace_evaluation(const Training& task) {
  no_visitor nothing;
  return trace_forward(task, purpose::evaluation, nothing).made;
}

/// The graph of the model alone; its result is the model's output.
template <class Training>
graph trace_inference(const Training& task) {
  no_visitor nothing;
  return trace_forward(task, purpose::inference, nothing).made;
}

}  // namespace meshloom
