// SPDX-License-Identifier: Apache-2.0
// A pin of an axis that the layer's result does not have.
// expected: meshloom: pinned: the layer's result does not have the axis to split
#include "layers.hpp"

#include <meshloom/model/pin.hpp>

#if defined(MESHLOOM_MUST_FAIL)
void trace_it() { traced(ml::pinned(ml::linear<embed, mlp>{}, ml::split<embed, ml::mesh::tensor>{})); }
#else
void trace_it() { traced(ml::pinned(ml::linear<embed, mlp>{}, ml::split<mlp, ml::mesh::tensor>{})); }
#endif
