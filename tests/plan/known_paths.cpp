// SPDX-License-Identifier: Apache-2.0
// plan/known_paths.hpp: what is known of a reshard is what `reshard` says of it, however often and by whom it was
// asked.
#include <meshloom/plan/known_paths.hpp>
#include <meshloom/plan/stage_price.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

#include <random>

namespace ml = meshloom;

TEST_CASE("known paths are those of reshard, at first and again; references stay good") {
  const ml::graph& whole = models::all()[0].graph;
  const ml::mesh_shape mesh{2, {2, 3}};
  const ml::mesh_links links = ml::links_of(ml::local(6), mesh, 0);
  ml::known_paths known(whole, whole.sizes, mesh, links);
  std::mt19937 random(1);
  ml::vector<std::pair<const ml::reshard_path*, ml::reshard_path>> seen;
  for (int tried = 0; tried < 2000; ++tried) {
    const auto id = static_cast<ml::value_id>(random() % whole.values.size());
    const ml::value& entry = whole.values[id];
    const auto specs = ml::all_specs(static_cast<int>(entry.axes.size()), mesh, true);
    const ml::spec from = specs[random() % specs.size()], to = specs[random() % specs.size()];
    const auto extents = ml::extents_of(whole.sizes, entry.axes);
    const ml::reshard_path path = ml::reshard(from, to, extents, {ml::size_of(entry.type)}, mesh, links);
    for (int again = 0; again < 2; ++again) {
      const ml::reshard_path& found = known.find(id, from, to);
      CHECK(found == path);
      seen.emplace_back(&found, path);
    }
  }
  for (const auto& [found, path] : seen) CHECK(*found == path);
}

TEST_CASE("stages that stand alike share their paths, others do not") {
  const ml::graph& whole = models::all()[0].graph;
  const ml::mesh_shape two{1, {2}}, four{1, {4}};
  ml::cluster machine = ml::local(2);
  machine.hosts = 2;
  machine.between_hosts.bytes_per_second /= 10;
  const ml::mesh_links near = ml::links_of(machine, two, 0), far = ml::links_of(machine, two, 1);
  REQUIRE(!(near == far));
  ml::shared_paths shared(whole);
  ml::known_paths& first = shared.of(1, two, near);
  CHECK(&shared.of(1, two, far) != &first);
  CHECK(&shared.of(2, two, near) != &first);
  CHECK(&shared.of(1, four, near) != &first);
  CHECK(&shared.of(1, two, ml::links_of(machine, two, 2)) == &first);
}

TEST_CASE("a plan costs the same whichever plans were priced before it") {
  for (const auto& [name, whole] : models::all()) {
    CAPTURE(name);
    ml::cluster machine = ml::local(2);
    machine.hosts = 2;
    machine.between_hosts.bytes_per_second /= 10;
    ml::shared_paths known(whole);
    for (int again = 0; again < 2; ++again) {
      for (const std::string preset : {"data", "tensor", "zero3=2,pipeline=2", "data=2,tensor=2", "pipeline=4"}) {
        for (const std::int32_t parts : {1, 2}) {
          const ml::plan made = models::planned(whole, preset, 4, parts);
          CHECK(ml::predict(whole, made, machine, known) == ml::predict(whole, made, machine));
        }
      }
    }
  }
}
