// SPDX-License-Identifier: Apache-2.0
// A team: the workers that run one task of a kernel together. On CUDA a thread block, on the host one thread with SIMD
// lanes. Kernels are written once against `for_each` and `reduce`, and never mention threads or lanes.
// Law: the calls f(0), …, f(n-1) of one `for_each` or `reduce` are independent: none reads what another writes, except
// that a call may read the element it writes. All members of a team make the same calls in the same order.
#pragma once

#include <meshloom/base/config.hpp>

#include <cstdint>

namespace meshloom {

namespace detail {

template <class Element>
inline constexpr int is_written = 1;
template <class Element>
inline constexpr int is_written<const Element> = 0;

}  // namespace detail

struct addition {
  template <class Element>
  MESHLOOM_DEVICE Element operator()(Element a, Element b) const {
    return a + b;
  }
};

struct maximum {
  template <class Element>
  MESHLOOM_DEVICE Element operator()(Element a, Element b) const {
    return a < b ? b : a;
  }
};

/// The loop has nothing to do besides.
struct no_work {
  MESHLOOM_DEVICE void operator()(std::int64_t) const {}
};

/// One host thread. Loops are plain, so that the compiler vectorises them; a reduction keeps one partial result per
/// lane, because a compiler may not reorder floating-point sums by itself. 64 lanes, not the 16 of one vector: g++ 12
/// unrolls loops of up to 16 rounds before it vectorises and then fails to, and several vectors hide the latency.
struct host_team {
  static constexpr int lanes = 64;

  MESHLOOM_DEVICE bool leader() const { return true; }
  MESHLOOM_DEVICE void sync() const {}

  /// How many elements ahead to fetch what is streamed in rows of n elements: the next row, if rows are short.
  MESHLOOM_DEVICE std::int64_t ahead(std::int64_t n) const { return n < 2048 ? n : 1024; }

  /// Fetches `lanes` elements that will be read, or (where not const) written. May reach beyond the end of a tensor.
  template <class Element>
  MESHLOOM_DEVICE void fetch(Element* data) const {
#if !defined(__CUDACC__)
    constexpr std::int64_t line = 64 / sizeof(Element);
    for (std::int64_t i = 0; i < lanes; i += line) __builtin_prefetch(data + i, detail::is_written<Element>);
#else
    static_cast<void>(data);  // nvcc knows no prefetch in a function for both sides
#endif
  }

  /// f(0), …, f(n-1). `meanwhile(i)` before each `lanes` of them may fetch what is needed later: loops with much
  /// arithmetic otherwise wait for memory and compute in turns.
  template <class Function, class Meanwhile>
  MESHLOOM_DEVICE void for_each(std::int64_t n, Function f, Meanwhile meanwhile) const {
    std::int64_t begin = 0;
    for (; begin + lanes <= n; begin += lanes) {
      meanwhile(begin);
      each(begin, begin + lanes, f);
    }
    each(begin, n, f);
  }
  template <class Function>
  MESHLOOM_DEVICE void for_each(std::int64_t n, Function f) const {
    each(0, n, f);
  }

  /// The same where f branches or has loops of its own, so that lanes would not serve it.
  template <class Function>
  MESHLOOM_DEVICE void for_each_scalar(std::int64_t n, Function f) const {
    for (std::int64_t i = 0; i < n; ++i) f(i);
  }

  /// f(0) ∘ … ∘ f(n-1) ∘ initial, in an order that depends on n alone; `meanwhile` as above.
  template <class Element, class Combine, class Function, class Meanwhile = no_work>
  MESHLOOM_DEVICE Element reduce(std::int64_t n, Element initial, Combine combine, Function f,
                                 Meanwhile meanwhile = {}) const {
    Element part[lanes];
    for (int lane = 0; lane < lanes; ++lane) part[lane] = initial;
    std::int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      meanwhile(i);
      for (int lane = 0; lane < lanes; ++lane) part[lane] = combine(part[lane], f(i + lane));
    }
    for (int lane = 0; i < n && lane < lanes; ++i, ++lane) part[lane] = combine(part[lane], f(i));
    return fold<lanes / 2>(part, combine);
  }

 private:
  template <class Function>
  MESHLOOM_DEVICE static void each(std::int64_t begin, std::int64_t end, Function f) {
#if defined(__clang__)
#pragma clang loop vectorize(assume_safety)
#elif defined(__GNUC__) && !defined(__CUDACC__)
#pragma GCC ivdep
#endif
    for (std::int64_t i = begin; i < end; ++i) f(i);
  }

  /// Adds up a tree of partial results; its levels are loops of fixed length.
  template <int Half, class Element, class Combine>
  MESHLOOM_DEVICE static Element fold(Element* part, Combine combine) {
    for (int lane = 0; lane < Half; ++lane) part[lane] = combine(part[lane], part[lane + Half]);
    if constexpr (Half == 1)
      return part[0];
    else
      return fold<Half / 2>(part, combine);
  }
};

#if defined(__CUDACC__)
/// A thread block of whole warps, at most 1024 threads.
struct device_team {
  static constexpr int lanes = 1;

  __device__ bool leader() const { return threadIdx.x == 0; }
  __device__ void sync() const { __syncthreads(); }
  __device__ std::int64_t ahead(std::int64_t) const { return 0; }
  template <class Element>
  __device__ void fetch(Element*) const {}  // other blocks hide the latency

  template <class Function, class Meanwhile = no_work>
  __device__ void for_each(std::int64_t n, Function f, Meanwhile = {}) const {
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) f(i);
  }
  template <class Function>
  __device__ void for_each_scalar(std::int64_t n, Function f) const {
    for_each(n, f);
  }

  /// Every thread gets the result.
  template <class Element, class Combine, class Function, class Meanwhile = no_work>
  __device__ Element reduce(std::int64_t n, Element initial, Combine combine, Function f, Meanwhile = {}) const {
    __shared__ Element of_warp[32];
    Element mine = initial;
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) mine = combine(mine, f(i));
    for (int distance = 16; distance > 0; distance /= 2) {
      mine = combine(mine, __shfl_xor_sync(0xffffffffu, mine, distance));
    }
    __syncthreads();  // the scratch of an earlier reduction may still be read
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
    __syncthreads();
    Element all = of_warp[0];
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) all = combine(all, of_warp[warp]);
    return all;
  }
};
#endif

}  // namespace meshloom
