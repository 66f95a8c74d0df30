// SPDX-License-Identifier: Apache-2.0
// A repeated block whose output cannot be its next input.
// expected: meshloom: repeat: the block must return a tensor with the axes of its input
#include "layers.hpp"

#if defined(MESHLOOM_MUST_FAIL)
void trace_it() { traced(ml::repeat(4, ml::linear<embed, mlp>{} | ml::gelu{})); }
#else
void trace_it() { traced(ml::repeat(4, ml::linear<embed, mlp>{} | ml::gelu{} | ml::linear<mlp, embed>{})); }
#endif
