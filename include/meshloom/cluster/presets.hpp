// SPDX-License-Identifier: Apache-2.0
// Clusters with names. Their rates are those of data sheets and published measurements, or assumptions that say so; a
// probe of the real machine replaces them.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/cluster/cluster.hpp>

#include <string_view>

namespace meshloom {

/// One host whose `ranks` CPU ranks share its memory; throws `error` unless `ranks` is at least 1. Assumed of every
/// rank: a core that does 100 GFLOP/s in a large GEMM, in 16 bits as in 32 (without AMX and AVX512-BF16), and moves
/// 10 GB/s to and from memory, 4 GiB to use, a link through shared memory of 3 GB/s and 5 µs, 1 µs to start a kernel.
cluster local(std::int32_t ranks);

// Of the GPUs below, memory, bandwidths and rates in f32 are from NVIDIA's data sheets (of dense products, without
// TF32), those of 16 bits what measurements of large products in cuBLAS reached, each named: a peak is reached by none.
// Links are the data sheets' NVLinks of a GPU and the host's network adapters for GPUs together, in each direction.
// Assumed: latencies of 5 µs within hosts, between them of 30 µs over TCP, 20 µs over EFA and 10 µs over InfiniBand,
// and 5 µs to launch a kernel. All throw `error` unless `hosts` is at least 1.

/// Hosts of the Alpa evaluation (Zheng et al. 2022, section 8): AWS p3.16xlarge, 8 NVIDIA V100 of 16 GB, 25 Gbit/s of
/// Ethernet between hosts. In products of f16 83 TFLOP/s of 125, and a seventh of that in f32, of 15.7 (Markidis et al.
/// 2018, "NVIDIA Tensor Core Programmability, Performance & Precision"); tensor cores of V100 know no bf16, which is
/// priced alike. 900 GB/s of memory, six NVLinks of 25 GB/s.
cluster p3_16xlarge(std::int32_t hosts);

/// AWS p4d.24xlarge: 8 NVIDIA A100 of 40 GB and 1,555 GB/s, and 400 Gbit/s of EFA. Products as those of a `dgx_a100`.
cluster p4d_24xlarge(std::int32_t hosts);

/// DGX A100: 8 NVIDIA A100 SXM of 80 GB and 2,039 GB/s, 300 GB/s of NVLink, 8 × 200 Gbit/s of InfiniBand. 19.5 TFLOP/s
/// in f32; in products of 16 bits 271.2 of 312 (Bekman, "Machine Learning Engineering", maximum achievable matmul
/// FLOPS).
cluster dgx_a100(std::int32_t hosts);

/// DGX H100: 8 NVIDIA H100 SXM of 80 GB and 3,350 GB/s, 450 GB/s of NVLink, 8 × 400 Gbit/s of InfiniBand. 67 TFLOP/s in
/// f32; in products of 16 bits 794.5 of 989.4 (Bekman).
cluster dgx_h100(std::int32_t hosts);

/// GB200 NVL72: each host is a domain of 72 NVIDIA B200 GPUs that NVLink joins, each with 186 GB, 8 TB/s of memory,
/// 900 GB/s of NVLink and 400 Gbit/s of InfiniBand between domains. 80 TFLOP/s in f32; in products of 16 bits 2,500
/// TFLOP/s, times the share of its peak that a B200 reaches, 1,745 of 2,250 (Bekman).
cluster gb200_nvl72(std::int32_t domains);

/// The preset that a word and a number name: "local:4" (ranks), "p3.16xlarge:8", "dgx_h100:128" (hosts) and so on, or
/// "gb200_nvl72:2" (domains). A failure lists those known.
result<cluster> find_cluster(std::string_view said);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/cluster/presets.inl>
#endif
