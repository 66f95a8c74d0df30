// SPDX-License-Identifier: Apache-2.0
// planner/reshard_prices.hpp: every price is that of `reshard`, whatever was asked before.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/planner/reshard_prices.hpp>

#include <doctest/doctest.h>

#include <random>

namespace ml = meshloom;

TEST_CASE("prices are those of reshard, for shapes, elements and specs in any order") {
  std::mt19937 random(5);
  const auto draw = [&](std::size_t count) { return random() % count; };
  struct tensor {
    ml::vector<std::int64_t> extents;
    ml::bytes element;
  };
  const ml::vector<tensor> tensors{{{}, {4}},     {{12}, {4}},      {{12}, {2}},         {{5, 7}, {4}},
                                   {{7, 5}, {4}}, {{6, 4, 9}, {4}}, {{1, 64, 300}, {2}}, {{2, 3, 4, 5}, {4}}};
  const ml::cluster machine = ml::p3_16xlarge(2);
  int possible = 0, impossible = 0, free = 0;
  for (const ml::mesh_shape& mesh :
       {ml::mesh_shape{}, ml::mesh_shape{1, {4}}, ml::mesh_shape{2, {2, 3}}, ml::mesh_shape{2, {2, 8}}}) {
    const ml::mesh_links links = ml::links_of(machine, mesh, 0);
    ml::reshard_prices prices(mesh, links);
    for (int round = 0; round < 2000; ++round) {
      const tensor& each = tensors[draw(tensors.size())];
      const auto specs = ml::all_specs(static_cast<int>(each.extents.size()), mesh, true);
      const ml::spec &from = specs[draw(specs.size())], &to = specs[draw(specs.size())];
      const ml::reshard_path path = ml::reshard(from, to, each.extents, each.element, mesh, links);
      CHECK(prices.find(prices.shape_of(each.extents, each.element), from, to) ==
            (path.possible ? path.time : ml::forbidden));
      ++(!path.possible ? impossible : path.time.count == 0 ? free : possible);
    }
  }
  CHECK(possible > 1000);
  CHECK(impossible > 1000);
  CHECK(free > 500);
}
