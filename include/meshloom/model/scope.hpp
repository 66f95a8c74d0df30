// SPDX-License-Identifier: Apache-2.0
// What a layer is given beside its input: a place to create parameters and emit operators while the model is traced.
// A `Visitor` is told the type of every operator instead: this is how a backend instantiates kernels for exactly the
// operators a model uses. Layers take it as `auto& scope`.
#pragma once

#include <meshloom/graph/build.hpp>
#include <meshloom/tensor/tensor.hpp>

#include <array>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace meshloom {

/// An axis as its printed name and its size.
struct sized_axis {
  std::string_view name;
  std::int64_t extent = 0;
};

namespace detail {

// What a scope does with its builder, whatever the types of the model: layers are many, and this is compiled once.
value_id add_parameter(graph_builder& into, std::string_view name, std::span<const sized_axis> axes,
                       const initial& start, bool shared);
std::array<value_id, max_results> add_operator(graph_builder& into, const record& op,
                                               std::span<const value_id> operands, std::span<const sized_axis> indices,
                                               const attribute_list& attributes);
/// Opens a region of `count` copies that `from` flows through; returns what one copy gets.
value_id open_copies(graph_builder& into, std::string_view name, std::int32_t count, value_id from,
                     std::span<const sized_axis> axes);
/// Closes it, where a copy makes `made` of what it gets; returns what the last copy makes.
value_id close_copies(graph_builder& into, value_id made);
[[noreturn]] void refuse_copies(std::int32_t count);

}  // namespace detail

/// No visitor: the graph itself is built.
struct no_visitor {};

/// `Top`: the scope of the whole model, where layers become regions; inside a region it is false. With a visitor no
/// graph is built, and all tensors are the same nothing.
template <class Sizes, class Visitor = no_visitor, bool Top = false>
class scope {
 public:
  static constexpr bool at_top = Top;
  static constexpr bool builds = std::is_same_v<Visitor, no_visitor>;
  using inner = scope<Sizes, Visitor, false>;

  scope(graph_builder& into, const Sizes& sizes, Visitor& visitor) : into_(into), sizes_(sizes), visitor_(visitor) {}

  template <class Axis>
  std::int64_t size_of() const {
    return sizes_.template get<Axis>();
  }
  template <class Axis>
  sized_axis sized() const {
    return {name_of<Axis>(), size_of<Axis>()};
  }
  template <class... Axis>
  std::array<sized_axis, sizeof...(Axis)> sized_axes() const {
    return {sized<Axis>()...};
  }

  /// A parameter of the current layer, e.g. `scope.template parameter<embed, mlp>("weight", {initial::normal, 0.02})`.
  template <class... Axis>
  tensor<Axis...> parameter(std::string_view name, const initial& start) {
    return add_parameter<Axis...>(name, start, false);
  }

  /// A parameter of the whole model: every layer that names it gets the same one.
  template <class... Axis>
  tensor<Axis...> shared_parameter(std::string_view name, const initial& start) {
    return add_parameter<Axis...>(name, start, true);
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
    if (builds && into_.trains) into_.made.results.push_back(into_.as_type(weighted.id, into_.made.precision));
  }

  /// Makes `kept`, a parameter of this layer, a running statistic: after every step `Update` takes in the sum over its
  /// micro-batches of what was `observed`. Nothing is observed in evaluation.
  template <operator_type Update, class... Axis>
  void observe(tensor<Axis...> kept, tensor<Axis...> observed, const attribute_list& attributes) {
    visit(operators<Update>{});
    if (builds && into_.trains) into_.observe(kept.id, observed.id, record_of<Update>, attributes);
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
    if constexpr (builds)
      return detail::add_operator(into_, record_of<Operator>, std::array<value_id, sizeof...(Operand)>{operand.id...},
                                  sized_axes<Index...>(), attributes);
    else
      return {};
  }

  /// Calls `body()` with the names of its parameters and operators under `name`.
  template <class Body>
  auto layer(std::string_view name, const Body& body) {
    if constexpr (builds) {
      into_.enter(name);
      auto made = body();
      into_.leave();
      return made;
    } else {
      return body();
    }
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
    inner inside(into_, sizes_, visitor_);
    if constexpr (builds) {
      into_.open_region(name, 1, false);
      auto made = body(inside);
      into_.close_region();
      return made;
    } else {
      return body(inside);
    }
  }

  /// `count` copies of `body(inside, x)`: one region at the top of a model, written out inside a layer.
  template <class... Axis, class Body>
  tensor<Axis...> repeat(std::string_view name, std::int32_t count, tensor<Axis...> x, const Body& body) {
    if (count < 1) detail::refuse_copies(count);
    if constexpr (!Top) {
      for (std::int32_t copy = 0; copy < count; ++copy) x = layer(name, [&] { return body(*this, x); });
      return x;
    } else {
      inner inside(into_, sizes_, visitor_);
      if constexpr (builds) x = {detail::open_copies(into_, name, count, x.id, sized_axes<Axis...>())};
      x = body(inside, x);
      if constexpr (builds) x = {detail::close_copies(into_, x.id)};
      return x;
    }
  }

  void pin(const meshloom::pin& constraint) { into_.made.pins.push_back(constraint); }

  template <class... Operator>
  void visit(operators<Operator...>) {
    if constexpr (!builds) (visitor_(operators<Operator>{}), ...);
  }

 private:
  template <class... Axis>
  tensor<Axis...> add_parameter(std::string_view name, const initial& start, bool shared) {
    if constexpr (builds)
      return {detail::add_parameter(into_, name, sized_axes<Axis...>(), start, shared)};
    else
      return {};
  }

  graph_builder& into_;
  const Sizes& sizes_;
  Visitor& visitor_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/model/scope.inl>
#endif
