// SPDX-License-Identifier: Apache-2.0
// A square weight: its two sides are two axes.
// expected: meshloom: tensor: one axis comes twice
#include "layers.hpp"

#if defined(MESHLOOM_MUST_FAIL)
void trace_it() { traced(ml::linear<embed, embed>{}); }
#else
void trace_it() { traced(ml::linear<embed, ml::keys<embed>>{}); }
#endif
