// SPDX-License-Identifier: Apache-2.0
// Layer normalisation over an axis that is not the last one.
// expected: meshloom: layer_norm: the normalised axis must be the last axis of the input
#include "layers.hpp"

#if defined(MESHLOOM_MUST_FAIL)
void trace_it() { traced(ml::layer_norm<seq>{}); }
#else
void trace_it() { traced(ml::layer_norm<embed>{}); }
#endif
