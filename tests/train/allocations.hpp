// SPDX-License-Identifier: Apache-2.0
// Counts what the whole process asks the heap for, on every thread and inside every library: the allocation functions
// of this program come before those of the C library (see allocations.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace allocations {

/// False under a sanitizer, in a static program and outside glibc: there nothing is counted.
bool counted();

/// Calls of malloc, calloc, realloc, aligned_alloc, posix_memalign, memalign and every operator new so far.
std::int64_t count();

/// While it lives, keeps the sizes of aligned allocations of the thread that made it: how arenas are allocated.
class aligned_sizes {
 public:
  aligned_sizes();
  ~aligned_sizes();
  aligned_sizes(const aligned_sizes&) = delete;
  aligned_sizes& operator=(const aligned_sizes&) = delete;

  std::vector<std::int64_t> seen() const;
};

}  // namespace allocations
