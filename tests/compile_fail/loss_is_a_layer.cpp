// SPDX-License-Identifier: Apache-2.0
// A layer where a loss should be: it does not take targets.
// expected: meshloom: training: .loss cannot be called as loss(scope, output of the model, target)
#include <meshloom/model/training.hpp>

namespace ml = meshloom;
using namespace ml::axis;

#if defined(MESHLOOM_MUST_FAIL)
using loss = ml::linear<embed, vocab>;
#else
using loss = ml::cross_entropy<vocab>;
#endif

ml::graph trace_it() {
  return ml::trace(ml::training{
      .model = ml::embedding<vocab, embed>{} | ml::linear<embed, vocab>{},
      .loss = loss{},
      .optimizer = ml::sgd{},
      .sizes = ml::sizes{ml::size<batch>{8}, ml::size<seq>{16}, ml::size<embed>{32}, ml::size<vocab>{50}}});
}
