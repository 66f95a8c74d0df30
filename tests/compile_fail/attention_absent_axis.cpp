// SPDX-License-Identifier: Apache-2.0
// Attention over a sequence axis that the tensor does not have.
// expected: meshloom: attention and causal_attention<Seq, Feature, Heads, Head>: the input tensor must have the axes
#include "layers.hpp"

#if defined(MESHLOOM_MUST_FAIL)
void trace_it() { traced(ml::causal_attention<mlp, embed, heads, head>{}); }
#else
void trace_it() { traced(ml::causal_attention<seq, embed, heads, head>{}); }
#endif
