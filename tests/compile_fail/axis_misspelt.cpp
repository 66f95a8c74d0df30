// SPDX-License-Identifier: Apache-2.0
// Axes are types, so a misspelt one is an undeclared identifier.
// expected: embde
#include <meshloom/model/layers.hpp>

namespace ml = meshloom;
using namespace ml::axis;

#if defined(MESHLOOM_MUST_FAIL)
using layer = ml::linear<embde, mlp>;
#else
using layer = ml::linear<embed, mlp>;
#endif

static_assert(layer::name == "linear");
