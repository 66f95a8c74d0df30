// SPDX-License-Identifier: Apache-2.0
// An axis with the printed name of another one's keys<…>.
// expected: meshloom: sizes: two axes have the same printed name
#include <meshloom/tensor/sizes.hpp>

namespace ml = meshloom;

#if defined(MESHLOOM_MUST_FAIL)
struct seq_keys;
using other = seq_keys;
#else
struct other;
#endif

constexpr ml::sizes both{ml::size<ml::axis::seq>{8}, ml::size<other>{2}};
static_assert(both.get<ml::keys<ml::axis::seq>>() == 8);
