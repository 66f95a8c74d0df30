// SPDX-License-Identifier: Apache-2.0
// Tokens fed to a layer of numbers: the embedding was forgotten.
// expected: meshloom: a layer cannot take what comes before it
#include <meshloom/model/training.hpp>

namespace ml = meshloom;
using namespace ml::axis;

#if defined(MESHLOOM_MUST_FAIL)
constexpr auto model = ml::linear<embed, mlp>{} | ml::linear<mlp, vocab>{};
#else
constexpr auto model = ml::embedding<vocab, embed>{} | ml::linear<embed, mlp>{} | ml::linear<mlp, vocab>{};
#endif

ml::graph trace_it() {
  return ml::trace(ml::training{.model = model,
                                .loss = ml::cross_entropy<vocab>{},
                                .optimizer = ml::sgd{},
                                .sizes = ml::sizes{ml::size<batch>{8}, ml::size<seq>{16}, ml::size<embed>{32},
                                                   ml::size<mlp>{64}, ml::size<vocab>{50}}});
}
