// SPDX-License-Identifier: Apache-2.0
// Random numbers by counter: number `index` of stream `number` under a seed, in any order, on any rank. Parameters are
// initialised by global index, so that every way to shard them starts from the same values.
// Law: the same (seed, number, index) gives the same bits everywhere.
// Source: Philox4x32-10, Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011); the normal quantile is
// algorithm AS 241 of Wichura (1988).
#pragma once

#include <meshloom/kernel/math.hpp>
#include <meshloom/tensor/view.hpp>

namespace meshloom {

struct random_block {
  std::uint32_t word[4];
};

/// Philox4x32 with 10 rounds: a keyed bijection of 128-bit counters. Inlined, for loops over it to be vectorised.
[[gnu::always_inline]] MESHLOOM_DEVICE constexpr random_block philox(random_block counter, std::uint32_t key0,
                                                                     std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t even = std::uint64_t{0xD2511F53} * counter.word[0];
    const std::uint64_t odd = std::uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {{static_cast<std::uint32_t>(odd >> 32) ^ counter.word[1] ^ key0, static_cast<std::uint32_t>(odd),
                static_cast<std::uint32_t>(even >> 32) ^ counter.word[3] ^ key1, static_cast<std::uint32_t>(even)}};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

/// The key of what is drawn in one step of a run; what parameters start from is drawn under the seed itself.
MESHLOOM_DEVICE constexpr std::uint64_t key_of_step(std::uint64_t seed, std::uint64_t step) {
  const random_block made =
      philox({{static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(step >> 32), 0, ~std::uint32_t{0}}},
             static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  return std::uint64_t{made.word[0]} << 32 | made.word[1];
}

/// Uniform in the open interval (0, 1), on a grid of 2⁻⁵².
MESHLOOM_DEVICE constexpr double uniform(std::uint64_t seed, std::uint64_t number, std::uint64_t index) {
  const random_block made = philox({{static_cast<std::uint32_t>(index / 2), static_cast<std::uint32_t>(index >> 33),
                                     static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32)}},
                                   static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  const int half = index % 2 == 0 ? 0 : 2;  // one block serves two neighbours
  const std::uint64_t bits = std::uint64_t{made.word[half]} << 32 | made.word[half + 1];
  return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
}

/// The standard normal quantile of `share` in (0, 1), relative error about 1e-15.
MESHLOOM_DEVICE constexpr double normal_quantile(double share) {
  using math::detail::horner;
  const double q = share - 0.5;
  if (math::magnitude(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q *
           horner(r, 3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
                  4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3) /
           horner(r, 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                  2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3);
  }
  const double r = math::sqrt(-math::log(q < 0 ? share : 1 - share));
  double size = 0;
  if (r <= 5) {
    const double t = r - 1.6;
    size = horner(t, 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                  3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                  2.27238449892691845833e-2, 7.74545014278341407640e-4) /
           horner(t, 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                  1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                  1.05075007164441684324e-9);
  } else {
    const double t = r - 5;
    size = horner(t, 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                  2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                  2.71155556874348757815e-5, 2.01033439929228813265e-7) /
           horner(t, 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                  7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
                  2.04426310338993978564e-15);
  }
  return q < 0 ? -size : size;
}

/// Standard normal.
MESHLOOM_DEVICE constexpr double normal(std::uint64_t seed, std::uint64_t number, std::uint64_t index) {
  return normal_quantile(uniform(seed, number, index));
}

namespace detail {

/// Sets every element of a shard to value(row-major index in the whole tensor).
template <class Element, class Value>
void fill_shard(const view& shard, Value value) {
  const std::int64_t count = shard.count();
  for (std::int64_t which = 0; which < count; ++which) {
    std::int64_t rest = which, offset = 0, index = 0, step = 1;
    for (int axis = shard.rank - 1; axis >= 0; --axis) {
      const std::int64_t at = rest % shard.extent[axis];
      rest /= shard.extent[axis];
      offset += at * shard.stride[axis];
      index += (shard.origin[axis] + at) * step;
      step *= shard.global[axis];
    }
    shard.as<Element>()[offset] = static_cast<computed<Element>>(value(static_cast<std::uint64_t>(index)));
  }
}

template <class Value>
void fill_floating(const view& shard, Value value) {
  with_floating(shard.type, [&]<class Element>(Element) { fill_shard<Element>(shard, value); });
}

}  // namespace detail

/// Fills a shard with normal numbers of mean 0. `number` names the parameter; of a floating type.
inline void fill_normal(const view& shard, std::uint64_t seed, std::uint64_t number, double deviation) {
  detail::fill_floating(shard, [=](std::uint64_t index) { return deviation * normal(seed, number, index); });
}

/// Fills a shard with one value; of a floating type.
inline void fill_constant(const view& shard, double value) {
  detail::fill_floating(shard, [=](std::uint64_t) { return value; });
}

}  // namespace meshloom
