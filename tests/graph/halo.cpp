// SPDX-License-Identifier: Apache-2.0
// Laws of graph/halo.hpp, element by element: with its halos a rank holds what its part of the operator reads, and
// nothing is fetched that is there.
#include <meshloom/graph/halo.hpp>

#include "../exec/stencil_training.hpp"

#include <doctest/doctest.h>

#include <random>
#include <set>

namespace ml = meshloom;
using ml::interval;

namespace {

std::mt19937_64 dice{5};

std::int64_t pick(std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(dice);
}

ml::stencil random_stencil() {
  const std::int64_t taps = pick(1, 3);
  return {.taps = taps, .stride = pick(1, 3), .padding = pick(0, taps - 1), .dilation = pick(1, 2)};
}

std::set<std::int64_t> elements_of(const interval& part) {
  std::set<std::int64_t> all;
  for (std::int64_t k = 0; k < part.extent; ++k) all.insert(part.origin + k);
  return all;
}

/// What the elements `part` of the index that reads meet, tap by tap.
std::set<std::int64_t> read_by(const ml::stencil& with, bool transposed, const interval& part, std::int64_t image,
                               std::int64_t positions) {
  std::set<std::int64_t> all;
  const auto readers = elements_of(part);
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t t = 0; t < with.taps; ++t) {
      const std::int64_t met = p * with.stride - with.padding + t * with.dilation;
      if (met < 0 || met >= image) continue;
      if (readers.count(transposed ? met : p) > 0) all.insert(transposed ? p : met);
    }
  }
  return all;
}

/// The strategy that splits index `high_index` by mesh axis 0 and `wide_index` by mesh axis 1; −1: whole.
ml::strategy splitting(const ml::choice_table& table, int high_index, int wide_index) {
  ml::strategy how;
  for (std::uint8_t row = 0; row < table.count; ++row) {
    if (table.rows[row].kind != ml::choice::split) continue;
    if (table.rows[row].index == high_index) how.row[0] = row;
    if (table.rows[row].index == wide_index) how.row[1] = row;
  }
  return how;
}

const ml::node& node_of(const ml::graph& whole, std::string_view op) {
  for (const ml::node& each : whole.nodes) {
    if (each.op->op.name == op) return each;
  }
  throw ml::error("no such operator");
}

}  // namespace

TEST_CASE("a window is the least interval with all that is read") {
  for (int round = 0; round < 3000; ++round) {
    const ml::stencil with = random_stencil();
    const std::int64_t image = pick(0, 12), positions = with.positions(image), ranks = pick(1, 5);
    for (const bool transposed : {false, true}) {
      const std::int64_t readers = transposed ? image : positions, extent = transposed ? positions : image;
      const ml::mesh_shape mesh{1, {static_cast<std::int32_t>(ranks)}};
      const ml::halo read{.axis = 0, .mesh_axis = 0, .shape = with, .transposed = transposed, .readers = readers};
      for (std::int32_t rank = 0; rank < ranks; ++rank) {
        const interval part = ml::balanced_part({0, readers}, ranks, rank);
        const auto needed = read_by(with, transposed, part, image, positions);
        const auto held = elements_of(ml::window_of(read, mesh, rank, extent));
        CHECK(std::includes(held.begin(), held.end(), needed.begin(), needed.end()));
        // Its ends are read, or would be if the image did not end or the stride were 1.
        if (!needed.empty() && with.stride == 1 && with.dilation == 1) CHECK(held == needed);
      }
    }
  }
}

TEST_CASE("halos are counted as they are, shard by shard") {
  int with_halos = 0;
  for (int round = 0; round < 300; ++round) {
    stencils::shape how{.high = pick(6, 13), .wide = pick(6, 13)};
    for (auto* along : {&how.along_high, &how.along_wide}) *along = {random_stencil(), random_stencil()};
    const auto positions = how.along_high[0].positions(how.high), across = how.along_wide[0].positions(how.wide);
    if (how.along_high[1].positions(positions) < 1 || how.along_wide[1].positions(across) < 1) continue;
    const ml::graph whole = ml::trace(stencils::training_of(how));
    const ml::mesh_shape mesh{2, {static_cast<std::int32_t>(pick(1, 4)), static_cast<std::int32_t>(pick(1, 4))}};
    const ml::node& at = node_of(whole, "blur");
    const ml::strategy split = splitting(at.op->choices, 3, 4);
    const ml::vector<ml::halo> halos = ml::halos_of(whole.sizes, at, mesh, split, 0);
    CHECK(ml::halos_of(whole.sizes, at, mesh, split, 1).empty());  // the taps
    CHECK(ml::halos_of(whole.sizes, at, mesh, {}, 0).empty());

    const std::int64_t extents[] = {4, how.high, how.wide};
    const ml::spec layout = ml::operand_spec(at.op->op, at.op->choices, 2, split, 0);
    ml::vector<std::int64_t> lacked_by_step(halos.size());
    std::int64_t largest = 0;
    for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
      const ml::mesh_coordinates here = ml::coordinates_of(mesh, rank);
      std::array<std::int64_t, 3> held{};
      for (int axis = 0; axis < 3; ++axis)
        held[static_cast<std::size_t>(axis)] = ml::shard_interval(layout, mesh, here, axis, extents[axis]).extent;
      for (std::size_t step = 0; step < halos.size(); ++step) {
        const ml::halo& each = halos[step];
        const auto axis = static_cast<std::size_t>(each.axis);
        const auto window =
            elements_of(ml::window_of(each, mesh, here[static_cast<std::size_t>(each.mesh_axis)], extents[axis]));
        const auto own = elements_of(ml::shard_interval(layout, mesh, here, each.axis, extents[axis]));
        std::int64_t lacked = 0;
        for (const std::int64_t element : window) lacked += own.count(element) == 0 ? 1 : 0;
        held[axis] = 1;
        lacked_by_step[step] = std::max(lacked_by_step[step], lacked * held[0] * held[1] * held[2]);
        held[axis] = static_cast<std::int64_t>(window.size());
      }
      largest = std::max(largest, held[0] * held[1] * held[2]);
    }
    CHECK(ml::largest_shard(layout, mesh, extents, halos) == largest);
    for (std::size_t step = 0; step < halos.size(); ++step) {
      CHECK(lacked_by_step[step] > 0);
      CHECK(ml::largest_halo(layout, mesh, extents, std::span(halos).first(step + 1)) == lacked_by_step[step]);
    }
    with_halos += halos.empty() ? 0 : 1;
  }
  CHECK(with_halos > 50);
}

TEST_CASE("two mesh axes that split an index with windows are no strategy") {
  const ml::graph whole = ml::trace(stencils::training_of(stencils::uneven));
  for (const ml::node& at : whole.nodes) {
    for (const ml::mesh_shape& mesh : {ml::mesh_shape{2, {2, 2}}, ml::mesh_shape{3, {2, 2, 2}}}) {
      ml::for_each_strategy(at.op->choices, mesh.rank, [&](const ml::strategy& how) {
        CHECK(ml::crowded_index(at.op->choices, mesh.rank, how) < 0);
      });
    }
  }
  const ml::node& at = node_of(whole, "blur");
  CHECK(ml::crowded_index(at.op->choices, 2, splitting(at.op->choices, 3, 3)) == 3);
  CHECK(ml::crowded_index(at.op->choices, 2, splitting(at.op->choices, 0, 0)) < 0);
  CHECK_FALSE(ml::is_legal(at.op->choices, 2, splitting(at.op->choices, 4, 4)));
}

TEST_CASE("check finds windows that do not fit their sizes") {
  const ml::graph sound = ml::trace(stencils::training_of(stencils::uneven));
  REQUIRE(ml::check(sound).empty());
  const auto faults_with = [&](std::string_view op, std::size_t attribute, double wrong) {
    ml::graph changed = sound;
    std::string name;
    for (ml::node& each : changed.nodes) {
      if (each.op->op.name != op || !name.empty()) continue;
      name = each.name;
      each.attributes[attribute] = wrong;
    }
    const auto faults = ml::check(changed);
    REQUIRE_FALSE(faults.empty());
    REQUIRE(faults.front().rfind("node " + name + ": along dimension ", 0) == 0);
    return faults.front().substr(("node " + name + ": along dimension ").size());
  };
  const std::string unsound =
      "its taps, stride, padding and dilation are not whole numbers of 1 or more, the padding 0 or more";
  CHECK(faults_with("blur", 0, 0) == "0 " + unsound);
  CHECK(faults_with("blur", 3, 0) == "1 " + unsound);
  CHECK(faults_with("blur", 4, -1) == "0 " + unsound);
  CHECK(faults_with("blur", 7, 1.5) == "1 " + unsound);
  CHECK(faults_with("blur", 2, 2) == "0 its windows over 11 elements have 6 positions, not 11");
  CHECK(faults_with("blur", 5, 1) == "1 its windows over 9 elements have 9 positions, not 7");
  CHECK(faults_with("blur_image_gradient", 2, 1) == "0 its windows over 11 elements have 11 positions, not 6");
  ml::graph changed = sound;  // 5 taps with 2 elements more of padding have as many positions as 3
  for (ml::node& each : changed.nodes) {
    if (each.op->op.name != "blur" || each.attributes[2] != 1) continue;
    each.attributes[0] = 5;
    each.attributes[4] = 2;
    CHECK(ml::check(changed) ==
          ml::vector<std::string>{"node " + each.name + ": along dimension 0 its kernel has 3 taps, its windows 5"});
  }
}
