// SPDX-License-Identifier: Apache-2.0
// A vector of elements that may throw as they are moved.
// expected: meshloom::vector: elements are moved as it grows, which must not throw
#include <meshloom/base/vector.hpp>

struct element {
#if defined(MESHLOOM_MUST_FAIL)
  element(element&&) {}
#else
  element(element&&) noexcept {}
#endif
  element() = default;
};

void grow(meshloom::vector<element>& elements) { elements.emplace_back(); }
