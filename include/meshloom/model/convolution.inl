// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/sentence.hpp>
#include <meshloom/model/convolution.hpp>

namespace meshloom::detail {

MESHLOOM_INLINE void check_stencil(const stencil& shape, const sized_axis& from, const sized_axis& to,
                                   const sized_axis& taps) {
  const std::string function = sentence({"convolve over ", from.name, ": "});
  const auto moves = [&shape](std::string_view last) {
    return sentence({"stride ", shape.stride, ", padding ", shape.padding, last, shape.dilation});
  };
  if (shape.taps < 1 || shape.stride < 1 || shape.padding < 0 || shape.dilation < 1)
    throw error(sentence({function, "taps ", shape.taps, ", ", moves(" and dilation "),
                          " are no stencil; give taps, stride and dilation of 1 or more and a padding of 0 or more"}));
  if (taps.extent != shape.taps)
    throw error(sentence({function, "the weight's axis ", taps.name, " has ", taps.extent, " elements, the stencil ",
                          shape.taps, " taps; make them equal"}));
  const std::int64_t positions = shape.positions(from.extent);
  if (positions != to.extent)
    throw error(sentence({function, shape.taps, " taps with ", moves(" and dilation "), " have ", positions,
                          " positions on its ", from.extent, " elements, but ", to.name, " has ", to.extent,
                          "; give that axis the size ", positions, ", or change the stencil"}));
}

}  // namespace meshloom::detail
