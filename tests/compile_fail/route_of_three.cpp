// SPDX-License-Identifier: Apache-2.0
// Routing to three experts.
// expected: meshloom: route: a token has 1 choice or 2
#include <meshloom/op/routing.hpp>

#if defined(MESHLOOM_MUST_FAIL)
constexpr int choices = 3;
#else
constexpr int choices = 2;
#endif

static_assert(meshloom::op::route<1, choices>::signature.operand_count == 1);
