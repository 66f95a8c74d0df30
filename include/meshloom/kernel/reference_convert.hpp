// SPDX-License-Identifier: Apache-2.0
// Conversions between element types again, obviously right: element by element, as the views say. Law: what is read is
// exact; what is written is rounded to the type of the result, once.
#pragma once

#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/convert.hpp>

namespace meshloom::reference {

namespace detail {

template <int From>
struct copying {
  static void run(const space& s) {
    point at{};
    s.over(s.op.results[0], at, [&] { s.write(0, at, s.operand(From, at)); });
  }
};

}  // namespace detail

template <int Rank>
struct rule<op::narrow<Rank>> : detail::copying<0> {};
template <int Rank>
struct rule<op::widen<Rank>> : detail::copying<0> {};
template <int Rank>
struct rule<op::store_rounded<Rank>> : detail::copying<1> {};

}  // namespace meshloom::reference
