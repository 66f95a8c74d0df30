// SPDX-License-Identifier: Apache-2.0
// Batch normalisation and its gradients again, obviously right: feature by feature, as their formulas say.
// Law: as of kernel/reference.hpp. Source: Ioffe and Szegedy 2015.
#pragma once

#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/batch_norm.hpp>

namespace meshloom::reference {

template <int Rank, int Features>
struct rule<op::batch_norm<Rank, Features>> {
  static void run(const space& s) {
    using o = op::batch_norm<Rank, Features>;
    const index_list rows = o::rows::list;
    point at{};
    s.over(o::features::list, at, [&] {
      const double count = s.sum(rows, at, [] { return 1.0; });
      const double mean = s.sum(rows, at, [&] { return s.operand(0, at); }) / count;
      const double variance = s.sum(rows, at, [&] { return std::pow(s.operand(0, at) - mean, 2); }) / count;
      const double scale = s.operand(1, at) / std::sqrt(variance + s.attribute(0));
      s.over(rows, at, [&] { s.write(0, at, (s.operand(0, at) - mean) * scale + s.operand(2, at)); });
      s.write(1, at, mean);
      s.write(2, at, variance);
    });
  }
};

template <int Rank, int Features>
struct rule<op::batch_norm_gradient<Rank, Features>> {
  static void run(const space& s) {
    using o = op::batch_norm_gradient<Rank, Features>;
    const index_list rows = o::rows::list;
    point at{};
    s.over(o::features::list, at, [&] {
      const double count = s.sum(rows, at, [] { return 1.0; });
      const double rstd = 1 / std::sqrt(s.operand(4, at) + s.attribute(0));
      const auto normal = [&] { return (s.operand(1, at) - s.operand(3, at)) * rstd; };
      const double sum = s.sum(rows, at, [&] { return s.operand(0, at); });
      const double product = s.sum(rows, at, [&] { return s.operand(0, at) * normal(); });
      s.over(rows, at, [&] {
        const double apart = s.operand(0, at) - sum / count - normal() * product / count;
        s.write(0, at, s.operand(2, at) * rstd * apart);
      });
      s.write(1, at, product);
      s.write(2, at, sum);
    });
  }
};

template <int Rank, int Features>
struct rule<op::batch_norm_inference<Rank, Features>> {
  static void run(const space& s) {
    point at{};
    s.over(op::batch_norm_inference<Rank, Features>::x::list, at, [&] {
      const double normal = (s.operand(0, at) - s.operand(3, at)) / std::sqrt(s.operand(4, at) + s.attribute(0));
      s.write(0, at, normal * s.operand(1, at) + s.operand(2, at));
    });
  }
};

template <int Rank, int Features>
struct rule<op::batch_norm_inference_gradient_input<Rank, Features>> {
  static void run(const space& s) {
    point at{};
    s.over(op::batch_norm_inference_gradient_input<Rank, Features>::x::list, at,
           [&] { s.write(0, at, s.operand(0, at) * s.operand(1, at) / std::sqrt(s.operand(2, at) + s.attribute(0))); });
  }
};

template <int Rank, int Features>
struct rule<op::batch_norm_inference_gradient_weights<Rank, Features>> {
  static void run(const space& s) {
    using o = op::batch_norm_inference_gradient_weights<Rank, Features>;
    const index_list rows = o::rows::list;
    point at{};
    s.over(o::features::list, at, [&] {
      const double rstd = 1 / std::sqrt(s.operand(3, at) + s.attribute(0));
      const auto normal = [&] { return (s.operand(1, at) - s.operand(2, at)) * rstd; };
      s.write(0, at, s.sum(rows, at, [&] { return s.operand(0, at) * normal(); }), true);
      s.write(1, at, s.sum(rows, at, [&] { return s.operand(0, at); }), true);
    });
  }
};

}  // namespace meshloom::reference
