// SPDX-License-Identifier: Apache-2.0
// Laws of sharding/reshard.hpp: a path is a chain of legal steps, no chain costs less (Floyd and Warshall over all
// specs), and its steps, applied to the shards of simulated ranks, give the shards of the target.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/presets.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <string>

using namespace meshloom;

namespace {

constexpr placement sum{placement::partial_sum, -1};
constexpr placement split(int axis) { return {placement::split, static_cast<std::int8_t>(axis)}; }

struct setting {
  mesh_shape mesh;
  vector<std::int64_t> extents;
  mesh_links links{};
  bytes element{4};

  reshard_path path(const spec& from, const spec& to) const { return reshard(from, to, extents, element, mesh, links); }
  int rank() const { return static_cast<int>(extents.size()); }
};

/// Links of different speed along each mesh axis, slowest first.
mesh_links uneven_links() {
  return {{link{{20'000'000}, 1'000'000'000}, link{{5'000'000}, 10'000'000'000}, link{{1'000'000}, 70'000'000'000}}};
}

// Simulated ranks.

/// A dense row-major block of a tensor of up to three axes.
struct block {
  std::array<std::int64_t, 3> extent{1, 1, 1};
  vector<std::int64_t> values{};
  bool operator==(const block&) const = default;
};

/// Part `which` of `parts` of a block along `axis`: the first parts are one longer where it does not divide.
block part_of(const block& all, int axis, std::int64_t parts, std::int64_t which) {
  const auto along = static_cast<std::size_t>(axis);
  const std::int64_t each = all.extent[along] / parts, more = all.extent[along] % parts;
  const std::int64_t origin = which * each + std::min(which, more);
  block part{all.extent};
  part.extent[along] = each + (which < more ? 1 : 0);
  std::array<std::int64_t, 3> at{};
  for (at[0] = 0; at[0] < part.extent[0]; ++at[0]) {
    for (at[1] = 0; at[1] < part.extent[1]; ++at[1]) {
      for (at[2] = 0; at[2] < part.extent[2]; ++at[2]) {
        auto source = at;
        source[along] += origin;
        const auto index = (source[0] * all.extent[1] + source[1]) * all.extent[2] + source[2];
        part.values.push_back(all.values[static_cast<std::size_t>(index)]);
      }
    }
  }
  return part;
}

/// The blocks one after the other along `axis`.
block joined(const vector<block>& parts, int axis) {
  const auto along = static_cast<std::size_t>(axis);
  block all{parts.front().extent};
  all.extent[along] = 0;
  for (const block& part : parts) all.extent[along] += part.extent[along];
  std::int64_t outer = 1, inner = 1;
  for (std::size_t i = 0; i < along; ++i) outer *= all.extent[i];
  for (std::size_t i = along + 1; i < 3; ++i) inner *= all.extent[i];
  for (std::int64_t row = 0; row < outer; ++row) {
    for (const block& part : parts) {
      const auto length = part.extent[along] * inner;
      const auto start = part.values.begin() + row * length;
      all.values.insert(all.values.end(), start, start + length);
    }
  }
  return all;
}

block combined(const vector<block>& parts, reduction how) {
  block all = parts.front();
  for (std::size_t i = 1; i < parts.size(); ++i) {
    REQUIRE(parts[i].extent == all.extent);
    for (std::size_t e = 0; e < all.values.size(); ++e) {
      const std::int64_t other = parts[i].values[e];
      all.values[e] = how == reduction::sum ? all.values[e] + other : std::max(all.values[e], other);
    }
  }
  return all;
}

/// The shard of `global` at `at`, cut after cut.
block shard_of(block global, const spec& layout, const mesh_shape& mesh, const mesh_coordinates& at) {
  for (const cut& c : layout.cuts()) {
    const auto mesh_axis = static_cast<std::size_t>(c.mesh_axis);
    global = part_of(global, c.axis, mesh.size[mesh_axis], at[mesh_axis]);
  }
  return global;
}

/// The tensor whose elements are their own indices.
block counting(const vector<std::int64_t>& extents) {
  block global;
  std::copy(extents.begin(), extents.end(), global.extent.begin());
  const std::int64_t count = global.extent[0] * global.extent[1] * global.extent[2];
  for (std::int64_t e = 0; e < count; ++e) global.values.push_back(e);
  return global;
}

std::uint8_t pending_axes(const spec& layout) {
  return static_cast<std::uint8_t>(layout.partial_sum() | layout.partial_max());
}

/// The ranks that differ from `rank` only along the mesh axes of `mask`, in order.
vector<std::int32_t> group_of(const mesh_shape& mesh, std::int32_t rank, unsigned mask) {
  vector<std::int32_t> group;
  for (std::int32_t other = 0; other < mesh.ranks(); ++other) {
    bool same = true;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
      same = same && ((mask >> axis & 1) != 0 || coordinates_of(mesh, rank)[axis] == coordinates_of(mesh, other)[axis]);
    }
    if (same) group.push_back(other);
  }
  return group;
}

/// The shards of the counting tensor under `layout`. Contributions to a pending reduction are arbitrary numbers that
/// combine to the right one.
vector<block> scattered(const setting& s, const spec& layout) {
  vector<block> shards;
  for (std::int32_t rank = 0; rank < s.mesh.ranks(); ++rank) {
    const auto group = group_of(s.mesh, rank, pending_axes(layout));
    const auto members = static_cast<std::int64_t>(group.size());
    const auto member = std::find(group.begin(), group.end(), rank) - group.begin();
    block global = counting(s.extents);
    for (std::int64_t& value : global.values) {
      const std::int64_t noise = value * 31 + 7;
      if (layout.partial_sum() != 0) value = member > 0 ? noise * member : value - noise * members * (members - 1) / 2;
      if (layout.partial_max() != 0 && value % members != member) value -= noise * (member + 1);
    }
    shards.push_back(shard_of(global, layout, s.mesh, coordinates_of(s.mesh, rank)));
  }
  return shards;
}

/// What rank `which` of a group has after the collective, given what every rank of the group had.
block received(const reshard_step& step, const vector<block>& had, std::int64_t which) {
  const auto parts = static_cast<std::int64_t>(had.size());
  switch (step.kind) {
    case collective::all_reduce:
      return combined(had, step.combine);
    case collective::reduce_scatter:
      return part_of(combined(had, step.combine), step.to_axis, parts, which);
    case collective::all_gather:
      return joined(had, step.from_axis);
    case collective::all_to_all: {
      vector<block> pieces;
      for (const block& sender : had) pieces.push_back(part_of(sender, step.to_axis, parts, which));
      return joined(pieces, step.from_axis);
    }
    default:
      return part_of(had[static_cast<std::size_t>(which)], step.to_axis, parts, which);
  }
}

vector<block> executed(const setting& s, vector<block> shards, const vector<reshard_step>& steps) {
  for (const reshard_step& step : steps) {
    vector<block> after;
    for (std::int32_t rank = 0; rank < s.mesh.ranks(); ++rank) {
      vector<block> had;
      for (const std::int32_t member : group_of(s.mesh, rank, 1u << step.mesh_axis)) {
        had.push_back(shards[static_cast<std::size_t>(member)]);
      }
      after.push_back(received(step, had, coordinates_of(s.mesh, rank)[static_cast<std::size_t>(step.mesh_axis)]));
    }
    shards = after;
  }
  return shards;
}

/// True if `shards` hold the counting tensor under `layout`, what is pending taken as done.
bool holds(const setting& s, const spec& layout, const vector<block>& shards) {
  const reduction how = layout.partial_max() != 0 ? reduction::max : reduction::sum;
  for (std::int32_t rank = 0; rank < s.mesh.ranks(); ++rank) {
    vector<block> parts;
    for (const std::int32_t member : group_of(s.mesh, rank, pending_axes(layout))) {
      parts.push_back(shards[static_cast<std::size_t>(member)]);
    }
    const block expected = shard_of(counting(s.extents), layout, s.mesh, coordinates_of(s.mesh, rank));
    for (const block& part : parts) {
      if (part.extent != expected.extent) return false;
    }
    if (combined(parts, how) != expected) return false;
  }
  return true;
}

// The rules of single steps, from the table in the header.

/// The elements of the largest shard.
std::int64_t largest(const setting& s, const spec& layout) {
  std::int64_t most = 0;
  for (std::int32_t rank = 0; rank < s.mesh.ranks(); ++rank) {
    auto extents = s.extents;
    for (const cut& c : layout.cuts()) {
      const auto parts = s.mesh.size[static_cast<std::size_t>(c.mesh_axis)];
      const auto which = coordinates_of(s.mesh, rank)[static_cast<std::size_t>(c.mesh_axis)];
      std::int64_t& extent = extents[static_cast<std::size_t>(c.axis)];
      extent = extent / parts + (which < extent % parts ? 1 : 0);
    }
    most = std::max(most, std::accumulate(extents.begin(), extents.end(), std::int64_t{1}, std::multiplies<>()));
  }
  return most;
}

bool last_cut_of_its_axis(const spec& layout, int mesh_axis) {
  bool last = false;
  for (const cut& c : layout.cuts()) {
    if (c.axis == layout.on(mesh_axis).axis) last = c.mesh_axis == mesh_axis;
  }
  return last;
}

/// The step from `before` to `after`, if one collective does it.
std::optional<reshard_step> single_step(const setting& s, const spec& before, const spec& after) {
  int moved = -1;
  for (int mesh_axis = 0; mesh_axis < s.mesh.rank; ++mesh_axis) {
    if (before.on(mesh_axis) == after.on(mesh_axis)) continue;
    if (moved >= 0) return {};
    moved = mesh_axis;
  }
  if (moved < 0 || before.without(moved) != after.without(moved)) return {};
  const placement here = before.on(moved), there = after.on(moved);
  const bool cut_before = here.kind == placement::split, cut_after = there.kind == placement::split;
  if (cut_before && !last_cut_of_its_axis(before, moved)) return {};
  if (cut_after && !last_cut_of_its_axis(after, moved)) return {};
  if (there.kind == placement::partial_sum || there.kind == placement::partial_max) return {};

  collective kind = cut_after ? collective::reduce_scatter : collective::all_reduce;
  if (cut_before) kind = cut_after ? collective::all_to_all : collective::all_gather;
  if (here.kind == placement::whole) kind = collective::slice;

  const auto p = s.mesh.size[static_cast<std::size_t>(moved)];
  std::int64_t elements = largest(s, before);  // of the whole buffer, padded where the mesh axis splits it
  if (cut_before || cut_after) elements = p * std::max(cut_before ? elements : 0, cut_after ? largest(s, after) : 0);
  return reshard_step{.kind = kind,
                      .mesh_axis = static_cast<std::int8_t>(moved),
                      .from_axis = here.axis,
                      .to_axis = there.axis,
                      .combine = here.kind == placement::partial_max ? reduction::max : reduction::sum,
                      .before = before,
                      .after = after,
                      .time = price(kind, p, elements * s.element, s.links.axis[static_cast<std::size_t>(moved)])};
}

/// What is wrong with a path; empty if it is a chain of legal steps at the right price.
std::string fault(const setting& s, const spec& from, const spec& to, const reshard_path& path) {
  spec now = from;
  picoseconds time{};
  for (const reshard_step& step : path.steps) {
    if (step.before != now) return "a step does not start where the one before ends";
    if (single_step(s, step.before, step.after) != step) return "a step is not legal, or not what it says";
    now = step.after;
    time += step.time;
  }
  if (now != to) return "the path does not end at its target";
  return time == path.time ? "" : "the time is not the sum of the steps";
}

constexpr std::int64_t infinite = std::numeric_limits<std::int64_t>::max() / 4;
constexpr std::int64_t step_scale = 1024;  // distances are time · 1024 + steps

/// The shortest distance between any two specs, by the Floyd–Warshall algorithm.
vector<vector<std::int64_t>> distances(const setting& s, const vector<spec>& specs) {
  vector<vector<std::int64_t>> best(specs.size(), vector<std::int64_t>(specs.size(), infinite));
  for (std::size_t a = 0; a < specs.size(); ++a) {
    for (std::size_t b = 0; b < specs.size(); ++b) {
      if (const auto step = single_step(s, specs[a], specs[b])) best[a][b] = step->time.count * step_scale + 1;
    }
    best[a][a] = 0;
  }
  for (std::size_t via = 0; via < specs.size(); ++via) {
    for (auto& row : best) {
      for (std::size_t b = 0; b < specs.size(); ++b) row[b] = std::min(row[b], row[via] + best[via][b]);
    }
  }
  return best;
}

/// The same spec with pending maxima instead of sums.
spec with_maxima(const spec& layout, const mesh_shape& mesh) {
  spec changed = layout;
  for (int mesh_axis = 0; mesh_axis < mesh.rank; ++mesh_axis) {
    if (layout.on(mesh_axis).kind != placement::partial_sum) continue;
    changed = changed.without(mesh_axis).with(mesh_axis, {placement::partial_max, -1});
  }
  return changed;
}

vector<collective> kinds_of(const reshard_path& path) {
  vector<collective> kinds;
  for (const reshard_step& step : path.steps) kinds.push_back(step.kind);
  return kinds;
}

using kinds = vector<collective>;

vector<setting> varied_settings() {
  vector<setting> settings{
      {{0, {}}, {5, 3}},
      {{1, {4}}, {6}},
      {{1, {8}}, {1024, 3, 512}},
      {{2, {2, 3}}, {7, 5}},
      {{2, {2, 2}}, {0, 3}},
      {{2, {1, 4}}, {640, 512, 9}},
      {{3, {2, 2, 2}}, {4, 3}},
      {{3, {2, 1, 3}}, {300, 200}},
      {{3, {2, 2, 2}}, {64, 32, 5}},
  };
  for (setting& each : settings) each.links = uneven_links();
  return settings;
}

}  // namespace

TEST_CASE("a path is legal, and no chain of steps costs less") {
  for (const setting& s : varied_settings()) {
    const auto specs = all_specs(s.rank(), s.mesh, true);
    const auto best = distances(s, specs);
    std::size_t faults = 0;
    for (std::size_t a = 0; a < specs.size(); ++a) {
      for (std::size_t b = 0; b < specs.size(); ++b) {
        const reshard_path path = s.path(specs[a], specs[b]);
        const bool creates = (specs[b].partial_sum() & ~specs[a].partial_sum()) != 0;
        faults += path.possible == creates;
        if (!path.possible) {
          faults += best[a][b] < infinite || !path.steps.empty();
          continue;
        }
        faults += path.time.count * step_scale + static_cast<std::int64_t>(path.steps.size()) != best[a][b];
        faults += fault(s, specs[a], specs[b], path) != "";
      }
    }
    CAPTURE(s.mesh.ranks());
    CHECK(faults == 0);
  }
}

TEST_CASE("what can be reached from a spec, and at what price, is what paths say") {
  for (const setting& here : varied_settings()) {
    const auto specs = all_specs(here.rank(), here.mesh, true);
    for (const spec& from : specs) {
      const auto found = reachable_from(from, here.extents, here.element, here.mesh, here.links);
      CHECK(found.front().layout == from);
      for (const spec& to : specs) {
        const auto at = std::find_if(found.begin(), found.end(), [&](const auto& each) { return each.layout == to; });
        const reshard_path path = here.path(from, to);
        REQUIRE(path.possible == (at != found.end()));
        if (path.possible) CHECK(at->time == path.time);
      }
    }
  }
}

TEST_CASE("the steps of a path turn the shards of one spec into those of the other") {
  std::mt19937 random(4);
  const mesh_shape meshes[] = {{1, {2}}, {1, {3}}, {1, {4}}, {2, {2, 2}}, {2, {2, 3}}, {3, {2, 2, 2}}};
  const vector<std::int64_t> shapes[] = {{8, 8, 8}, {7, 5, 3}, {1, 9, 2}, {3, 0, 4}, {5}, {4, 6}};
  for (const mesh_shape& mesh : meshes) {
    for (const auto& extents : shapes) {
      const setting s{mesh, extents, uneven_links()};
      const auto specs = all_specs(s.rank(), mesh, true);
      for (int round = 0; round < 60; ++round) {
        spec from = specs[random() % specs.size()], to = specs[random() % specs.size()];
        if (random() % 2 == 0) {
          from = with_maxima(from, mesh);
          to = with_maxima(to, mesh);
        }
        const reshard_path path = s.path(from, to);
        CHECK(path.possible == ((pending_axes(to) & ~pending_axes(from)) == 0));
        if (!path.possible) continue;
        CHECK(fault(s, from, to, path) == "");
        const auto shards = scattered(s, from);
        CHECK(holds(s, from, shards));
        CHECK(holds(s, to, executed(s, shards, path.steps)));
      }
    }
  }
}

TEST_CASE("the well-known paths") {
  const setting s{{2, {2, 4}}, {1024, 1024}, uneven_links()};
  const spec whole, rows = spec{}.with(1, split(0)), columns = spec{}.with(1, split(1)), pending = spec{}.with(1, sum);
  CHECK(kinds_of(s.path(whole, whole)) == kinds{});
  CHECK(s.path(whole, whole).possible);
  CHECK(kinds_of(s.path(pending, rows)) == kinds{collective::reduce_scatter});
  CHECK(kinds_of(s.path(rows, columns)) == kinds{collective::all_to_all});
  CHECK(kinds_of(s.path(whole, rows)) == kinds{collective::slice});
  CHECK(s.path(whole, rows).time == picoseconds{0});
  CHECK(kinds_of(s.path(rows, whole)) == kinds{collective::all_gather});
  CHECK(!s.path(whole, pending).possible);
  CHECK(!s.path(with_maxima(pending, s.mesh), pending).possible);
  // A sum pending on the slow axis: the ranks of the fast one share the load.
  CHECK(kinds_of(s.path(spec{}.with(0, sum), whole)) ==
        kinds{collective::slice, collective::all_reduce, collective::all_gather});
  // A sum pending on both: the hierarchical all-reduce.
  CHECK(kinds_of(s.path(spec{}.with(0, sum).with(1, sum), whole)) ==
        kinds{collective::reduce_scatter, collective::all_reduce, collective::all_gather});
  // The other order of two cuts: the inner one must go before the outer one can.
  const spec rows_outer = spec{}.with(0, split(0)).with(1, split(0));
  const spec columns_outer = spec{}.with(1, split(0)).with(0, split(0));
  CHECK(s.path(rows_outer, columns_outer).steps.size() > 1);
  CHECK(s.path(rows_outer, columns_outer).steps.front().mesh_axis == 1);
}

TEST_CASE("on mesh axes of size 1 all is free") {
  const setting s{{2, {1, 4}}, {64, 64}, uneven_links()};
  const spec both = spec{}.with(0, sum).with(1, split(0));
  const spec moved = spec{}.with(1, split(0)).with(0, split(1));
  CHECK(s.path(both, moved).time == picoseconds{0});
  CHECK(s.path(both, moved).steps.size() == 1);
}

TEST_CASE("a path is the same every time, and its time never falls when elements grow") {
  constexpr link same{{1000}, 1'000'000'000};  // on every mesh axis, so that many paths cost the same
  setting s{{3, {2, 2, 2}}, {9, 4, 6}, {{same, same, same}}};
  std::mt19937 random(5);
  const auto specs = all_specs(s.rank(), s.mesh, true);
  for (int round = 0; round < 200; ++round) {
    const spec from = specs[random() % specs.size()], to = specs[random() % specs.size()];
    s.element = bytes{4};
    const reshard_path small = s.path(from, to);
    CHECK(small == s.path(from, to));
    s.element = bytes{8};
    CHECK(s.path(from, to).time >= small.time);
  }
}

TEST_CASE("there are as many specs as there are placements and cut orders") {
  for (int mesh_rank = 0; mesh_rank <= max_mesh_rank; ++mesh_rank) {
    for (int tensor_rank = 0; tensor_rank <= 4; ++tensor_rank) {
      for (const bool partial : {false, true}) {
        const mesh_shape mesh{mesh_rank, {2, 2, 2}};
        const auto specs = all_specs(tensor_rank, mesh, partial);
        const std::size_t s = static_cast<std::size_t>(tensor_rank), c = 1 + s + (partial ? 1 : 0);
        const std::size_t expected[] = {1, c, c * c + s, c * c * c + 3 * s * (c - 1) + 5 * s};
        CHECK(specs.size() == expected[mesh_rank]);
        CHECK(specs.front().is_whole());
        for (std::size_t a = 0; a < specs.size(); ++a) {
          CHECK(std::find(specs.begin(), specs.begin() + static_cast<std::ptrdiff_t>(a), specs[a]) ==
                specs.begin() + static_cast<std::ptrdiff_t>(a));
        }
      }
    }
  }
}

TEST_CASE("the checks notice planted faults") {
  const setting s{{2, {2, 3}}, {7, 12}, uneven_links()};
  const spec nested = spec{}.with(0, split(0)).with(1, split(0)), whole;
  const reshard_path good = s.path(nested, whole);
  REQUIRE(good.steps.size() == 2);
  REQUIRE(fault(s, nested, whole, good) == "");

  reshard_path cheap = good;
  cheap.time -= picoseconds{1};
  CHECK(fault(s, nested, whole, cheap) == "the time is not the sum of the steps");
  reshard_path discount = cheap;
  discount.steps[1].time -= picoseconds{1};
  CHECK(fault(s, nested, whole, discount) == "a step is not legal, or not what it says");
  reshard_path unfinished = good;
  unfinished.time -= unfinished.steps.back().time;
  unfinished.steps.pop_back();
  CHECK(fault(s, nested, whole, unfinished) == "the path does not end at its target");
  reshard_path gap = good;
  gap.steps.erase(gap.steps.begin());
  CHECK(fault(s, nested, whole, gap) == "a step does not start where the one before ends");
  reshard_path misnamed = good;
  misnamed.steps[0].kind = collective::all_reduce;
  CHECK(fault(s, nested, whole, misnamed) == "a step is not legal, or not what it says");

  // The outer cut gathered before the inner one: refused by the rules, and wrong on the data.
  reshard_path outside_in = good;
  std::swap(outside_in.steps[0], outside_in.steps[1]);
  CHECK(holds(s, whole, executed(s, scattered(s, nested), good.steps)));
  CHECK(!holds(s, whole, executed(s, scattered(s, nested), outside_in.steps)));
  const spec inner_only = nested.without(0);
  outside_in.steps[0].before = nested;
  outside_in.steps[0].after = outside_in.steps[1].before = inner_only;
  outside_in.steps[1].after = whole;
  CHECK(fault(s, nested, whole, outside_in) == "a step is not legal, or not what it says");

  // A maximum taken for a sum.
  const spec maximum = spec{}.with(0, {placement::partial_max, -1});
  reshard_path summed = s.path(maximum, whole);
  CHECK(holds(s, whole, executed(s, scattered(s, maximum), summed.steps)));
  for (reshard_step& step : summed.steps) step.combine = reduction::sum;
  CHECK(!holds(s, whole, executed(s, scattered(s, maximum), summed.steps)));
  CHECK(fault(s, maximum, whole, summed) != "");
}
