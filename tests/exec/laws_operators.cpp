// SPDX-License-Identifier: Apache-2.0
#include <meshloom/model/training.hpp>

#include "laws_operators.hpp"

namespace laws {
namespace {

using namespace meshloom::axis;

constexpr sizes of_both{size<batch>{1}, size<seq>{1}, size<embed>{1}, size<heads>{1},
                        size<head>{1},  size<mlp>{1}, size<vocab>{1}};

/// Every layer: attention, a hidden layer, norms, residuals, and a head tied to the embedding.
auto transformer() {
  const auto attend = residual(meshloom::layer_norm<embed>{}, causal_attention<seq, embed, heads, head>{});
  const auto think =
      residual(meshloom::layer_norm<embed>{}, linear<embed, mlp>{}, meshloom::gelu{}, linear<mlp, embed>{});
  const auto model = embedding<vocab, embed>{.table = "tokens"} | positions<seq, embed>{} | repeat(2, attend | think) |
                     linear_without_bias<embed, mlp>{} | meshloom::relu{} | linear<mlp, embed>{} |
                     unembedding<embed, vocab>{.table = "tokens"};
  return training{
      .model = model, .loss = meshloom::cross_entropy<vocab>{}, .optimizer = meshloom::adamw{}, .sizes = of_both};
}

template <int... Index>
using list = meshloom::at<Index...>;
template <int Index>
using x = op::operand<Index>;

/// What no layer of the transformer uses.
void add_others(collector& into) {
  into.add<op::dot<list<0>, list<1>, list<0, 1>>>();
  into.add<op::dot<list<0, 1>, list<0, 1>, list<>>>();
  into.add<op::dot<list<1, 0>, list<2, 1>, list<2, 0>>>();
  into.add<op::dot<list<0, 1, 2>, list<2, 1, 3>, list<0, 3>>>();
  into.add<op::pointwise<op::add<x<0>, op::add<x<1>, x<2>>>, list<0, 1>, list<0, 1>, list<0, 1>, list<0, 1>>>();
  into.add<op::pointwise<op::subtract<x<0>, op::multiply<x<1>, x<2>>>, list<0, 1>, list<0, 1>, list<1>, list<0>>>();
  into.add<op::pointwise<op::divide<x<0>, x<1>>, list<0, 1>, list<0, 1>, list<1>>>();
  into.add<op::pointwise<op::divide<op::one, op::add<op::one, op::exponential<op::negate<x<0>>>>>, list<0, 1>,
                         list<0, 1>>>();
  into.add<op::pointwise<op::multiply<op::sigmoid<x<0>>, op::hyperbolic_tangent<x<1>>>, list<0, 1, 2>, list<0, 1, 2>,
                         list<1, 2>>>();
  into.add<op::pointwise<op::gelu<op::add<x<0>, x<1>>>, list<1, 0>, list<0, 1>, list<0>>>();
  into.add<op::sum<list<0, 1, 2>, list<1>>>();
  into.add<op::sum<list<0, 1, 2>, list<2, 0>>>();
  into.add<op::sum<list<0, 1>, list<>>>();
  into.add<op::broadcast<list<1>, list<0, 1, 2>>>();
  into.add<op::lookup<1>>();
  into.add<op::softmax<1, false>>();
  into.add<op::softmax<3, false>>();
  into.add<op::softmax<2, true>>();
  into.add<op::softmax<4, true>>();
  into.add<op::dot<list<0, 1, 2, 3>, list<0, 4, 2, 3>, list<0, 2, 1, 4>>>();
  into.add<op::dot<list<0, 1, 2, 3>, list<0, 3, 1, 4>, list<0, 2, 1, 4>>>();
  into.add<op::attention<0, true>>();
  into.add<op::attention<2, false>>();
  into.add<op::attention<1, false, true>>();
  into.add<op::attention<1, true, true>>();
  into.add<op::layer_norm<1>>();
  into.add<op::layer_norm<2>>();
  into.add<op::cross_entropy<1>>();
  into.add<op::route<1, 1>>();
  into.add<op::route<2, 2>>();
  into.add<op::dispatch<1, true>>();
  into.add<op::dispatch<2, false>>();
  into.add<op::batch_norm<2>>();
  into.add<op::batch_norm<4>>();
  into.add<op::batch_norm<3, 2>>();
  into.add<op::batch_norm_inference<2>>();
  into.add<op::batch_norm_inference<4, 2>>();
  into.add<op::convolution<op::channels::dense>>();
  into.add<op::convolution<op::channels::grouped>>();
  into.add<op::convolution<op::channels::depthwise>>();
  into.add<op::max_pool>();
  into.add<op::average_pool>();
  into.add<op::moving_average<1>>();
  into.add<op::moving_average<2>>();
  into.add<op::adafactor<0, false>>();
  into.add<op::adafactor<1, true>>();
  into.add<op::adafactor<2, false>>();
  into.add<op::adafactor<2, true>>();
  into.add<op::adafactor<3, true>>();
  into.add<op::adafactor<4, false>>();
  into.add<op::ema<1>>();
  into.add<op::ema<2>>();
  into.add<op::lamb<0>>();
  into.add<op::lamb<1>>();
  into.add<op::lamb<2>>();
  into.add<op::lamb<3>>();
  into.add<op::pointwise<op::multiply<op::silu<x<0>>, x<1>>, list<0, 1>, list<0, 1>, list<0, 1>>>();
  into.add<op::rms_norm<1>>();
  into.add<op::rms_norm<2>>();
  into.add<op::rms_norm<3>>();
  into.add<op::rotary<2, 0>>();
  into.add<op::rotary<3, 1>>();
  into.add<op::rotary<4, 1>>();
  into.add<op::rotary<4, 2>>();
  into.add<op::dropout<1>>();
  into.add<op::dropout<2>>();
  into.add<op::dropout<3>>();
}

}  // namespace

vector<subject> all_subjects() {
  collector found;
  for_each_operator(transformer(), found);
  for_each_operator(training{.model = linear<embed, vocab>{},
                             .loss = meshloom::cross_entropy<vocab>{},
                             .optimizer = meshloom::sgd{},
                             .sizes = of_both,
                             .input = tensor<batch, embed>{},
                             .target = integers<batch>{}},
                    found);
  add_others(found);
  return found.subjects();
}

}  // namespace laws
