// SPDX-License-Identifier: Apache-2.0
// Laws of model/wide_resnet.hpp: Alpa's models have the parameters that were measured, and their convolutions compute
// what their shapes say, three times (the image has no gradient).
#include <meshloom/model/wide_resnet.hpp>

#include "counts.hpp"

#include <doctest/doctest.h>

using namespace meshloom;

namespace {

/// Parameters of one network, and what its products compute for one image.
struct totals {
  std::int64_t parameters = 0;
  double flops = 0;

  void convolve(std::int64_t taps, std::int64_t in, std::int64_t out, std::int64_t pixels, int passes = 3) {
    parameters += taps * in * out + 2 * out;  // a batch norm after each
    flops += 2.0 * passes * static_cast<double>(taps * in * out * pixels * pixels);
  }
};

totals totals_of(const wide_resnet_shape<4>& of) {
  totals made;
  made.convolve(49, 3, of.base, of.high / 2, 2);
  std::int64_t in = of.base, pixels = of.high / 4;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    const std::int64_t base = of.base << stage, entry = base * of.entry_widening, inner = base * of.widening;
    for (std::int32_t block = 0; block < of.depth[stage]; ++block) {
      made.convolve(1, in, entry, pixels);
      if (stage > 0 && block == 0) pixels /= 2;
      made.convolve(9, entry, inner, pixels);
      made.convolve(1, inner, 4 * base, pixels);
      if (block == 0) made.convolve(1, in, 4 * base, pixels);
      in = 4 * base;
    }
  }
  made.parameters += in * of.classes + of.classes;
  made.flops += 6.0 * static_cast<double>(in * of.classes);
  return made;
}

graph traced(const wide_resnet_shape<4>& of) { return trace(wide_resnet_training<stem::large>(of, sgd{})); }

}  // namespace

TEST_CASE("Alpa's Wide-ResNets have the parameters of their shapes and compute what these say") {
  for (const auto& each : alpa_wide_resnets) {
    CAPTURE(each.name);
    const graph made = traced(each);
    const totals expected = totals_of(each);
    CHECK(check(made) == vector<std::string>{});
    CHECK(counts::parameters_of(made) == expected.parameters);
    CHECK(contraction_flops(made) == doctest::Approx(expected.flops * static_cast<double>(each.batch)).epsilon(1e-12));
  }
  CHECK(counts::parameters_of(traced(wrn_medium)) == totals_of(wrn_medium).parameters);
}

TEST_CASE("Alpa's Wide-ResNets have the billions of parameters that were measured") {
  const double measured[] = {0.2541, 0.495, 1.0057, 1.965, 4.0009, 6.7277};
  for (std::size_t which = 0; which < std::size(measured); ++which) {
    CHECK(static_cast<double>(totals_of(alpa_wide_resnets[which]).parameters) * 1e-9 ==
          doctest::Approx(measured[which]).epsilon(1e-4));
  }
  wide_resnet_shape<4> artifact = alpa_wide_resnets[5];  // what ran under the name of 13 billion
  artifact.widening = 32;
  CHECK(static_cast<double>(totals_of(artifact).parameters) * 1e-9 == doctest::Approx(13.2671).epsilon(1e-5));
}
