// SPDX-License-Identifier: Apache-2.0
// Every axis of the model needs a size.
// expected: meshloom: sizes: the model uses an axis that has no size
#include <meshloom/model/training.hpp>

namespace ml = meshloom;
using namespace ml::axis;

#if defined(MESHLOOM_MUST_FAIL)
constexpr ml::sizes all_sizes{ml::size<batch>{8}, ml::size<seq>{16}, ml::size<embed>{32}, ml::size<vocab>{50}};
#else
constexpr ml::sizes all_sizes{ml::size<batch>{8}, ml::size<seq>{16}, ml::size<embed>{32}, ml::size<vocab>{50},
                              ml::size<mlp>{64}};
#endif

ml::graph trace_it() {
  return ml::trace(
      ml::training{.model = ml::embedding<vocab, embed>{} | ml::linear<embed, mlp>{} | ml::linear<mlp, vocab>{},
                   .loss = ml::cross_entropy<vocab>{},
                   .optimizer = ml::sgd{},
                   .sizes = all_sizes});
}
