// SPDX-License-Identifier: Apache-2.0
// A vector of elements that `operator new` does not align.
// expected: meshloom::vector: elements of a larger alignment than operator new has need a std::vector
#include <meshloom/base/vector.hpp>

#if defined(MESHLOOM_MUST_FAIL)
struct alignas(64) element {
#else
struct element {
#endif
  char bytes[64];
};

std::size_t copied() { return meshloom::vector<element>{element{}, element{}}.size(); }
