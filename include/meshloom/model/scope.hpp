// SPDX-License-Identifier: Apache-2.0
// What a layer is given beside its input: a place to create parameters and emit operators while the model is traced.
// `Visitor` is told the type of every operator: this is how a backend instantiates kernels for exactly the operators a
// model uses. Layers take it as `auto& scope`.
#pragma once

#include <meshloom/graph/build.hpp>
#include <meshloom/tensor/tensor.hpp>

#include <utility>

namespace meshloom {

/// A visitor that ignores every operator.
struct no_visitor {
  template <class Operator>
  void operator()(operators<Operator>) const {}
};

/// `Top`: the scope of the whole model, where layers become regions; inside a region it is false.
template <class Sizes, class Visitor = no_visitor, bool Top = false>
class scope {
 public:
  static constexpr bool at_top = Top;
  using inner = scope<Sizes, Visitor, false>;

  scope(graph_builder& into, const Sizes& sizes, Visitor& visitor) : into_(into), sizes_(sizes), visitor_(visitor) {}

  template <class Axis>
  std::int64_t size_of() const {
    return sizes_.template get<Axis>();
  }

  /// A parameter of the current layer, e.g. `scope.template parameter<embed, mlp>("weight", {initial::normal, 0.02})`.
  template <class... Axis>
  tensor<Axis...> parameter(std::string_view name, const initial& start) {
    return {into_.add_parameter(name, ids(axes<Axis...>{}), start, false)};
  }

  /// A parameter of the whole model: every layer that names it gets the same one.
  template <class... Axis>
  tensor<Axis...> shared_parameter(std::string_view name, const initial& start) {
    return {into_.add_parameter(name, ids(axes<Axis...>{}), start, true)};
  }

  /// True where the model is traced as it trains; false in evaluation and inference, where nothing is dropped and
  /// running statistics stand in for those of the batch.
  bool trains() const { return into_.trains; }

  /// The number of a stream of random numbers that nothing else in the model draws from.
  std::int32_t new_stream() { return into_.streams++; }

  /// The first of these axes that micro-batches cut, or −1.
  template <class... Axis>
  int micro_batched_in(axes<Axis...>) const {
    if (into_.made.micro_batched == axis_id::none) return -1;
    const std::string& cut = into_.made.sizes[into_.made.micro_batched].name;
    int found = -1, at = 0;
    ((found = found < 0 && name_of<sized_as<Axis>>() == cut ? at : found, ++at), ...);
    return found;
  }

  /// Adds a scalar to the loss of the training: a mean over the whole batch, weighted. Nothing is added in evaluation.
  void add_loss(tensor<> weighted) {
    if (into_.trains) into_.made.results.push_back(into_.as_type(weighted.id, into_.made.precision));
  }

  /// Makes `kept`, a parameter of this layer, a running statistic: after every step `Update` takes in the sum over its
  /// micro-batches of what was `observed`. Nothing is observed in evaluation.
  template <operator_type Update, class... Axis>
  void observe(tensor<Axis...> kept, tensor<Axis...> observed, const attribute_list& attributes) {
    visit(operators<Update>{});
    if (into_.trains) into_.observe(kept.id, observed.id, record_of<Update>, attributes);
  }

  /// Emits an operator; `Index` is the list of axes that the operator's indices stand for.
  template <operator_type Operator, class... Index, class... Operand>
  std::array<value_id, max_results> emit(axes<Index...>, const attribute_list& attributes, const Operand&... operand) {
    static_assert(
        sizeof...(Index) == Operator::signature.index_count,
        "meshloom: scope::emit: the operator has another number of indices; name one axis per index of its signature");
    static_assert(sizeof...(Operand) == Operator::signature.operand_count,
                  "meshloom: scope::emit: the operator has another number of operands; pass those of its signature");
    visit(operators<Operator>{});
    visit(typename Operator::gradient{});
    const std::array<value_id, sizeof...(Operand)> operands{operand.id...};
    return into_.emit(record_of<Operator>, operands, ids(axes<Index...>{}), attributes);
  }

  /// Calls `body()` with the names of its parameters and operators under `name`.
  template <class Body>
  auto layer(std::string_view name, const Body& body) {
    into_.enter(name);
    auto made = body();
    into_.leave();
    return made;
  }

  /// Calls `body()`; what it emits stays in the precision of the training, products as well.
  template <class Body>
  auto exactly(const Body& body) {
    const bool was_exact = std::exchange(into_.exact, true);
    auto made = body();
    into_.exact = was_exact;
    return made;
  }

  /// Runs `body(inside)` as a region of its own.
  template <class Body>
  auto region(std::string_view name, const Body& body) {
    static_assert(Top, "meshloom: scope::region: regions do not nest; use scope.layer inside a layer");
    into_.open_region(name, 1, false);
    inner inside(into_, sizes_, visitor_);
    auto made = body(inside);
    into_.close_region();
    return made;
  }

  /// `count` copies of `body(inside, x)`: one region at the top of a model, written out inside a layer.
  template <class... Axis, class Body>
  tensor<Axis...> repeat(std::string_view name, std::int32_t count, tensor<Axis...> x, const Body& body) {
    if (count < 1)
      throw error("repeat: a layer cannot be repeated " + std::to_string(count) + " times; give a count of 1 or more");
    if constexpr (!Top) {
      for (std::int32_t copy = 0; copy < count; ++copy) x = layer(name, [&] { return body(*this, x); });
      return x;
    } else {
      into_.open_region(name, count, true);
      const region_id here = into_.current_region();
      const auto axis_ids = ids(axes<Axis...>{});
      const dtype type = into_.made.values[x.id].type;
      carry flow{x.id, into_.add_carried(into_.made.regions[here].name + ".in", axis_ids, here, type)};
      into_.made.regions[here].forward = flow;
      inner inside(into_, sizes_, visitor_);
      flow.body_out = into_.as_type(body(inside, tensor<Axis...>{flow.body_in}).id, type);
      flow.outer_out = into_.add_carried(into_.made.regions[here].name + ".out", axis_ids, here, type);
      into_.made.regions[here].forward = flow;
      into_.close_region();
      return {flow.outer_out};
    }
  }

  void pin(const meshloom::pin& constraint) { into_.made.pins.push_back(constraint); }

  template <class... Operator>
  void visit(operators<Operator...>) {
    (visitor_(operators<Operator>{}), ...);
  }

 private:
  template <class... Axis>
  std::vector<axis_id> ids(axes<Axis...>) {
    return {into_.axis(name_of<Axis>(), sizes_.template get<Axis>())...};
  }

  graph_builder& into_;
  const Sizes& sizes_;
  Visitor& visitor_;
};

}  // namespace meshloom
