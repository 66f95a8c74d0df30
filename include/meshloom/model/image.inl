// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/sentence.hpp>
#include <meshloom/model/image.hpp>

namespace meshloom::detail {

MESHLOOM_INLINE void check_windows(std::string_view function, const stencil& shape, const sized_axis& in,
                                   const sized_axis& out) {
  if (shape.taps < 1 || shape.stride < 1 || shape.dilation < 1 || shape.padding < 0) {
    throw error(sentence({function, ": windows with positions along ", out.name, " have ", shape.taps, " taps, stride ",
                          shape.stride, ", dilation ", shape.dilation, " and padding ", shape.padding,
                          "; give at least 1, 1, 1 and 0"}));
  }
  const std::int64_t fitting = shape.positions(in.extent);
  if (fitting == 0)
    throw error(sentence({function, ": no window of ", shape.taps, " taps along ", out.name, " lies within ", in.extent,
                          " elements and their padding; use fewer taps or more padding"}));
  if (fitting != out.extent) {
    throw error(sentence({function, ": windows over ", in.extent, " elements have ", fitting,
                          " positions, but the size of ", out.name, " is ", out.extent, "; make it ", fitting}));
  }
}

}  // namespace meshloom::detail
