// SPDX-License-Identifier: Apache-2.0
// The probe: what this machine does when all its ranks work at once, as in a run. It times matrix products, copies, the
// start of a kernel and the collectives of exec/shared_memory.hpp, and fits the cluster that the planner prices with.
// Laws: a time is the median of several, each until the slowest rank is done; which samples there are depends on the
// number of ranks, and on the sizes of cache and memory; nothing is written to disk.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/cluster.hpp>
#include <meshloom/exec/host.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <thread>

namespace meshloom {

/// One piece of work that every rank did, at once, and the time it took.
struct sample {
  enum kind_type : std::uint8_t { product, copy, launch, exchange } kind = launch;
  collective how = collective::slice;  ///< of an exchange
  dtype type = dtype::f32;             ///< of what is multiplied
  bytes moved{};                       ///< operands and results of a rank; of an exchange the whole buffer, as priced
  flops done{};                        ///< by a rank
  picoseconds time{};

  bool operator==(const sample&) const = default;
};

struct probe {
  std::int32_t ranks = 1;
  bytes memory{};  ///< free for each rank; a share of 4 GiB where the system does not say
  vector<sample> samples{};
};

/// The link with which `price` of collective.hpp comes nearest to the exchanges among the samples: of all links through
/// two of them, the one with the least sum of |log(price / time)|. Small and large messages count alike, and a few
/// disturbed samples do not move it. Without an exchange it is as fast as can be.
link fit_link(std::int32_t ranks, std::span<const sample> samples);

/// One host whose devices are the ranks: rates of the largest product of either type and of the largest copy, the time
/// of the smallest kernel, the link that fits all exchanges, each with the three digits that it is good for. Products
/// of bf16 may well be slower than those of f32: where only the latter have instructions. A single rank exchanges
/// nothing; its link is a copy through memory.
cluster cluster_of(const probe& measured);

namespace detail {

/// What one rank does again and again.
using rank_work = std::function<void()>;
/// Makes the product of square matrices with `n` rows, on the thread of the rank that multiplies them.
using product_maker = std::function<rank_work(dtype type, std::int64_t n)>;

template <class Arithmetic, class Element>
rank_work square_product(std::int64_t n) {
  const auto size = static_cast<std::size_t>(n * n);
  return [own = std::make_shared<Arithmetic>(), n, a = vector<Element>(size, Element(1.0f)),
          b = vector<Element>(size, Element(2.0f)), c = vector<Element>(size)]() mutable {
    own->gemm(n, n, n, a.data(), n, 1, b.data(), n, 1, false, c.data(), n, 1);
  };
}

/// `arithmetic` makes products for each rank; `kernel` computes a single number.
probe measure(std::int32_t ranks, const product_maker& arithmetic, kernel_function kernel);

}  // namespace detail

/// How many ranks can compute at once.
inline std::int32_t cores() { return std::max(static_cast<std::int32_t>(std::thread::hardware_concurrency()), 1); }

/// Measures for about two seconds on idle cores. More ranks than cores share them, and are measured so; it takes
/// longer. Throws meshloom::error if a rank gets no thread or memory, or its arithmetic fails.
template <class Arithmetic = plain>
probe probe_machine(std::int32_t ranks = cores()) {
  const auto session = session_of<Arithmetic>();
  const auto arithmetic = [](dtype type, std::int64_t n) {
    return type == dtype::bf16 ? detail::square_product<Arithmetic, bf16>(n)
                               : detail::square_product<Arithmetic, float>(n);
  };
  return detail::measure(ranks, arithmetic, &detail::run_kernel<op::fill, float, Arithmetic>);
}

/// This machine as a cluster; `this_machine<cblas>()` if a vendor's products will be run.
template <class Arithmetic = plain>
cluster this_machine(std::int32_t ranks = cores()) {
  return cluster_of(probe_machine<Arithmetic>(ranks));
}

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/exec/probe.inl>
#endif
