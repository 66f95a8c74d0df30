// SPDX-License-Identifier: Apache-2.0
// One target per sequence for logits per position.
// expected: meshloom: cross_entropy: logits must have the axes of the targets, then the class axis
#include <meshloom/model/training.hpp>

namespace ml = meshloom;
using namespace ml::axis;

#if defined(MESHLOOM_MUST_FAIL)
using target = ml::integers<batch>;
#else
using target = ml::integers<batch, seq>;
#endif

ml::graph trace_it() {
  return ml::trace(
      ml::training{.model = ml::embedding<vocab, embed>{} | ml::linear<embed, vocab>{},
                   .loss = ml::cross_entropy<vocab>{},
                   .optimizer = ml::sgd{},
                   .sizes = ml::sizes{ml::size<batch>{8}, ml::size<seq>{16}, ml::size<embed>{32}, ml::size<vocab>{50}},
                   .target = target{}});
}
