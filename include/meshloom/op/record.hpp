// SPDX-License-Identifier: Apache-2.0
// How plain nodes find typed code: every operator type has `record_of<Operator>`, a constexpr record of plain data and
// function pointers. A graph node points to its record, and everything between front end and backend uses nothing else.
// Law: one record per operator type, so that two nodes run the same code if and only if their records are the same.
#pragma once

#include <meshloom/base/ids.hpp>
#include <meshloom/op/strategies.hpp>

#include <concepts>
#include <initializer_list>
#include <span>
#include <utility>

namespace meshloom {

/// A value together with its axes as one operator sees them: the same value may be read as [batch, seq] by one operator
/// and as [batch, keys(seq)] by another.
struct handle {
  value_id id = value_id::none;
  std::int8_t rank = 0;
  std::array<axis_id, max_rank> axes{};

  explicit constexpr operator bool() const { return id != value_id::none; }
};

class differentiation;

/// The lowest bits of an operator's number in a run say in which copy of a repeated layer it is; the forward and the
/// backward of one copy share them.
inline constexpr int copy_bits = 20;

/// Which operands and results (bit masks) an operator may read and make in the compute type of a training, where that
/// has fewer bits than its precision; all others are in its precision, and so are statistics. One node has all of them
/// in one of the two types.
struct rounding {
  std::uint8_t operands = 0;
  std::uint8_t results = 0;
  bool always = false;  ///< in the compute type whatever its operands come in: a product. Else as one of them does
  bool wide = false;    ///< the kernel may also make its results in the precision, sums that nobody has rounded

  constexpr bool operand(std::size_t which) const { return (operands >> which & 1) != 0; }
  constexpr bool result(std::size_t which) const { return (results >> which & 1) != 0; }
  constexpr bool any() const { return operands != 0 || results != 0; }
};

struct record {
  signature op;
  choice_table choices;
  std::uint64_t variant = 0;   ///< tells apart operators whose signatures agree, like pointwise ones of two expressions
  double flops_per_point = 1;  ///< floating-point operations per point of its index space, see `points_along`
  bool products = false;       ///< what it computes are products of matrices
  rounding rounded = {};
  bool accumulates = false;  ///< its kernel can add to the results instead of overwriting them
  bool in_place = false;     ///< result k replaces operand `replaces[k]`, which nobody else may read afterwards
  std::array<std::int8_t, max_results> replaces{};
  std::uint16_t reads_updated = 0;  ///< operands (bit mask) that it reads as another operator has replaced them
  void (*differentiate)(differentiation&) = nullptr;  ///< adds the gradients of the operands; null if it has none
};

/// What `differentiate` of an operator works with: the node's operands, results and the gradients that reached its
/// results, and a way to emit operators. Implemented by the graph.
class differentiation {
 public:
  virtual handle operand(int which) const = 0;
  virtual handle result(int which) const = 0;
  virtual handle gradient(int result) const = 0;  ///< null if no gradient reached this result
  virtual bool wanted(int operand) const = 0;     ///< false if no gradient of this operand is needed
  virtual const attribute_list& attributes() const = 0;
  /// The axis that index `which` of the node's operator stands for.
  virtual axis_id index(int which) const = 0;
  /// Adds an operator to the graph and returns its results. `result_only_indices`: the axes of the indices that no
  /// operand has, ascending.
  virtual std::array<handle, max_results> emit(const record& op, std::initializer_list<handle> operands,
                                               const attribute_list& attributes,
                                               std::span<const axis_id> result_only_indices = {}) = 0;
  /// Adds `gradient` to the gradient of an operand.
  virtual void contribute(int operand, const handle& gradient) = 0;

 protected:
  ~differentiation() = default;
};

/// A list of operator types.
template <class... Operator>
struct operators {};

template <class... List>
struct join_operators;
template <class... Operator>
struct join_operators<operators<Operator...>> {
  using type = operators<Operator...>;
};
template <class... First, class... Second, class... Rest>
struct join_operators<operators<First...>, operators<Second...>, Rest...>
    : join_operators<operators<First..., Second...>, Rest...> {};

namespace detail {

template <class Operator>
consteval record make_record() {
  record made{.op = Operator::signature, .choices = sharding_traits<Operator>::choices};
  if constexpr (requires { Operator::variant; }) made.variant = Operator::variant;
  if constexpr (requires { Operator::flops_per_point; }) made.flops_per_point = Operator::flops_per_point;
  if constexpr (requires { Operator::products; }) made.products = Operator::products;
  if constexpr (requires { Operator::rounded; }) made.rounded = Operator::rounded;
  if constexpr (requires { Operator::accumulates; }) made.accumulates = Operator::accumulates;
  if constexpr (requires { Operator::replaces; }) {
    made.in_place = true;
    made.replaces = Operator::replaces;
  }
  if constexpr (requires { Operator::reads_updated; }) made.reads_updated = Operator::reads_updated;
  if constexpr (requires { Operator::differentiate; }) made.differentiate = &Operator::differentiate;
  return made;
}

}  // namespace detail

/// An operator type: a signature, and the operator types its differentiation may create.
template <class Operator>
concept operator_type = requires {
  { Operator::signature } -> std::convertible_to<const signature&>;
  typename Operator::gradient;
};

template <operator_type Operator>
inline constexpr record record_of = detail::make_record<Operator>();

/// A family of operators, one for tensors of each rank.
template <template <int> class Operator, class Ranks = std::make_integer_sequence<int, max_rank + 1>>
struct every_rank;
template <template <int> class Operator, int... Rank>
struct every_rank<Operator, std::integer_sequence<int, Rank...>> {
  using type = operators<Operator<Rank>...>;
  static constexpr std::array<const record*, sizeof...(Rank)> records{&record_of<Operator<Rank>>...};
};

}  // namespace meshloom
