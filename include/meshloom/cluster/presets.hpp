// SPDX-License-Identifier: Apache-2.0
// Clusters with names. Their rates are those of data sheets, or assumptions that say so; a probe of the real machine
// replaces them.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/cluster/cluster.hpp>

#include <string_view>

namespace meshloom {

/// One host whose `ranks` CPU ranks share its memory; throws `error` unless `ranks` is at least 1. Assumed of every
/// rank: a core that does 100 GFLOP/s in a large GEMM, in 16 bits as in 32 (without AMX and AVX512-BF16), and moves
/// 10 GB/s to and from memory, 4 GiB to use, a link through shared memory of 3 GB/s and 5 µs, 1 µs to start a kernel.
cluster local(std::int32_t ranks);

/// Hosts of the Alpa evaluation (Zheng et al. 2022, section 8): AWS p3.16xlarge, 8 NVIDIA V100 of 16 GB, 25 Gbit/s of
/// Ethernet between hosts; throws `error` unless `hosts` is at least 1. From the V100 data sheet: 15.7 TFLOP/s in f32,
/// 125 TFLOP/s in products of f16 (its tensor cores know no bf16; that is priced alike), 900 GB/s of memory, six
/// NVLinks of 25 GB/s in each direction. Assumed: latencies of 5 µs within and 30 µs between hosts, 5 µs to launch a
/// kernel.
cluster p3_16xlarge(std::int32_t hosts);

/// The preset that a word and a number name: "local:4" (ranks) or "p3.16xlarge:8" (hosts). A failure lists those known.
result<cluster> find_cluster(std::string_view said);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/cluster/presets.inl>
#endif
