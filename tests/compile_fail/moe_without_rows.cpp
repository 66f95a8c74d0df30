// SPDX-License-Identifier: Apache-2.0
// Experts for tokens along an axis that is not the last but one.
// expected: meshloom: moe<Token, Feature, …>: the last axes of the input must be Token and Feature
#include "layers.hpp"

#include <meshloom/model/moe.hpp>

#if defined(MESHLOOM_MUST_FAIL)
void trace_it() { traced(ml::moe<batch, embed, heads, head, mlp>{}); }
#else
void trace_it() { traced(ml::moe<seq, embed, heads, head, mlp>{}); }
#endif
