// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/operator_line.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// Lines up the operators of a graph: positions first, of which those that belong together become items.
class line_builder {
 public:
  explicit line_builder(const graph& whole) : whole_(whole), position_(whole.nodes.size(), -1) {
    made_.item_of = position_;
    made_.run_of = table<region_id, std::int32_t>(whole.regions.size(), -1);
    made_.sums = gradient_sums(whole);
  }

  operator_line build() {
    place_forward();
    if (first_.empty()) return std::move(made_);
    place_backward();
    tie_gradients();
    make_items();
    add_reads();
    return std::move(made_);
  }

 private:
  bool is_lined(const node& at) const { return at.when != phase::update && !whole_.regions[at.region].repeated; }

  void place_forward() {
    bool first = true;
    for (std::size_t r = 0; r < whole_.regions.size(); ++r) {
      const region_id area{static_cast<std::int32_t>(r)};
      begins_.add(static_cast<std::int32_t>(first_.size()));
      first = first || whole_.regions[area].repeated;
      for (std::size_t n = 0; n < whole_.nodes.size() && !whole_.regions[area].repeated; ++n) {
        const node_id id{static_cast<std::int32_t>(n)};
        if (whole_.nodes[id].region != area || whole_.nodes[id].when != phase::forward) continue;
        position_[id] = static_cast<std::int32_t>(first_.size());
        first_.push_back(first);
        first = false;
      }
    }
    tied_.assign(first_.size(), false);
  }

  /// Behind whoever reads them, for gradients flow from the end of the line to its beginning.
  void place_backward() {
    table<node_id, bool> adds(whole_.nodes.size(), false);
    for (const gradient_sum& sum : made_.sums) {
      for (const node_id id : sum.additions) adds[id] = true;
    }
    table<value_id, std::int32_t> read_at(whole_.values.size(), -1);
    for (auto n = static_cast<std::int32_t>(whole_.nodes.size()); n-- > 0;) {
      const node& at = whole_.nodes[node_id{n}];
      if (at.when != phase::backward || !is_lined(at) || adds[node_id{n}]) continue;
      std::int32_t here = own_position(at);
      for (const value_id id : at.results) here = std::max(here, read_at[id]);
      for (const value_id id : at.operands) read_at[id] = std::max(read_at[id], here);
      position_[node_id{n}] = here;
    }
  }

  /// That of the node that it differentiates. Where that is not known, as early as what it reads allows.
  std::int32_t own_position(const node& at) const {
    if (whole_.nodes.holds(at.differentiates) && position_[at.differentiates] >= 0) return position_[at.differentiates];
    std::int32_t here = std::min(begins_[at.region], static_cast<std::int32_t>(first_.size()) - 1);
    for (const value_id id : at.operands) {
      const node_id maker = whole_.values[id].producer;
      if (maker != node_id::none && whole_.nodes[maker].when == phase::forward) here = std::max(here, position_[maker]);
    }
    return here;
  }

  /// Whoever makes a part of a parameter's gradient reads the parameter: there it is kept and summed. Where an operator
  /// makes it that does not, because it was made before for another reason, it stays together with a reader.
  void tie_gradients() {
    vector<vector<value_id>> parts;
    for (const parameter& each : whole_.parameters)
      parts.push_back(each.observed_by == nullptr ? each.gradients : vector<value_id>());
    for (const gradient_sum& sum : made_.sums) {
      auto& of = parts[sum.parameter];
      erase(of, sum.value);
      of.insert(of.end(), sum.parts.begin(), sum.parts.end());
    }
    table<value_id, vector<std::int32_t>> readers(whole_.values.size());
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const node_id id{static_cast<std::int32_t>(n)};
      if (position_[id] < 0) continue;
      for (const value_id read : whole_.nodes[id].operands) {
        if (whole_.values[read].kind == value_kind::parameter) readers[read].push_back(position_[id]);
      }
    }
    for (std::size_t p = 0; p < parts.size(); ++p) {
      for (const value_id part : parts[p]) tie(part, readers[whole_.parameters[p].value]);
    }
  }

  void tie(value_id part, const vector<std::int32_t>& readers) {
    const node_id maker = whole_.values[part].producer;
    if (maker == node_id::none || position_[maker] < 0 || readers.empty()) return;
    const std::int32_t from = position_[maker];
    const auto distance = [&](std::int32_t to) { return std::abs(to - from); };
    const std::int32_t to = *std::min_element(
        readers.begin(), readers.end(), [&](std::int32_t a, std::int32_t b) { return distance(a) < distance(b); });
    for (std::int32_t k = std::min(from, to) + 1; k <= std::max(from, to); ++k)
      tied_[static_cast<std::size_t>(k)] = true;
  }

  void make_items() {
    vector<std::int32_t> item_at;
    for (std::size_t k = 0; k < first_.size(); ++k) {
      if (first_[k] || !tied_[k]) made_.items.push_back({{}, first_[k]});
      item_at.push_back(static_cast<std::int32_t>(made_.items.size()) - 1);
    }
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const node_id id{static_cast<std::int32_t>(n)};
      if (position_[id] >= 0) made_.item_of[id] = item_at[static_cast<std::size_t>(position_[id])];
    }
    find_runs(item_at);
  }

  void find_runs(const vector<std::int32_t>& item_at) {
    const auto regions = static_cast<std::int32_t>(whole_.regions.size());
    for (std::int32_t begin = 0, end = 0; begin < regions; begin = end + 1) {
      for (end = begin; end < regions && !whole_.regions[region_id{end}].repeated;) ++end;
      const auto from = static_cast<std::size_t>(begins_[region_id{begin}]);
      const std::size_t to = end == regions ? first_.size() : static_cast<std::size_t>(begins_[region_id{end}]);
      for (std::int32_t r = begin; r < end && from < to; ++r) made_.run_of[region_id{r}] = item_at[from];
    }
  }

  void add_reads() {
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const node_id id{static_cast<std::int32_t>(n)};
      const node& at = whole_.nodes[id];
      if (at.when == phase::update) continue;
      const std::int32_t item = made_.item_of[id];
      if (item >= 0) {
        add_node(at, item);
      } else if (whole_.regions[at.region].repeated) {
        made_.work += work_of(at) * whole_.regions[at.region].count;
      }
    }
    for (line_item& each : made_.items) keep_once(each.reads);
  }

  void add_node(const node& at, std::int32_t item) {
    line_item& here = made_.items[static_cast<std::size_t>(item)];
    const flops work = work_of(at);
    here.work += work;
    made_.work += work;
    for (const value_id id : at.operands) {
      const value& read = whole_.values[id];
      if (read.kind != value_kind::activation && read.kind != value_kind::carried) continue;
      const std::int32_t maker = read.producer == node_id::none ? -1 : made_.item_of[read.producer];
      if (maker == item) continue;
      std::int64_t elements = 1;
      for (const std::int64_t extent : extents_of(whole_.sizes, read.axes)) elements *= extent;
      here.reads.push_back({id, maker, {elements * size_of(read.type)}});
    }
  }

  flops work_of(const node& at) const {
    double points = 1;
    for (std::size_t index = 0; index < at.indices.size(); ++index) {
      const std::int64_t extent =
          at.indices[index] == whole_.micro_batched ? 1 : whole_.sizes[at.indices[index]].extent;
      points *= points_along(at.op->op, at.attributes, static_cast<int>(index), extent);
    }
    return {static_cast<std::int64_t>(points * at.op->flops_per_point)};
  }

  static void keep_once(vector<line_read>& reads) {
    const auto before = [](const line_read& a, const line_read& b) { return a.value < b.value; };
    const auto same = [](const line_read& a, const line_read& b) { return a.value == b.value; };
    std::sort(reads.begin(), reads.end(), before);
    reads.erase(std::unique(reads.begin(), reads.end(), same), reads.end());
  }

  const graph& whole_;
  table<node_id, std::int32_t> position_;
  table<region_id, std::int32_t> begins_;  ///< the position at which each region begins
  vector<bool> first_, tied_;              ///< of each position: begins a run; stays with the one before
  operator_line made_;
};

}  // namespace detail

MESHLOOM_INLINE operator_line line_of(const graph& whole) { return detail::line_builder(whole).build(); }

MESHLOOM_INLINE growing_layer::growing_layer(const operator_line& line, std::size_t values)
    : line_(line), counted_(values, 0), awaited_(line.items.size()) {}

MESHLOOM_INLINE void growing_layer::begin(std::size_t item) {
  first_ = end_ = item;
  received_ = {};
}

MESHLOOM_INLINE void growing_layer::grow() {
  const std::size_t by = first_ + 1;
  if (awaited_[end_].by == by) received_ -= awaited_[end_].size;  // it is made here after all
  for (const line_read& each : line_.items[end_].reads) {
    const auto maker = static_cast<std::size_t>(each.maker);
    const bool own = each.maker >= 0 && maker >= first_ && maker <= end_;
    if (own || counted_[each.value] == by) continue;
    counted_[each.value] = by;
    received_ += each.size;
    if (each.maker < 0 || maker < first_) continue;
    if (awaited_[maker].by != by) awaited_[maker] = {by, {}};
    awaited_[maker].size += each.size;
  }
  ++end_;
}

}  // namespace meshloom
