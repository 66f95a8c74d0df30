// SPDX-License-Identifier: Apache-2.0
// Two axes with one printed name: a plan file could not tell them apart.
// expected: meshloom: sizes: two axes have the same printed name
#include <meshloom/tensor/sizes.hpp>

namespace ml = meshloom;

namespace picture {
#if defined(MESHLOOM_MUST_FAIL)
struct batch;
using samples = batch;
#else
struct samples;
#endif
}  // namespace picture

constexpr ml::sizes both{ml::size<ml::axis::batch>{8}, ml::size<picture::samples>{2}};
static_assert(both.get<ml::axis::batch>() == 8);
