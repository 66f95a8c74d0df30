// SPDX-License-Identifier: Apache-2.0
// The references of what transformers are made of since 2019: RMS norms, rotary positions, dropout. Law: as
// of kernel/reference.hpp, but for the counter that dropout draws by (kernel/random.hpp), which is the kernel's own.
// Source: Zhang and Sennrich 2019, Su et al. 2021, Srivastava et al. 2014.
#pragma once

#include <meshloom/kernel/random.hpp>
#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/dropout.hpp>
#include <meshloom/op/rms_norm.hpp>
#include <meshloom/op/rotary.hpp>

namespace meshloom::reference {

template <int Rank>
struct rule<op::rms_norm<Rank>> {
  static void run(const space& s) {
    using o = op::rms_norm<Rank>;
    point at{};
    s.over(o::rows::list, at, [&] {
      const double squares = s.sum(o::last::list, at, [&] { return s.operand(0, at) * s.operand(0, at); });
      const double rstd = 1 / std::sqrt(squares / static_cast<double>(s.extent(Rank - 1)) + s.attribute(0));
      s.over(o::last::list, at, [&] { s.write(0, at, s.operand(0, at) * rstd * s.operand(1, at)); });
      s.write(1, at, rstd);
    });
  }
};

template <int Rank>
struct rule<op::rms_norm_gradient_input<Rank>> {
  static void run(const space& s) {
    using o = op::rms_norm_gradient_input<Rank>;
    point at{};
    s.over(o::rows::list, at, [&] {
      const double rstd = s.operand(3, at);
      const auto g = [&] { return s.operand(0, at) * s.operand(2, at); };
      const auto normal = [&] { return s.operand(1, at) * rstd; };
      const double slope =
          s.sum(o::last::list, at, [&] { return g() * normal(); }) / static_cast<double>(s.extent(Rank - 1));
      s.over(o::last::list, at, [&] { s.write(0, at, rstd * (g() - normal() * slope)); });
    });
  }
};

template <int Rank>
struct rule<op::rms_norm_gradient_gain<Rank>> {
  static void run(const space& s) {
    using o = op::rms_norm_gradient_gain<Rank>;
    point at{};
    s.over(o::last::list, at, [&] {
      const auto term = [&] { return s.operand(0, at) * s.operand(1, at) * s.operand(2, at); };
      s.write(0, at, s.sum(o::rows::list, at, term), true);
    });
  }
};

template <int Rank, int Seq>
struct rule<op::rotary<Rank, Seq>> {
  static void run(const space& s) {
    const std::int64_t half = s.extent(Rank - 1) / 2;
    point at{};
    s.over(op::rotary<Rank, Seq>::x::list, at, [&] {
      const std::int64_t i = at[Rank - 1], pair = i < half ? i : i - half;
      if (i == 2 * half) return s.write(0, at, s.operand(0, at));
      const double share = static_cast<double>(pair) / static_cast<double>(half);
      const auto position = static_cast<double>(s.with.operand[0].origin[Seq] + at[Seq]);
      const double angle = s.attribute(1) * position * std::pow(s.attribute(0), -share);
      point partner = at;
      partner[Rank - 1] = i < half ? i + half : i - half;
      const double across = i < half ? -s.operand(0, partner) : s.operand(0, partner);
      s.write(0, at, s.operand(0, at) * std::cos(angle) + across * std::sin(angle));
    });
  }
};

template <int Rank>
struct rule<op::dropout<Rank>> {
  static void run(const space& s) {
    const view& x = s.with.operand[0];
    const std::uint64_t key = key_of_step(s.with.seed, s.with.step);
    const std::uint64_t stream =
        static_cast<std::uint64_t>(s.attribute(1)) * (1 << copy_bits) + s.with.number % (1 << copy_bits);
    point at{};
    s.over(op::dropout<Rank>::x::list, at, [&] {
      std::uint64_t place = 0;
      for (int axis = 0; axis < Rank; ++axis) {
        const bool cut = axis == static_cast<int>(s.attribute(2));
        const auto whole = static_cast<std::uint64_t>(x.global[axis]);
        const auto here = static_cast<std::uint64_t>(x.origin[axis] + at[static_cast<std::size_t>(axis)]);
        place = place * whole * (cut ? s.with.micro_batches : 1) + here + (cut ? s.with.micro_batch * whole : 0);
      }
      const std::uint64_t block = place / 512 * 64 + place % 64;
      const random_block drawn =
          philox({{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                   static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
                 static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32));
      const std::uint32_t bits = drawn.word[place / 64 % 4] >> (place / 256 % 2 * 16) & 0xffff;
      const double rate = std::min(65535.0, std::round(s.attribute(0) * 0x1p16)) * 0x1p-16;
      s.write(0, at, bits * 0x1p-16 < rate ? 0 : s.operand(0, at) / (1 - rate));
    });
  }
};

}  // namespace meshloom::reference
