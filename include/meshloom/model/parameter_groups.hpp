// SPDX-License-Identifier: Apache-2.0
// Parameter groups: which parameters an optimizer treats otherwise than the rest, by name and rank. Biases and gains,
// say, are not to decay: `adamw{.groups = {{.rank = 1, .decay = 0}}}`, nor is an embedding: `{.names = "embedding.*"}`.
// Law: a parameter takes the product of the factors of all groups that it is in, in whatever order they are given.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/tensor/view.hpp>

#include <array>
#include <initializer_list>
#include <string_view>

namespace meshloom {

/// Factors on rate and decay of the parameters whose names match and whose rank is `rank` or less.
struct parameter_group {
  std::string_view names = "*";  ///< where a * stands for any characters
  int rank = max_rank;
  double rate = 1;
  double decay = 1;
};

/// True if `name` is what `pattern` says, in which a * stands for any characters, or none.
constexpr bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern.front() != '*') {
    return !name.empty() && pattern.front() == name.front() && matches(pattern.substr(1), name.substr(1));
  }
  return matches(pattern.substr(1), name) || (!name.empty() && matches(pattern, name.substr(1)));
}

/// Up to 8 groups; of those that a parameter is in, it takes the product of the factors.
class parameter_groups {
 public:
  constexpr parameter_groups() = default;
  constexpr parameter_groups(std::initializer_list<parameter_group> of) {
    if (of.size() > all_.size()) throw error("parameter_groups: more than 8 of them; let names with * match more");
    for (const parameter_group& each : of) all_[count_++] = each;
  }

  /// The factors of one parameter.
  constexpr parameter_group of(std::string_view name, std::size_t rank) const {
    parameter_group product;
    for (std::size_t k = 0; k < count_; ++k) {
      const parameter_group& each = all_[k];
      if (!matches(each.names, name) || static_cast<int>(rank) > each.rank) continue;
      product.rate *= each.rate;
      product.decay *= each.decay;
    }
    return product;
  }

 private:
  std::array<parameter_group, 8> all_{};
  std::size_t count_ = 0;
};

}  // namespace meshloom
