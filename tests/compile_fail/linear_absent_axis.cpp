// SPDX-License-Identifier: Apache-2.0
// A layer fed a tensor that lacks the axis that it contracts.
// expected: meshloom: linear<In, Out>: the input tensor does not have the axis In
#include "layers.hpp"

#if defined(MESHLOOM_MUST_FAIL)
void trace_it() { traced(ml::linear<embed, mlp>{} | ml::linear<embed, mlp>{}); }
#else
void trace_it() { traced(ml::linear<embed, mlp>{} | ml::linear<mlp, embed>{}); }
#endif
