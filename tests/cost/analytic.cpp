// SPDX-License-Identifier: Apache-2.0
// Laws of cost/analytic.hpp: nothing of weight is free; no price falls when a shard grows or a rate falls; the
// roofline, exchanges and messages are what their closed forms say.
#include <meshloom/cost/analytic.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <random>

namespace ml = meshloom;
using ml::picoseconds;

namespace {

const ml::cluster& machine() {
  static const ml::cluster made = ml::local(8);
  return made;
}

/// One node of a graph, to be priced with one thing or another changed.
struct question {
  const ml::graph& whole;
  ml::node_id id;
  ml::mesh_shape mesh = {};
  ml::strategy how = {};
  ml::size_table sizes = whole.sizes;
  ml::device on = machine().device;
  ml::link over = machine().within_host;

  picoseconds price() const { return ml::price(whole, sizes, id, mesh, how, on, ml::mesh_links{{over, over, over}}); }
};

/// Every node of every model under every strategy on meshes of one and two axes.
void for_each_question(const std::function<void(const question&)>& visit) {
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    for (const ml::mesh_shape& mesh : {ml::mesh_shape{}, ml::mesh_shape{1, {4}}, ml::mesh_shape{2, {2, 3}}}) {
      for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
        question asked{graph, static_cast<ml::node_id>(n), mesh};
        CAPTURE(graph.nodes[asked.id].name);
        ml::for_each_strategy(graph.nodes[asked.id].op->choices, mesh.rank, [&](const ml::strategy& how) {
          asked.how = how;
          visit(asked);
        });
      }
    }
  }
}

ml::strategy splitting(const ml::node& at, std::initializer_list<int> index_per_mesh_axis) {
  ml::strategy how;
  std::size_t mesh_axis = 0;
  for (const int index : index_per_mesh_axis) {
    const auto& rows = at.op->choices.rows;
    const auto found = std::find_if(rows.begin(), rows.end(), [&](const ml::choice& row) {
      return row.kind == ml::choice::split && row.index == index;
    });
    how.row[mesh_axis++] = static_cast<std::uint8_t>(found - rows.begin());
  }
  return how;
}

const ml::graph& gpt() { return models::all()[0].graph; }  // batch 24, seq 6, embed 12, mlp 16

/// The same in mixed precision.
const ml::graph& mixed_gpt() {
  static const ml::graph made = [] {
    const auto task = models::token_training(
        ml::embedding<models::vocab, models::embed>{} | ml::positions<models::seq, models::embed>{} |
        ml::repeat(4, models::attention() | models::perceptron()) | ml::layer_norm<models::embed>{} |
        ml::linear<models::embed, models::vocab>{});
    return ml::trace(ml::training{.model = task.model,
                                  .loss = task.loss,
                                  .optimizer = task.optimizer,
                                  .sizes = task.sizes,
                                  .precision = ml::bf16{}});
  }();
  return made;
}

/// The roofline of local(…): 100 GFLOP/s and 10 GB/s, of numbers of 4 bytes.
picoseconds roofline(double flops, double elements) {
  return ml::from_seconds(std::max(flops / 100e9, elements * 4 / 10e9));
}

}  // namespace

TEST_CASE("nothing is free: every operator starts a kernel and moves or computes something") {
  for_each_question([](const question& asked) { CHECK(asked.price() > asked.on.launch); });
}

TEST_CASE("no price falls when a shard grows") {
  std::mt19937_64 bits(3);
  for_each_question([&](question asked) {
    const picoseconds before = asked.price();
    const auto& indices = asked.whole.nodes[asked.id].indices;
    if (indices.empty()) return;
    const ml::axis_id axis = indices[bits() % indices.size()];
    for (int growth = 0; growth < 5; ++growth) {
      asked.sizes[axis].extent += static_cast<std::int64_t>(1 + bits() % 7);
      CHECK(asked.price() >= before);
    }
    asked.sizes[axis].extent *= 100;
    if (asked.how == ml::strategy{}) CHECK(asked.price() > before);
  });
}

TEST_CASE("no price falls when something gets slower") {
  for_each_question([](const question& asked) {
    const auto price_with = [&](const std::function<void(question&)>& change) {
      question slower = asked;
      change(slower);
      return slower.price();
    };
    const picoseconds price = asked.price();
    CHECK(price_with([](question& slower) { slower.on.flops_per_second /= 3; }) >= price);
    CHECK(price_with([](question& slower) { slower.on.half_flops_per_second = 1; }) == price);  // all is of f32
    CHECK(price_with([](question& slower) { slower.on.bytes_per_second /= 3; }) >= price);
    CHECK(price_with([](question& slower) { slower.on.launch += picoseconds{1}; }) > price);
    CHECK(price_with([](question& slower) { slower.over.bytes_per_second /= 3; }) >= price);
    CHECK(price_with([](question& slower) { slower.over.latency += picoseconds{1}; }) >= price);
  });
}

TEST_CASE("a matrix product costs its roofline") {
  question dot{gpt(), models::node_named(gpt(), "repeat.residual_2.linear.dot")};  // [b, s, embed] · [embed, mlp]
  const double rows = 24 * 6;
  const auto expected = [](double m, double k, double n) {
    return roofline(2 * m * k * n, m * k + k * n + m * n) + picoseconds{1'000'000};
  };
  CHECK(dot.price() == expected(rows, 12, 16));
  CHECK(roofline(2 * rows * 12 * 16, 0) < roofline(0, rows * 12 + 12 * 16 + rows * 16));  // bound by memory
  dot.sizes[ml::find_axis(dot.sizes, "embed")].extent = 4096;
  dot.sizes[ml::find_axis(dot.sizes, "mlp")].extent = 4096;
  CHECK(dot.price() == expected(rows, 4096, 4096));
  CHECK(dot.price() == ml::from_seconds(2 * rows * 4096 * 4096 / 100e9) + picoseconds{1'000'000});  // by arithmetic

  // Shards are the largest ones: of 24 samples on 5 ranks 5, of 16 hidden units on 3 ranks 6.
  question split{gpt(), dot.id, {2, {5, 3}}, splitting(gpt().nodes[dot.id], {0, 3})};
  REQUIRE(gpt().sizes[gpt().nodes[dot.id].indices[3]].name == "mlp");
  CHECK(split.price() == expected(5 * 6, 12, 6));
}

TEST_CASE("a product of bf16 costs the rate of half precision, and half the bytes") {
  question exact{gpt(), models::node_named(gpt(), "repeat.residual_2.linear.dot")};
  question dot{mixed_gpt(), models::node_named(mixed_gpt(), "repeat.residual_2.linear.dot")};
  for (question* each : {&exact, &dot}) each->on.launch = {};
  CHECK(dot.price() == roofline(0, (24 * 6 * 12 + 12 * 16 + 24 * 6 * 16) / 2.0));  // bound by memory
  for (question* each : {&exact, &dot}) {
    for (const char* axis : {"embed", "mlp"}) each->sizes[ml::find_axis(each->sizes, axis)].extent = 4096;
  }
  const double flops = 2.0 * 24 * 6 * 4096 * 4096;
  CHECK(dot.price() == ml::from_seconds(flops / 100e9));  // by arithmetic; a rate of 0 is that of f32
  for (question* each : {&exact, &dot}) each->on.half_flops_per_second = 25e9;
  CHECK(dot.price() == ml::from_seconds(flops / 25e9));  // as slow as it is
  for (question* each : {&exact, &dot}) each->on.half_flops_per_second = 800e9;
  CHECK(dot.price() == ml::from_seconds(flops / 800e9));
  CHECK(exact.price() == ml::from_seconds(flops / 100e9));
}

TEST_CASE("half precision prices its own products alone, and none of f32") {
  int products = 0;
  for (const ml::graph* whole : {&gpt(), &mixed_gpt()}) {
    for (std::size_t n = 0; n < whole->nodes.size(); ++n) {
      question asked{*whole, static_cast<ml::node_id>(n)};
      const ml::node& at = whole->nodes[asked.id];
      CAPTURE(at.name);
      const picoseconds before = asked.price();
      asked.on.half_flops_per_second = 1;  // a second for each operation
      const bool rounded = at.op->products && ml::is_half(whole->values[at.operands[0]].type);
      CHECK((asked.price() > before) == rounded);
      products += rounded;
    }
  }
  CHECK(products >= 18);  // six linear layers, forward and twice back
}

TEST_CASE("a pointwise operator costs the memory it moves") {
  question add{gpt(), models::node_named(gpt(), "positions.pointwise")};  // [b, s, e] + [s, e]
  CHECK(add.price() == roofline(0, 24 * 6 * 12 + 6 * 12 + 24 * 6 * 12) + picoseconds{1'000'000});
  add.mesh = {1, {4}};
  CHECK(add.price() == roofline(0, 24 * 6 * 12 + 6 * 12 + 24 * 6 * 12) + picoseconds{1'000'000});  // whole on each
  add.how = splitting(gpt().nodes[add.id], {0});
  CHECK(add.price() == roofline(0, 6 * 6 * 12 + 6 * 12 + 6 * 6 * 12) + picoseconds{1'000'000});
}

TEST_CASE("statistics are exchanged once per mesh axis that splits their axis, with a kernel more for each") {
  question norm{gpt(), models::node_named(gpt(), "layer_norm.layer_norm")};  // two exchanges of a number per row
  const ml::node& at = gpt().nodes[norm.id];
  const auto work = [](double rows, double embed) {
    return roofline(8 * rows * embed, 2 * rows * embed + 2 * embed + 2 * rows) + picoseconds{1'000'000};
  };
  const auto exchange = [&](std::int32_t ranks, std::int64_t rows) {
    return ml::price(ml::collective::all_reduce, ranks, ml::bytes{rows * 4}, norm.over);
  };
  const picoseconds launch = norm.on.launch;
  CHECK(norm.price() == work(24 * 6, 12));
  norm.mesh = {1, {4}};
  norm.how = splitting(at, {0});
  CHECK(norm.price() == work(6 * 6, 12));  // by rows: nothing to exchange
  norm.how = splitting(at, {2});
  CHECK(norm.price() == work(24 * 6, 3) + 2 * (exchange(4, 24 * 6) + launch));
  norm.mesh = {2, {2, 3}};
  norm.how = splitting(at, {0, 2});
  CHECK(norm.price() == work(12 * 6, 4) + 2 * (exchange(3, 12 * 6) + launch));
  norm.how = splitting(at, {2, 2});
  CHECK(norm.price() == work(24 * 6, 2) + 2 * (exchange(2, 24 * 6) + exchange(3, 24 * 6) + launch));
}

TEST_CASE("a message costs latency and bytes") {
  const ml::link over{{5'000'000}, 3'000'000'000};
  CHECK(ml::transfer_price({0}, over) == picoseconds{5'000'000});
  CHECK(ml::transfer_price({3'000'000}, over) == picoseconds{5'000'000 + 1'000'000'000});
  CHECK(ml::transfer_price({1}, over) == picoseconds{5'000'000 + 334});  // rounded up
  std::mt19937_64 bits(5);
  for (int round = 0; round < 200; ++round) {
    const ml::bytes size{static_cast<std::int64_t>(bits() % (1u << 30))},
        more{static_cast<std::int64_t>(bits() % 1000)};
    const ml::link slower{over.latency, over.bytes_per_second - static_cast<std::int64_t>(bits() % 2'000'000'000)};
    CHECK(ml::transfer_price(size + more, over) >= ml::transfer_price(size, over));
    CHECK(ml::transfer_price(size, slower) >= ml::transfer_price(size, over));
  }
}
