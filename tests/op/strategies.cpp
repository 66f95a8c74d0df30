// SPDX-License-Identifier: Apache-2.0
// Laws of op/strategies.hpp: the table says what the roles say, and `for_each_strategy` visits every distinct
// combination of its rows and cut orders exactly once.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/op/adafactor.hpp>
#include <meshloom/op/attention.hpp>
#include <meshloom/op/cross_entropy.hpp>
#include <meshloom/op/dot.hpp>
#include <meshloom/op/lamb.hpp>
#include <meshloom/op/layer_norm.hpp>
#include <meshloom/op/lookup.hpp>
#include <meshloom/op/pointwise.hpp>
#include <meshloom/op/softmax.hpp>
#include <meshloom/op/update.hpp>

#include <algorithm>
#include <set>
#include <string>

using namespace meshloom;

namespace {

using matrix_product = op::dot<at<0, 1>, at<1, 2>, at<0, 2>>;
using attention_scores = op::dot<at<0, 1, 2, 3>, at<0, 1, 4, 3>, at<0, 1, 2, 4>>;
using add = op::pointwise<op::add<op::operand<0>, op::operand<1>>, at<0, 1>, at<0, 1>, at<0, 1>>;
using multiply = op::pointwise<op::multiply<op::operand<0>, op::operand<1>>, at<0, 1>, at<0, 1>, at<0, 1>>;
using gelu = op::pointwise<op::gelu<op::operand<0>>, at<0, 1>, at<0, 1>>;
using sum_rows = op::sum<at<0, 1>, at<1>>;

// The counts: with c rows, s of them splits, there are c choices on one mesh axis, c² + s on two (both cut orders where
// both split one index) and c³ + 3s(c−1) + 5s on three (one more order for each pair on one index, five for a triple).
template <class Operator>
constexpr bool counts(int one, int two, int three) {
  using traits = sharding_traits<Operator>;
  return traits::count(0) == 1 && traits::count(1) == one && traits::count(2) == two && traits::count(3) == three;
}
static_assert(counts<matrix_product>(6, 39, 276));
static_assert(counts<op::layer_norm<3>>(4, 19, 106));
static_assert(counts<op::softmax<4, true>>(5, 29, 193));
static_assert(counts<op::cross_entropy<2>>(4, 19, 106));
static_assert(counts<op::attention<1, true>>(5, 29, 193));
static_assert(counts<op::attention<1, true, true>>(6, 41, 316));
static_assert(counts<op::attention_gradient<1, true>>(7, 56, 506));
static_assert(counts<add>(4, 18, 92));
static_assert(counts<multiply>(5, 27, 159));
static_assert(counts<gelu>(3, 11, 49));
static_assert(counts<op::adamw<2>>(3, 11, 49));
static_assert(counts<op::lookup<2>>(6, 40, 296));

/// The strategy on one mesh axis that does `wanted`; the row count of the table if there is none.
template <class Operator>
constexpr strategy doing(choice wanted) {
  constexpr const choice_table& table = sharding_traits<Operator>::choices;
  int row = 0;
  while (row < table.count && !(table.rows[static_cast<std::size_t>(row)] == wanted)) ++row;
  return {{static_cast<std::uint8_t>(row)}, 0};
}
template <class Operator>
constexpr bool has(choice wanted) {
  return doing<Operator>(wanted).row[0] < sharding_traits<Operator>::choices.count;
}
template <class Operator>
constexpr spec operand_under(choice wanted, int operand) {
  return operand_spec(Operator::signature, sharding_traits<Operator>::choices, 1, doing<Operator>(wanted), operand);
}
template <class Operator>
constexpr spec result_under(choice wanted, int result) {
  return result_spec(Operator::signature, sharding_traits<Operator>::choices, 1, doing<Operator>(wanted), result);
}
template <class Operator>
constexpr bool exchanges_under(choice wanted) {
  return exchange_axes(Operator::signature, sharding_traits<Operator>::choices, 1, doing<Operator>(wanted)) != 0;
}

/// True if some row feeds a partial to `operand`.
template <class Operator>
constexpr bool takes_partial(int operand) {
  bool taken = false;
  for_each_strategy(sharding_traits<Operator>::choices, 1, [&](const strategy& how) {
    taken |= operand_spec(Operator::signature, sharding_traits<Operator>::choices, 1, how, operand).has_partial();
  });
  return taken;
}

constexpr choice split_of(int index) { return {choice::split, static_cast<std::int8_t>(index), 0}; }
constexpr choice ring_of(int index, int around) {
  choice row = split_of(index);
  row.rotated = static_cast<std::int8_t>(around);
  return row;
}
constexpr choice partial_in(unsigned operands) { return {choice::linear, -1, static_cast<std::uint16_t>(operands)}; }
constexpr spec whole{};
constexpr spec partial = spec{}.with(0, {placement::partial_sum, -1});
constexpr spec split(int axis) { return spec{}.with(0, {placement::split, static_cast<std::int8_t>(axis)}); }

// dot: a split of the contracted axis splits both operands and leaves a pending sum; any other split is local.
static_assert(operand_under<matrix_product>(split_of(1), 0) == split(1));
static_assert(operand_under<matrix_product>(split_of(1), 1) == split(0));
static_assert(result_under<matrix_product>(split_of(1), 0) == partial);
static_assert(operand_under<matrix_product>(split_of(0), 0) == split(0));
static_assert(operand_under<matrix_product>(split_of(0), 1) == whole);
static_assert(result_under<matrix_product>(split_of(0), 0) == split(0));
static_assert(result_under<matrix_product>(split_of(2), 0) == split(1));
// It is linear in each operand alone, not in both at once.
static_assert(operand_under<matrix_product>(partial_in(1), 0) == partial);
static_assert(operand_under<matrix_product>(partial_in(1), 1) == whole);
static_assert(result_under<matrix_product>(partial_in(1), 0) == partial);
static_assert(has<matrix_product>(partial_in(2)) && !has<matrix_product>(partial_in(3)));

// attention: queries and heads are split alone, and shares of a group leave its keys whole; in the gradient a split of
// the queries makes a part of dq and summands of dk and dv, a split of the keys the other way round.
using attends = op::attention<1, true, true>;  // batch, seq, group, share, head, keys
using slopes = op::attention_gradient<1, true, true>;
static_assert(operand_under<attends>(split_of(1), 0) == split(1) && operand_under<attends>(split_of(1), 1) == whole);
static_assert(operand_under<attends>(split_of(2), 1) == split(2) && operand_under<attends>(split_of(3), 1) == whole);
static_assert(result_under<attends>(split_of(1), 1) == split(3) && result_under<attends>(split_of(3), 0) == split(3));
static_assert(!has<attends>(split_of(4)) && !has<attends>(split_of(5)) && !has<slopes>(split_of(4)));
static_assert(result_under<slopes>(split_of(1), 0) == split(1) && result_under<slopes>(split_of(1), 1) == partial);
static_assert(result_under<slopes>(split_of(3), 0) == split(3) && result_under<slopes>(split_of(3), 2) == partial);
static_assert(result_under<slopes>(split_of(5), 0) == partial && result_under<slopes>(split_of(5), 1) == split(1));
static_assert(has<slopes>(partial_in(1)) && !takes_partial<slopes>(1) && !takes_partial<attends>(0));

// Where blocks go around, queries and keys are split by one mesh axis, and nothing is pending.
static_assert(has<attends>(ring_of(1, 5)) && has<slopes>(ring_of(1, 5)) && !has<matrix_product>(ring_of(0, 1)));
static_assert(operand_under<attends>(ring_of(1, 5), 0) == split(1) &&
              operand_under<attends>(ring_of(1, 5), 1) == split(1) &&
              result_under<attends>(ring_of(1, 5), 0) == split(1));
static_assert(operand_under<slopes>(ring_of(1, 5), 3) == split(1) &&
              result_under<slopes>(ring_of(1, 5), 0) == split(1) &&
              result_under<slopes>(ring_of(1, 5), 1) == split(1) && result_under<slopes>(ring_of(1, 5), 2) == split(1));

// add: partial + partial is a row, partial + whole is not; multiply: the other way round.
static_assert(has<add>(partial_in(3)) && !has<add>(partial_in(1)) && !has<add>(partial_in(2)));
static_assert(operand_under<add>(partial_in(3), 0) == partial && operand_under<add>(partial_in(3), 1) == partial);
static_assert(result_under<add>(partial_in(3), 0) == partial);
static_assert(has<multiply>(partial_in(1)) && has<multiply>(partial_in(2)) && !has<multiply>(partial_in(3)));

// Operators that are linear in nothing take no partial.
static_assert(!takes_partial<gelu>(0) && !takes_partial<op::softmax<4, true>>(0) &&
              !takes_partial<op::layer_norm<3>>(0));
static_assert(!takes_partial<op::cross_entropy<2>>(0) && !takes_partial<op::adamw<2>>(0) &&
              !takes_partial<op::adamw<2>>(1));
static_assert(takes_partial<matrix_product>(0) && takes_partial<op::lookup<2>>(1) && !takes_partial<op::lookup<2>>(0));
// A gradient operator is linear in the incoming gradient only.
static_assert(takes_partial<op::softmax_gradient<3>>(0) && !takes_partial<op::softmax_gradient<3>>(1));
static_assert(takes_partial<op::layer_norm_gradient_input<3>>(0) &&
              !takes_partial<op::layer_norm_gradient_input<3>>(1));

// A statistic axis may be split: shards exchange, results with the axis are split and results without it whole.
static_assert(result_under<op::layer_norm<3>>(split_of(2), 0) == split(2));
static_assert(result_under<op::layer_norm<3>>(split_of(2), 1) == whole &&
              exchanges_under<op::layer_norm<3>>(split_of(2)));
static_assert(operand_under<op::layer_norm<3>>(split_of(2), 1) == split(0));
static_assert(result_under<op::layer_norm<3>>(split_of(0), 1) == split(0) &&
              !exchanges_under<op::layer_norm<3>>(split_of(0)));
static_assert(operand_under<op::cross_entropy<2>>(split_of(2), 1) == whole &&
              result_under<op::cross_entropy<2>>(split_of(2), 0) == whole);
static_assert(exchanges_under<op::cross_entropy<2>>(split_of(2)) && exchanges_under<op::softmax<4, true>>(split_of(3)));

// lookup: splitting the rows of the table gives a partial sum, splitting its columns splits the result.
static_assert(operand_under<op::lookup<2>>(split_of(2), 1) == split(0) &&
              result_under<op::lookup<2>>(split_of(2), 0) == partial);
static_assert(operand_under<op::lookup<2>>(split_of(3), 1) == split(1) &&
              result_under<op::lookup<2>>(split_of(3), 0) == split(2));

// adamw: all operands and results split the same way.
static_assert(operand_under<op::adamw<2>>(split_of(1), 3) == split(1) &&
              result_under<op::adamw<2>>(split_of(1), 2) == split(1));

// sum: what it drops is pending, and it passes a pending sum on.
static_assert(result_under<sum_rows>(split_of(0), 0) == partial && result_under<sum_rows>(split_of(1), 0) == split(0));
static_assert(result_under<sum_rows>(partial_in(1), 0) == partial);

// A blocked axis is never split.
constexpr signature sorted =
    describe("sort").operands<at<0, 1>>().results<at<0, 1>>().is(role::blocked, at<1>::list).made;
static_assert(valid(sorted) && choices_of(sorted).count == 2 && choices_of(sorted).rows[1] == split_of(0));

// Signatures whose roles do not fit their axes are refused.
constexpr describe matching(int of, int in) {
  return describe("matches").operands<at<0>, at<1>>().results<at<0>>().is(role::blocked, at<1>::list).rotates(of, in);
}
static_assert(valid(matching(0, 1).made) && choices_of(matching(0, 1).made).count == 3);
static_assert(!valid(matching(1, 0).made));  // what is blocked is not split
static_assert(!valid(matching(0, 1).results<at<0, 1>>().made) && !valid(matching(0, 0).made));
static_assert(!valid(matching(0, 1).exchanges(at<0>::list, reduction::sum, 1).made));
static_assert(!valid(describe("drops a mapped axis").operands<at<0, 1>>().results<at<0>>().made));
static_assert(!valid(describe("has no index 1").operands<at<0, 2>>().results<at<0, 2>>().made));
static_assert(
    !valid(describe("exchanges nothing").operands<at<0>>().results<at<0>>().is(role::statistic, at<0>::list).made));
static_assert(!valid(describe("exchanges the axis itself")
                         .operands<at<0>>()
                         .results<at<0>>()
                         .is(role::statistic, at<0>::list)
                         .exchanges(at<0>::list, reduction::sum, 1)
                         .made));

// The oracle: what each mesh axis does to one operand or result, straight from the roles, written as text.

struct tensor_text {
  vector<std::string> cuts;  // per tensor axis, mesh axes from the outer cut to the inner one
  std::string pending;       // mesh axes

  std::string text() const {
    std::string all;
    for (const std::string& axis : cuts) all += "[" + axis + "]";
    return all + "+" + pending;
  }
};

std::string text_of(const spec& layout, int rank) {
  tensor_text made{vector<std::string>(static_cast<std::size_t>(rank)), ""};
  for (const cut& c : layout.cuts()) made.cuts[static_cast<std::size_t>(c.axis)] += std::to_string(c.mesh_axis);
  for (int mesh_axis = 0; mesh_axis < max_mesh_rank; ++mesh_axis) {
    if (layout.on(mesh_axis).kind == placement::partial_sum) made.pending += std::to_string(mesh_axis);
  }
  return made.text();
}

std::string text_of(const signature& op, const index_list& axes, bool is_result, int operand,
                    const vector<choice>& choices, const vector<int>& order) {
  tensor_text made;
  for (int axis = 0; axis < axes.count; ++axis) {
    std::string cuts;
    for (const int mesh_axis : order) {
      const choice& here = choices[static_cast<std::size_t>(mesh_axis)];
      const int index = axes.at[static_cast<std::size_t>(axis)];
      const bool cuts_here = here.kind == choice::split && (here.index == index || here.rotated == index);
      if (cuts_here) cuts += std::to_string(mesh_axis);
    }
    made.cuts.push_back(cuts);
  }
  for (std::size_t mesh_axis = 0; mesh_axis < choices.size(); ++mesh_axis) {
    const choice& here = choices[mesh_axis];
    bool pending = here.kind == choice::linear && (is_result || (here.operands >> operand & 1) != 0);
    if (is_result && here.kind == choice::split && op.roles[static_cast<std::size_t>(here.index)] == role::contracted) {
      const auto end = axes.at.begin() + axes.count;
      pending = std::find(axes.at.begin(), end, here.index) == end &&
                (here.rotated < 0 || std::find(axes.at.begin(), end, here.rotated) == end);
    }
    if (pending) made.pending += std::to_string(mesh_axis);
  }
  return made.text();
}

std::string text_of(const choice& row) {
  if (row.kind == choice::whole) return "whole ";
  if (row.rotated >= 0) return "ring " + std::to_string(row.index) + " ";
  return row.kind == choice::split ? "split " + std::to_string(row.index) + " "
                                   : "linear " + std::to_string(row.operands) + " ";
}

/// Every distinct combination of rows with what it does to operands and results.
std::set<std::string> expected(const signature& op, int mesh_rank) {
  vector<choice> rows{choice{}};
  for (int index = 0; index < op.index_count; ++index) {
    if (op.roles[static_cast<std::size_t>(index)] != role::blocked) rows.push_back(split_of(index));
  }
  for (int set = 0; set < op.linear_count; ++set) rows.push_back(partial_in(op.linear[static_cast<std::size_t>(set)]));
  if (op.rotates.of >= 0) rows.push_back(ring_of(op.rotates.of, op.rotates.in));

  vector<vector<choice>> tuples{{}};
  for (int mesh_axis = 0; mesh_axis < mesh_rank; ++mesh_axis) {
    vector<vector<choice>> longer;
    for (const auto& tuple : tuples) {
      for (const choice& row : rows) {
        longer.push_back(tuple);
        longer.back().push_back(row);
      }
    }
    tuples = longer;
  }
  std::set<std::string> found;
  for (const auto& tuple : tuples) {
    const auto goes_around = [](const choice& row) { return row.rotated >= 0; };
    if (std::count_if(tuple.begin(), tuple.end(), goes_around) > 1) continue;
    vector<int> order;
    for (int mesh_axis = 0; mesh_axis < mesh_rank; ++mesh_axis) order.push_back(mesh_axis);
    do {
      std::string key;
      for (const choice& row : tuple) key += text_of(row);
      for (int i = 0; i < op.operand_count; ++i) {
        key += text_of(op, op.operands[static_cast<std::size_t>(i)], false, i, tuple, order) + " ";
      }
      for (int i = 0; i < op.result_count; ++i) {
        key += text_of(op, op.results[static_cast<std::size_t>(i)], true, i, tuple, order) + " ";
      }
      found.insert(key);
    } while (std::next_permutation(order.begin(), order.end()));
  }
  return found;
}

/// What is wrong with a list of strategies of `op`; empty if it is complete and has no duplicates.
std::string fault(const signature& op, int mesh_rank, const vector<strategy>& list) {
  const choice_table table = choices_of(op);
  std::set<std::string> open = expected(op, mesh_rank);
  for (const strategy& how : list) {
    std::string key;
    for (int i = 0; i < mesh_rank; ++i) key += text_of(table.rows[how.row[static_cast<std::size_t>(i)]]);
    for (int i = 0; i < op.operand_count; ++i) {
      key += text_of(operand_spec(op, table, mesh_rank, how, i), op.operands[static_cast<std::size_t>(i)].count) + " ";
    }
    for (int i = 0; i < op.result_count; ++i) {
      key += text_of(result_spec(op, table, mesh_rank, how, i), op.results[static_cast<std::size_t>(i)].count) + " ";
    }
    if (open.erase(key) == 0) return "twice, or not expected: " + key;
  }
  return open.empty() ? "" : std::to_string(open.size()) + " missing, the first: " + *open.begin();
}

vector<strategy> strategies_of(const signature& op, int mesh_rank) {
  vector<strategy> list;
  for_each_strategy(choices_of(op), mesh_rank, [&](const strategy& how) { list.push_back(how); });
  return list;
}

const signature* const samples[] = {
    &matrix_product::signature,
    &attention_scores::signature,
    &op::layer_norm<3>::signature,
    &op::layer_norm_gradient_weights<3>::signature,
    &op::softmax<4, true>::signature,
    &op::softmax_gradient<3>::signature,
    &op::attention<1, true>::signature,
    &op::attention_gradient<1, true, true>::signature,
    &op::cross_entropy<2>::signature,
    &op::cross_entropy_gradient<2>::signature,
    &add::signature,
    &multiply::signature,
    &gelu::signature,
    &op::adamw<2>::signature,
    &op::lamb<2>::signature,
    &op::lookup<2>::signature,
    &op::lookup_gradient<2>::signature,
    &sum_rows::signature,
    &sorted,
};

}  // namespace

TEST_CASE("every distinct strategy is visited exactly once") {
  for (const signature* op : samples) {
    CAPTURE(std::string(op->name));
    for (int mesh_rank = 0; mesh_rank <= max_mesh_rank; ++mesh_rank) {
      CAPTURE(mesh_rank);
      CHECK(fault(*op, mesh_rank, strategies_of(*op, mesh_rank)) == "");
    }
  }
}

TEST_CASE("the first strategy repeats the work everywhere") {
  for (const signature* op : samples) {
    for (int mesh_rank = 1; mesh_rank <= max_mesh_rank; ++mesh_rank) {
      CHECK(strategies_of(*op, mesh_rank).front() == strategy{});
    }
  }
}

TEST_CASE("statistics are exchanged exactly over the mesh axes that split a statistic axis") {
  for (const signature* op : samples) {
    const choice_table table = choices_of(*op);
    for (const strategy& how : strategies_of(*op, 2)) {
      unsigned mask = 0;
      for (std::size_t mesh_axis = 0; mesh_axis < 2; ++mesh_axis) {
        const choice& row = table.rows[how.row[mesh_axis]];
        if (row.kind != choice::split || op->roles[static_cast<std::size_t>(row.index)] != role::statistic) continue;
        mask += 1u << mesh_axis;
      }
      CHECK(exchange_axes(*op, table, 2, how) == mask);
      for (int k = 0; k < op->statistic_count; ++k) CHECK(exchange_axes(*op, table, 2, how, k) == mask);
    }
  }
}

TEST_CASE("a statistic is not exchanged over what splits its rows, and is split with them") {
  using factored = op::adafactor<3, false>;  // sums of rows, of columns, of matrices and of everything
  constexpr const signature& op = factored::signature;
  constexpr choice_table table = sharding_traits<factored>::choices;
  constexpr bool exchanged[3][4] = {{false, false, false, true}, {false, true, true, true}, {true, false, true, true}};
  for (std::int8_t index = 0; index < 3; ++index) {
    const strategy how = doing<factored>({choice::split, index, 0});
    for (int k = 0; k < 4; ++k) {
      CHECK((exchange_axes(op, table, 1, how, k) != 0) == exchanged[index][k]);
      CHECK(rows_spec(op, table, 1, how, k).is_whole() == exchanged[index][k]);
    }
    CHECK(result_spec(op, table, 1, how, 1).is_whole() == (index == 2));
    CHECK(result_spec(op, table, 1, how, 2).is_whole() == (index == 1));
  }
}

TEST_CASE("the oracle notices a lost, a doubled and a false strategy") {
  const signature& op = matrix_product::signature;
  for (int mesh_rank = 1; mesh_rank <= max_mesh_rank; ++mesh_rank) {
    const auto good = strategies_of(op, mesh_rank);
    auto lost = good;
    lost.erase(lost.begin() + static_cast<std::ptrdiff_t>(good.size() / 2));
    CHECK(fault(op, mesh_rank, lost) != "");

    auto doubled = good;
    doubled.push_back(good.back());
    CHECK(fault(op, mesh_rank, doubled) != "");

    auto false_row = good;
    false_row.front().row[0] = 1;
    CHECK(fault(op, mesh_rank, false_row) != "");
  }
  auto reordered = strategies_of(op, 2);  // another cut order where nothing is cut twice is the same strategy again
  reordered.push_back(reordered.front());
  reordered.back().order = 2;
  CHECK(fault(op, 2, reordered) != "");
}
