// SPDX-License-Identifier: Apache-2.0
// A number where an optimizer should be.
// expected: meshloom: training: .optimizer is not an optimizer
#include <meshloom/model/training.hpp>

namespace ml = meshloom;
using namespace ml::axis;

constexpr ml::training task{.model = ml::linear<embed, vocab>{},
                            .loss = ml::cross_entropy<vocab>{},
#if defined(MESHLOOM_MUST_FAIL)
                            .optimizer = 0.1,
#else
                            .optimizer = ml::sgd{.rate = 0.1},
#endif
                            .sizes = ml::sizes{ml::size<batch>{8}, ml::size<embed>{32}, ml::size<vocab>{50}}};
static_assert(task.sizes.get<batch>() == 8);
