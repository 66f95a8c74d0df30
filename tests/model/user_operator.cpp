// SPDX-License-Identifier: Apache-2.0
// An operator of your own: what one writes, and what follows from it. The example is swish with a learned slope per
// feature, y = x · σ(β·x), fused into one kernel; a pointwise expression computes the same and is the oracle.
#include "trial.hpp"

#include "../exec/laws_operators.hpp"

#include <doctest/doctest.h>

using namespace trials;

namespace {

using meshloom::at;
using meshloom::axis::batch;
struct feature;
struct label;

// 1. The gradient is an operator as well. Its signature numbers the axes, here 0 for rows and 1 for features, and says
//    which operands and results have which. Axes are mapped (any shard computes alone) unless one says otherwise: β's
//    gradient is summed over the rows, so they are contracted, and shards of rows give partial sums of it.
//    It is linear in dy, operand 0 (bit 0), so dy may itself be a pending sum.
struct swish_gradient {
  static constexpr auto signature = describe("swish_gradient")
                                        .operands<at<0, 1>, at<0, 1>, at<1>>()  // dy, x, β
                                        .results<at<0, 1>, at<1>>()             // dx, dβ
                                        .is(role::contracted, at<0>::list)
                                        .linear_in(1 << 0)
                                        .made;
  using gradient = operators<>;

  // 2. The kernel sees this rank's shards as views: memory, extents, strides, and where they lie in the whole. It is
  //    written once, for host and CUDA: a team runs each task, and the calls of one `for_each` are independent.
  struct kernel {
    static constexpr std::int64_t columns = 256;  // of one task: no two tasks write one element

    template <class Element>
    MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
      return (with.operand[2].extent[0] + columns - 1) / columns;
    }

    template <class Element, class Team>
    MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
      const view& shard = with.operand[1];
      const std::int64_t first = which * columns, rest = shard.extent[1] - first, n = rest < columns ? rest : columns;
      const Element* const beta = with.operand[2].as<const Element>() + first;
      Element* const dbeta = with.result[1].as<Element>() + first;
      team.for_each(n, [=](std::int64_t i) { dbeta[i] = 0; });
      for (std::int64_t row = 0; row < shard.extent[0]; ++row) {
        const std::int64_t begin = row * shard.stride[0] + first;
        const Element* const dy = with.operand[0].as<const Element>() + begin;
        const Element* const x = shard.as<const Element>() + begin;
        Element* const dx = with.result[0].as<Element>() + begin;
        team.for_each(n, [=](std::int64_t i) {
          const Element open = math::sigmoid(beta[i] * x[i]), slope = open * (1 - open) * x[i];
          dx[i] = dy[i] * (open + slope * beta[i]);
          dbeta[i] += dy[i] * slope * x[i];
        });
      }
    }
  };
};

// 3. The operator names the operators that its differentiation emits, and emits them.
struct swish {
  static constexpr auto signature = describe("swish").operands<at<0, 1>, at<1>>().results<at<0, 1>>().made;
  using gradient = operators<swish_gradient>;

  static void differentiate(differentiation& d) {
    const auto made = d.emit(record_of<swish_gradient>, {d.gradient(0), d.operand(0), d.operand(1)}, d.attributes());
    d.contribute(0, made[0]);
    d.contribute(1, made[1]);
  }

  struct kernel {
    template <class Element>
    MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
      return row_count(with.operand[0]);
    }

    template <class Element, class Team>
    MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
      const row_index row(with.operand[0], which);
      const Element* const x = row.template in<const Element>(with.operand[0]);
      const Element* const beta = with.operand[1].as<const Element>();
      Element* const y = row.template in<Element>(with.result[0]);
      team.for_each(with.operand[0].extent[1], [=](std::int64_t i) { y[i] = x[i] * math::sigmoid(beta[i] * x[i]); });
    }
  };
};

// 4. Its strategies follow: whole, rows split, features split; the gradient's also with dy pending.
static_assert(sharding_traits<swish>::count(1) == 3 && sharding_traits<swish_gradient>::count(1) == 4);

// 5. A layer puts it into models: `emit` takes the axes that the numbers stand for.
template <bool Fused>
struct swish_layer {
  static constexpr std::string_view name = "swish";

  template <class Row, class Feature>
  auto operator()(auto& scope, const tensor<Row, Feature>& x) const {
    const auto beta = scope.template parameter<Feature>("beta", {initial::constant, 1});
    if constexpr (Fused)
      return tensor<Row, Feature>{scope.template emit<swish>(axes<Row, Feature>{}, {}, x, beta)[0]};
    else
      return evaluate(scope, x * sigmoid_of(x * beta));
  }
};

template <bool Fused>
auto classifier() {
  return training{.model = linear<feature, axis::mlp>{.deviation = 0.5} | swish_layer<Fused>{} |
                           linear<axis::mlp, label>{.deviation = 0.5},
                  .loss = cross_entropy<label>{},
                  .optimizer = adamw{.rate = 0.05},
                  .sizes = sizes{size<batch>{12}, size<feature>{6}, size<axis::mlp>{7}, size<label>{5}},
                  .input = tensor<batch, feature>{},
                  .target = integers<batch>{},
                  .precision = double{}};
}

constexpr int classes = 5, steps = 12;

bool same(const meshloom::vector<double>& left, const meshloom::vector<double>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](double a, double b) { return std::abs(a - b) < 1e-11 * std::abs(a); });
}

}  // namespace

TEST_CASE("a user's operator keeps the law of all operators") {
  laws::collector found;
  found.add<swish>();
  const auto subjects = found.subjects();
  REQUIRE(subjects.size() == 2);
  for (const laws::subject& each : subjects) CHECK(laws::judge(each, 100'000, 3, 1).first == "");

  laws::subject careless = subjects[1];
  careless.op.op.roles[0] = role::mapped;  // had we forgotten that rows are contracted
  CHECK(laws::judge(careless, 100'000, 3, 1).broken > 0);
}

TEST_CASE("a user's operator learns what the same pointwise expression learns") {
  const auto fused = losses(classifier<true>(), {}, steps, classes);
  CHECK(fused.back() < 0.7 * fused.front());
  CHECK(same(fused, losses(classifier<false>(), {}, steps, classes)));
}

TEST_CASE("a user's operator learns the same under every plan") {
  const auto whole = losses(classifier<true>(), {}, steps, classes);
  for (const int ranks : {2, 3, 4}) {
    CHECK(same(whole, losses(classifier<true>(), data_parallel(ranks), steps, classes)));
    CHECK(same(whole, losses(classifier<true>(), zero(3, ranks), steps, classes)));
    CHECK(same(whole, losses(classifier<true>(), split_all<axis::mlp, mesh::tensor>(ranks), steps, classes)));
  }
  CHECK(same(whole,
             losses(classifier<true>(), data_parallel(2) & split_all<axis::mlp, mesh::tensor>(2), steps, classes)));
}
