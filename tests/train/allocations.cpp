// SPDX-License-Identifier: Apache-2.0
#include "allocations.hpp"

#include "sanitized.hpp"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

// A static program has one malloc, which cannot be replaced and called; a sanitizer replaces it itself.
#if defined(__GLIBC__) && !defined(TEST_STATIC) && !defined(TEST_SANITIZED)
#define TEST_COUNTS_ALLOCATIONS
#endif

namespace {

constinit std::atomic<std::int64_t> calls{0};

constexpr std::size_t most_sizes = 4096;
constinit thread_local std::int64_t sizes[most_sizes] = {};
constinit thread_local std::size_t sizes_seen = most_sizes;

#ifdef TEST_COUNTS_ALLOCATIONS
void count_call() { calls.fetch_add(1, std::memory_order_relaxed); }

void count_aligned(std::size_t size) {
  count_call();
  if (sizes_seen < most_sizes) sizes[sizes_seen++] = static_cast<std::int64_t>(size);
}
#endif

}  // namespace

namespace allocations {

#ifdef TEST_COUNTS_ALLOCATIONS
bool counted() { return true; }
#else
bool counted() { return false; }
#endif

std::int64_t count() { return calls.load(); }

aligned_sizes::aligned_sizes() { sizes_seen = 0; }
aligned_sizes::~aligned_sizes() { sizes_seen = most_sizes; }
std::vector<std::int64_t> aligned_sizes::seen() const { return {sizes, sizes + sizes_seen}; }

}  // namespace allocations

#ifdef TEST_COUNTS_ALLOCATIONS

extern "C" {

// The C library's own, under the names that stay when its malloc is replaced.
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) noexcept {
  count_call();
  return __libc_malloc(size);
}

void* calloc(std::size_t count, std::size_t size) noexcept {
  count_call();
  return __libc_calloc(count, size);
}

void* realloc(void* memory, std::size_t size) noexcept {
  count_call();
  return __libc_realloc(memory, size);
}

void* memalign(std::size_t alignment, std::size_t size) noexcept {
  count_aligned(size);
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  count_aligned(size);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  count_aligned(size);
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}

}  // extern "C"

#endif
