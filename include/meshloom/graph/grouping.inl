// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/error.hpp>
#include <meshloom/graph/grouping.hpp>
#include <meshloom/graph/operator_line.hpp>

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

namespace meshloom {
namespace detail {

/// Cuts a line into so many layers, none of which has more than a limit of work: a dynamic program that knows, of every
/// place in the line and number of layers before it, the least that the layer there that receives most receives; then,
/// with that as a limit, another one for what is summed up over layers.
class line_cutting {
 public:
  line_cutting(const operator_line& line, std::size_t values, std::size_t layers, flops average, flops least)
      : line_(line), values_(values), layers_(layers), average_(average), least_(least) {
    flops all;
    for (const line_item& each : line.items) all += each.work;
    grain_ = std::max<std::int64_t>(all.count >> 24, 1);
  }

  /// The layer of each item; nothing if there are no such layers.
  std::optional<vector<std::int32_t>> run(flops limit) const {
    const std::optional<bytes> most = least_received(limit);
    if (!most) return std::nullopt;
    return least_sums(limit, *most);
  }

 private:
  /// What all layers up to some place are worth, and where the last of them begins.
  struct label {
    std::int64_t idle = std::numeric_limits<std::int64_t>::max();
    std::int64_t received = 0, squares = 0;
    std::size_t begin = 0;

    bool reached() const { return idle != std::numeric_limits<std::int64_t>::max(); }
    bool operator<(const label& other) const {
      return std::tie(idle, received, squares) < std::tie(other.idle, other.received, other.squares);
    }
  };

  std::size_t at(std::size_t items, std::size_t layers) const { return items * (layers_ + 1) + layers; }

  /// Calls `visit(first item, end, what it receives, its work)` for every layer within the limit, by first item.
  template <class Visit>
  void for_each_layer(flops limit, const Visit& visit) const {
    growing_layer here(line_, values_);
    for (std::size_t first = 0; first < line_.items.size(); ++first) {
      here.begin(first);
      flops counted, work;
      for (std::size_t end = first + 1; end <= line_.items.size(); ++end) {
        const line_item& last = line_.items[end - 1];
        work += last.work;
        counted += std::min(last.work, average_);
        if ((end > first + 1 && last.first) || counted > limit) break;
        here.grow();
        visit(first, end, here.received(), work);
      }
    }
  }

  /// Calls `visit(layers before)` for the numbers of layers after which one can begin and end here.
  template <class Visit>
  void for_each_number(std::size_t first, std::size_t end, const Visit& visit) const {
    const std::size_t behind = line_.items.size() - end;
    const std::size_t least = layers_ > behind + 1 ? layers_ - behind - 1 : 0;
    for (std::size_t before = least; before < layers_ && before <= first; ++before) visit(before);
  }

  std::optional<bytes> least_received(flops limit) const {
    constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
    vector<std::int64_t> most(at(line_.items.size(), layers_) + 1, never);
    most[at(0, 0)] = 0;
    for_each_layer(limit, [&](std::size_t first, std::size_t end, bytes received, flops) {
      for_each_number(first, end, [&](std::size_t before) {
        const std::int64_t here = std::max(most[at(first, before)], received.count);
        most[at(end, before + 1)] = std::min(most[at(end, before + 1)], here);
      });
    });
    if (most.back() == never) return std::nullopt;
    return bytes{most.back()};
  }

  vector<std::int32_t> least_sums(flops limit, bytes most) const {
    vector<label> best(at(line_.items.size(), layers_) + 1);
    best[at(0, 0)].idle = 0;
    for_each_layer(limit, [&](std::size_t first, std::size_t end, bytes received, flops work) {
      if (received > most) return;
      const std::int64_t grains = work.count / grain_, idle = work < least_ ? 1 : 0;
      for_each_number(first, end, [&](std::size_t before) {
        const label& from = best[at(first, before)];
        if (!from.reached()) return;
        const label here{from.idle + idle, from.received + received.count, from.squares + grains * grains, first};
        label& known = best[at(end, before + 1)];
        if (here < known) known = here;
      });
    });
    vector<std::int32_t> layer_of(line_.items.size());
    std::size_t end = line_.items.size();
    for (std::size_t layer = layers_; layer-- > 0;) {
      const std::size_t begin = best[at(end, layer + 1)].begin;
      std::fill(layer_of.begin() + static_cast<std::ptrdiff_t>(begin),
                layer_of.begin() + static_cast<std::ptrdiff_t>(end), static_cast<std::int32_t>(layer));
      end = begin;
    }
    return layer_of;
  }

  const operator_line& line_;
  std::size_t values_, layers_;
  flops average_, least_;   ///< a layer of less work is idle
  std::int64_t grain_ = 1;  ///< of work: squares of so many grains can be summed up exactly
};

inline vector<std::int32_t> layers_of(const operator_line& line, std::size_t values, const grouping& how) {
  flops work;
  std::int64_t runs = 0;
  for (const line_item& each : line.items) {
    work += each.work;
    runs += each.first ? 1 : 0;
  }
  const auto items = static_cast<std::int64_t>(line.items.size());
  const double share =
      line.work.count == 0 ? 1 : static_cast<double>(work.count) / static_cast<double>(line.work.count);
  const double wanted = std::min(share * how.layers, static_cast<double>(items));
  const auto layers = std::clamp(static_cast<std::int64_t>(wanted + 0.5), runs, items);
  const flops average{std::max<std::int64_t>(line.work.count / how.layers, 1)};
  const flops least{static_cast<std::int64_t>(static_cast<double>(average.count) / (1 + how.slack))};
  const line_cutting cutting(line, values, static_cast<std::size_t>(layers), average, least);
  for (double limit = (1 + how.slack) * static_cast<double>(average.count);; limit *= 2) {
    const flops most{limit < static_cast<double>(line.work.count) ? static_cast<std::int64_t>(limit)
                                                                  : line.work.count + items};  // any layer
    if (const auto found = cutting.run(most)) return *found;
  }
}

/// A graph whose regions that are not repeated are put into others.
class regrouping {
 public:
  /// `of_item`: the new region of each item of the line. `of_region`: that of each region, for what is in no item.
  regrouping(const graph& whole, operator_line line, const vector<region_id>& of_item,
             const table<region_id, region_id>& of_region, const table<region_id, region>& regions)
      : line_(std::move(line)), of_item_(of_item), of_region_(of_region), made_(whole) {
    made_.regions = regions;
  }

  graph run() {
    const table<value_id, region_id> homes = homes_of_parameters();
    for (std::size_t v = 0; v < made_.values.size(); ++v) {
      const value_id id{static_cast<std::int32_t>(v)};
      region_id& area = made_.values[id].region;
      if (homes[id] != region_id::none)
        area = homes[id];
      else if (area != region_id::none)
        area = of_region_[area];
    }
    const table<node_id, std::int32_t> updated = parameters_updated(made_);
    for (std::size_t n = 0; n < made_.nodes.size(); ++n) {
      const node_id id{static_cast<std::int32_t>(n)};
      node& at = made_.nodes[id];
      if (line_.item_of[id] >= 0)
        at.region = of_item_[static_cast<std::size_t>(line_.item_of[id])];
      else if (updated[id] >= 0)
        at.region = made_.values[made_.parameters[static_cast<std::size_t>(updated[id])].value].region;
      else
        at.region = of_region_[at.region];
      for (const value_id result : at.results) made_.values[result].region = at.region;
    }
    add_by_region(made_, line_.sums);
    return std::move(made_);
  }

 private:
  /// A parameter is where it is read first, or, as a running statistic, where what it takes in is made; with its
  /// states.
  table<value_id, region_id> homes_of_parameters() const {
    table<value_id, region_id> homes(made_.values.size(), region_id::none);
    const auto meet = [&](value_id id, node_id reader) {
      if (reader == node_id::none || line_.item_of[reader] < 0) return;
      const region_id here = of_item_[static_cast<std::size_t>(line_.item_of[reader])];
      if (homes[id] == region_id::none || here < homes[id]) homes[id] = here;
    };
    for (std::size_t n = 0; n < made_.nodes.size(); ++n) {
      const node_id id{static_cast<std::int32_t>(n)};
      for (const value_id read : made_.nodes[id].operands) {
        if (made_.values[read].kind == value_kind::parameter) meet(read, id);
      }
    }
    for (const parameter& each : made_.parameters) {
      if (homes[each.value] == region_id::none && each.observed_by != nullptr)
        meet(each.value, made_.values[each.gradients.front()].producer);
      for (const value_id state : each.states) homes[state] = homes[each.value];
    }
    return homes;
  }

  operator_line line_;
  const vector<region_id>& of_item_;
  const table<region_id, region_id>& of_region_;
  graph made_;
};

/// "layer.3", unless a region that stays has that name.
inline std::string layer_name_in(const graph& whole, const operator_line& line, std::int32_t layer) {
  std::string name = "layer." + std::to_string(layer);
  const auto taken = [&] {
    for (std::size_t r = 0; r < whole.regions.size(); ++r) {
      const region_id area{static_cast<std::int32_t>(r)};
      if (line.run_of[area] < 0 && whole.regions[area].name == name) return true;
    }
    return false;
  };
  while (taken()) name += "_";
  return name;
}

/// Puts a graph into the regions of another one of the same model.
class alike_regions {
 public:
  alike_regions(const graph& other, const graph& grouped) : other_(other), grouped_(grouped), line_(line_of(other)) {}

  graph run() {
    note_names();
    match_regions();
    vector<region_id> of_item;
    for (std::size_t n = 0; n < other_.nodes.size(); ++n) {
      const node_id id{static_cast<std::int32_t>(n)};
      if (other_.nodes[id].when == phase::forward && line_.item_of[id] >= 0) forward_.push_back(id);
    }
    const auto place = [&](node_id id) { return std::pair(line_.item_of[id], id); };
    std::sort(forward_.begin(), forward_.end(), [&](node_id a, node_id b) { return place(a) < place(b); });
    auto next = forward_.begin();
    for (std::size_t item = 0; item < line_.items.size(); ++item) {
      const auto begin = next;
      while (next != forward_.end() && line_.item_of[*next] == static_cast<std::int32_t>(item)) ++next;
      const region_id least = line_.items[item].first ? after_repeated(other_.nodes[*begin].region) : of_item.back();
      of_item.push_back(std::max(least, region_of({begin, next})));
    }
    return regrouping(other_, std::move(line_), of_item, of_region_, regions_).run();
  }

 private:
  using named = std::pair<std::string_view, region_id>;

  void note_names() {
    for (const node& at : grouped_.nodes) {
      if (at.when == phase::forward && !grouped_.regions[at.region].repeated) names_.push_back({at.name, at.region});
    }
    for (const parameter& each : grouped_.parameters) {
      const value& entry = grouped_.values[each.value];
      if (!grouped_.regions[entry.region].repeated) parameters_.push_back({entry.name, entry.region});
    }
    std::sort(names_.begin(), names_.end());
    std::sort(parameters_.begin(), parameters_.end());
  }

  static region_id find(const vector<named>& among, std::string_view name) {
    const auto found = std::lower_bound(among.begin(), among.end(), named{name, region_id::none});
    return found != among.end() && found->first == name ? found->second : region_id::none;
  }

  void match_regions() {
    region_id usual = region_id::none;
    for (std::size_t r = 0; r < grouped_.regions.size(); ++r) {
      const region_id area{static_cast<std::int32_t>(r)};
      regions_.add(grouped_.regions[area]);
      if (usual == region_id::none && !grouped_.regions[area].repeated) usual = area;
    }
    for (const region& each : other_.regions) {
      const auto same = [&](const region& known) { return known.repeated && known.name == each.name; };
      const auto found = std::find_if(regions_.begin(), regions_.end(), same);
      if (!each.repeated) {
        of_region_.add(usual);
      } else if (found == regions_.end()) {
        throw error("group_alike: the grouped graph has no repeated layer " + each.name + "; it is of another model");
      } else {
        of_region_.add(region_id{static_cast<std::int32_t>(found - regions_.begin())});
        *found = each;
      }
    }
  }

  /// The first layer behind the repeated region that is before `area` in the other graph.
  region_id after_repeated(region_id area) const {
    std::int32_t before = static_cast<std::int32_t>(area);
    while (before >= 0 && !other_.regions[region_id{before}].repeated) --before;
    const std::int32_t next = before < 0 ? 0 : static_cast<std::int32_t>(of_region_[region_id{before}]) + 1;
    if (!regions_.holds(region_id{next}) || regions_[region_id{next}].repeated)
      throw error("group_alike: the grouped graph has no layer for " + other_.regions[area].name +
                  "; it is of another model");
    return region_id{next};
  }

  /// That of the first operator whose name is known; else that of the first parameter.
  region_id region_of(std::span<const node_id> nodes) const {
    for (const node_id id : nodes) {
      const region_id found = find(names_, other_.nodes[id].name);
      if (found != region_id::none) return found;
    }
    for (const node_id id : nodes) {
      for (const value_id read : other_.nodes[id].operands) {
        if (other_.values[read].kind != value_kind::parameter) continue;
        const region_id found = find(parameters_, other_.values[read].name);
        if (found != region_id::none) return found;
      }
    }
    return region_id::none;
  }

  const graph &other_, &grouped_;
  operator_line line_;
  vector<node_id> forward_;
  vector<named> names_, parameters_;  ///< of what is in layers of the grouped graph, sorted
  table<region_id, region> regions_;
  table<region_id, region_id> of_region_;
};

}  // namespace detail

MESHLOOM_INLINE grouping grouping_for(std::int32_t ranks) {
  return {.layers = std::clamp(ranks < 16 ? 2 * ranks : 32, 8, 32)};
}

MESHLOOM_INLINE graph group_operators(const graph& whole, const grouping& how) {
  if (how.layers < 1) throw error("group_operators: there are to be no layers; give it 1 or more");
  if (!(how.slack >= 0 && how.slack < 1e6))
    throw error("group_operators: the slack of layers is not a number from 0 on; 0.5 is usual");
  operator_line line = line_of(whole);
  if (line.items.empty()) return whole;
  const vector<std::int32_t> layer_of = detail::layers_of(line, whole.values.size(), how);
  vector<region_id> of_item;
  table<region_id, region_id> of_region(whole.regions.size(), region_id::none);
  table<region_id, region> regions;
  for (std::size_t r = 0; r < whole.regions.size(); ++r) {
    const region_id area{static_cast<std::int32_t>(r)};
    const std::int32_t run = line.run_of[area];
    if (run < 0) {
      of_region[area] = regions.add(whole.regions[area]);
      continue;
    }
    const auto first = static_cast<std::size_t>(run);
    for (std::size_t item = of_item.size(); item < layer_of.size() && (item == first || !line.items[item].first);
         ++item) {
      if (item == first || layer_of[item] != layer_of[item - 1])
        regions.add({.name = detail::layer_name_in(whole, line, layer_of[item]), .grouped = true});
      of_item.push_back(region_id{static_cast<std::int32_t>(regions.size()) - 1});
    }
    of_region[area] = of_item[first];
  }
  return detail::regrouping(whole, std::move(line), of_item, of_region, regions).run();
}

MESHLOOM_INLINE graph group_alike(const graph& other, const graph& grouped) {
  return detail::alike_regions(other, grouped).run();
}

}  // namespace meshloom
