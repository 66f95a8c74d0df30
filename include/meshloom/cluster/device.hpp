// SPDX-License-Identifier: Apache-2.0
// A device: the hardware behind one rank, as the rates that a roofline needs (Williams et al. 2009). Plain data: a
// preset, a probe or a file fills it, and nothing here measures anything.
#pragma once

#include <meshloom/base/units.hpp>

#include <cstdint>
#include <string>

namespace meshloom {

struct device {
  std::string name{};
  bytes memory{};                     ///< what one rank may hold
  double flops_per_second = 0;        ///< in f32: what large products reach
  double half_flops_per_second = 0;   ///< likewise of bf16 or f16, summed as f32; 0: as fast as in f32
  std::int64_t bytes_per_second = 0;  ///< of its memory, read and written together
  picoseconds launch{};               ///< what starting one kernel costs

  bool operator==(const device&) const = default;
};

}  // namespace meshloom
