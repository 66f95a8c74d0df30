// SPDX-License-Identifier: Apache-2.0
// The operators of a graph in a line, which can be cut into layers: an item per forward operator outside of repeated
// regions, in the order in which they run, each with the backward operators that differentiate it. Operators that no
// cut may part are one item.
// Law: an item reads forward values of items before it and gradients of items behind it, so that a graph whose regions
// are ranges of items is as sound as it was.
#pragma once

#include <meshloom/base/units.hpp>
#include <meshloom/base/vector.hpp>
#include <meshloom/graph/gradient_sum.hpp>

namespace meshloom {

/// A value that an item reads and does not make.
struct line_read {
  value_id value = value_id::none;
  std::int32_t maker = -1;  ///< an item; −1: a repeated region
  bytes size;               ///< of the whole batch
};

struct line_item {
  flops work;                    ///< of its operators, forward and backward, on one sample
  bool first = false;            ///< nothing is before it, or a repeated region: a layer begins here
  vector<line_read> reads = {};  ///< each value once
};

struct operator_line {
  vector<line_item> items;
  table<node_id, std::int32_t> item_of;   ///< −1: of a repeated region, of the update, or an addition of `sums`
  table<region_id, std::int32_t> run_of;  ///< the first item between the repeated regions around; −1 if there is none
  vector<gradient_sum> sums;              ///< whose additions go where the cuts allow
  flops work;                             ///< of all items and of all copies of repeated regions
};

operator_line line_of(const graph& whole);

/// A layer that grows along the line: what it computes, and what others send it.
class growing_layer {
 public:
  explicit growing_layer(const operator_line& line, std::size_t values);

  /// Begins anew, empty, in front of an item.
  void begin(std::size_t item);
  /// Takes the next item.
  void grow();

  /// Every value that its operators read and that others make, once.
  bytes received() const { return received_; }

 private:
  struct awaited {
    std::size_t by = 0;  ///< the layer, by its first item + 1
    bytes size;
  };
  const operator_line& line_;
  std::size_t first_ = 0, end_ = 0;
  bytes received_;
  table<value_id, std::size_t> counted_;  ///< the layer that last counted the value, by its first item + 1
  vector<awaited> awaited_;               ///< of each item, what the layer reads of it and has counted as sent
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/operator_line.inl>
#endif
