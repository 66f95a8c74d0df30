// SPDX-License-Identifier: Apache-2.0
// A number where an optimizer should be.
// expected: meshloom: training: .optimizer is not an optimizer
#include <meshloom/model/training.hpp>

namespace ml = meshloom;
using namespace ml::axis;

#if defined(MESHLOOM_MUST_FAIL)
constexpr double rule = 0.1;
#else
constexpr ml::sgd rule{.rate = 0.1};
#endif

constexpr ml::sizes all_sizes{ml::size<batch>{8}, ml::size<embed>{32}, ml::size<vocab>{50}};
constexpr ml::training task{
    .model = ml::linear<embed, vocab>{}, .loss = ml::cross_entropy<vocab>{}, .optimizer = rule, .sizes = all_sizes};
static_assert(task.sizes.get<batch>() == 8);
