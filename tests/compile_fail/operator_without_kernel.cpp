// SPDX-License-Identifier: Apache-2.0
// A run of a model whose operator has no kernel.
// expected: meshloom: start: an operator of the model has no kernel
#include <meshloom/exec/host.hpp>

namespace ml = meshloom;
using namespace ml::axis;

struct mirror {
  using list = ml::at<0, 1, 2>;
  static constexpr auto signature = ml::describe("mirror").operands<list>().results<list>().made;
  using gradient = ml::operators<>;
#if !defined(MESHLOOM_MUST_FAIL)
  using kernel = ml::kernel_of<ml::op::pointwise<ml::op::negate<ml::op::operand<0>>, list, list>>;
#endif
};

struct mirrored {
  static constexpr std::string_view name = "mirrored";
  template <class... Axis>
  auto operator()(auto& scope, const ml::tensor<Axis...>& x) const {
    return ml::tensor<Axis...>{scope.template emit<mirror>(ml::axes<Axis...>{}, {}, x)[0]};
  }
};

void start_it(const ml::program& made) {
  const ml::training task{
      .model = ml::embedding<vocab, embed>{} | mirrored{} | ml::linear<embed, vocab>{},
      .loss = ml::cross_entropy<vocab>{},
      .optimizer = ml::sgd{},
      .sizes = ml::sizes{ml::size<batch>{8}, ml::size<seq>{16}, ml::size<embed>{32}, ml::size<vocab>{50}}};
  const auto run = ml::start(ml::host{}, made, task);
}
