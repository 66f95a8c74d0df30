// SPDX-License-Identifier: Apache-2.0
// planner/solve.hpp against Alpa: the optima that its own tests state for four devices, and the plans behind them.
// There only communication has a price: α = 1 per collective and β = 1 per byte.
// Oracle: tests/shard_parallel of alpa-projects/alpa at b8078a9 and the formulas of its auto_sharding.cc, without the
// penalty that it puts on replicated tensors. Nothing on that side comes from our code.
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/check.hpp>
#include <meshloom/program/lower.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

/// Alpa's price of a sum among four, by the bytes of the whole buffer.
constexpr double all_reduce(double bytes) { return 1 + 2 * 3. / 4 * bytes + 0.01; }

constexpr std::int64_t unit = 6000;  // picoseconds of ours in a unit of Alpa's

/// Four ranks that compute for nothing. An all-reduce takes six rounds of a quarter of the bytes: with a sixth of α per
/// round it costs what Alpa says. No other collective costs more than there: a gather α/2 less, an all-to-all half.
ml::cluster unit_costs() {
  const ml::link link{.latency = {unit / 6}, .bytes_per_second = 1'000'000'000'000 / unit + 1};
  const ml::device device{.memory = {1 << 30}, .flops_per_second = 1e30, .bytes_per_second = std::int64_t{1} << 60};
  return {.name = "unit costs", .device = device, .devices_per_host = 4, .within_host = link, .between_hosts = link};
}

struct square_error {
  auto operator()(auto& scope, const ml::pointwise_value auto& output, const auto& target) const {
    const auto error = evaluate(scope, output - target);
    return error * error;
  }
};

template <class Model, class Sizes, class Sample>
ml::graph trained(const Model& model, const Sizes& sizes, Sample sample) {
  return ml::trace(ml::training{.model = model,
                                .loss = square_error{},
                                .optimizer = ml::adamw{},
                                .sizes = sizes,
                                .input = sample,
                                .target = sample});
}

/// Six layers of one width, relu between them.
ml::graph perceptron(std::int64_t samples, std::int64_t width) {
  const auto up = ml::linear<embed, mlp>{};
  const auto down = ml::linear<mlp, embed>{};
  const auto relu = ml::relu{};
  return trained(up | relu | down | relu | up | relu | down | relu | up | relu | down,
                 ml::sizes{ml::size<batch>{samples}, ml::size<embed>{width}, ml::size<mlp>{width}},
                 ml::tensor<batch, embed>{});
}

struct part;  // query, key or value

template <class Operand, class Result>
constexpr ml::signature along_parts(std::string_view name) {
  auto made = ml::describe(name).operands<Operand>().template results<Result>().linear_in(1).made;
  made.roles[2] = ml::role::blocked;
  return made;
}

/// One of the parts that lie side by side along axis 2, by attribute 0; and its gradient.
struct take_gradient {
  static constexpr auto signature = along_parts<ml::at<0, 1, 3, 4>, ml::at<0, 1, 2, 3, 4>>("take_gradient");
  using gradient = ml::operators<>;
};
struct take {
  static constexpr auto signature = along_parts<ml::at<0, 1, 2, 3, 4>, ml::at<0, 1, 3, 4>>("take");
  using gradient = ml::operators<take_gradient>;
  static void differentiate(ml::differentiation& d) {
    const std::array<ml::axis_id, 1> parts{d.index(2)};
    d.contribute(0, d.emit(ml::record_of<take_gradient>, {d.gradient(0)}, d.attributes(), parts)[0]);
  }
};

/// Attention as Alpa's BERT has it: one product makes queries, keys and values, so that one sum leads back to x.
struct fused_attention {
  static constexpr std::string_view name = "attention";

  auto operator()(auto& scope, ml::tensor<batch, seq, embed> x) const {
    const auto parts = scope.layer("parts", [&] {
      const auto weight = scope.template parameter<embed, part, heads, head>("weight", {});
      const auto bias = scope.template parameter<part, heads, head>("bias", {});
      return evaluate(scope, ml::dot<embed>(scope, x, weight) + bias);
    });
    const auto one = [&](double which) {
      using indices = ml::axes<batch, seq, part, heads, head>;
      return ml::tensor<batch, seq, heads, head>{scope.template emit<take>(indices{}, {which}, parts)[0]};
    };
    const auto query = one(0);
    const auto key = ml::rename<seq, ml::keys<seq>>(one(1));
    const auto value = ml::rename<seq, ml::keys<seq>>(one(2));
    const auto scores = ml::dot_to<ml::axes<batch, heads, seq, ml::keys<seq>>>(scope, query, key);
    const auto weights = ml::softmax<ml::keys<seq>>(scope, scores);
    const auto mixed = ml::dot_to<ml::axes<batch, seq, heads, head>>(scope, weights, value);
    const auto weight = scope.template parameter<heads, head, embed>("weight", {});
    const auto bias = scope.template parameter<embed>("bias", {});
    return ml::dot<heads, head>(scope, mixed, weight) + bias;
  }
};

/// Two of BERT's layers, without embedding and head: the first one's input needs no gradient.
ml::graph encoder(std::int64_t samples, std::int64_t length, std::int64_t width) {
  const auto layer = ml::residual(fused_attention{}) | ml::layer_norm<embed>{} |
                     ml::residual(ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{}) |
                     ml::layer_norm<embed>{};
  return trained(layer | layer,
                 ml::sizes{ml::size<batch>{samples}, ml::size<seq>{length}, ml::size<embed>{width}, ml::size<part>{3},
                           ml::size<heads>{8}, ml::size<head>{width / 8}, ml::size<mlp>{4 * width}},
                 ml::tensor<batch, seq, embed>{});
}

template <class Keep>
void keep_rows(ml::record& of, const Keep& keep) {
  const auto begin = of.choices.rows.begin();
  const auto end = std::remove_if(begin, begin + of.choices.count, [&](const ml::choice& row) { return !keep(row); });
  of.choices.count = static_cast<int>(end - begin);
}

/// All rows, but every product is divided among the ranks: repeated on each it would be free, and nothing would move.
void all_rows(ml::record& of) {
  if (of.op.name == "dot") keep_rows(of, [](const ml::choice& row) { return row.kind == ml::choice::split; });
}

/// Alpa's rows: a sum over a split axis is all-reduced inside the operator that makes it, and so never pending. (Alpa
/// merges axes before it splits them and so has fewer rows than these; the optima are the same.)
void alpas_rows(ml::record& of) {
  all_rows(of);
  keep_rows(of, [](const ml::choice& row) { return row.kind != ml::choice::linear; });
  ml::signature& op = of.op;
  op.linear_count = 0;
  if (std::find(op.roles.begin(), op.roles.end(), ml::role::contracted) == op.roles.end()) return;
  REQUIRE(op.statistic_count == 0);
  std::replace(op.roles.begin(), op.roles.end(), ml::role::contracted, ml::role::statistic);
  for (std::size_t k = 0; k < static_cast<std::size_t>(op.result_count); ++k) {
    REQUIRE(op.results[k] == op.results[0]);
    op.statistics[k] = {ml::reduction::sum, 1, op.results[0]};
  }
  op.statistic_count = op.result_count;
  of.accumulates = false;  // what has parts writes its results in the last
  REQUIRE(ml::valid(op));
}

/// A graph whose operators have tables of their own.
struct tabled_graph {
  std::map<const ml::record*, ml::record> records;
  ml::graph graph;
};

template <class Change>
tabled_graph with(const Change& change, ml::graph whole) {
  tabled_graph made{{}, std::move(whole)};
  for (ml::node& at : made.graph.nodes) {
    const auto [own, is_new] = made.records.try_emplace(at.op, *at.op);
    if (is_new) change(own->second);
    at.op = &own->second;
  }
  return made;
}

using mesh = ml::vector<ml::mesh_axis_size>;
const mesh flat_meshes[] = {{{"outer", 4}, {"inner", 1}}, {{"outer", 1}, {"inner", 4}}};

/// The best plan of one stage and one micro-batch, proven.
ml::plan optimum(const ml::graph& whole, const mesh& on) {
  ml::manual asked = ml::automatic();
  asked.mesh = on;
  asked.stages = 1;
  asked.micro_batches = 1;
  const auto solved = ml::solve(ml::formulate(whole, unit_costs(), asked));
  REQUIRE_MESSAGE(solved, solved.error());
  CHECK(solved.value().bound == solved.value().predicted);
  return solved.value();
}

double units_of(const ml::plan& made) { return static_cast<double>(made.predicted.count) / unit; }

struct collective_of {
  ml::collective kind;
  double bytes;
};

/// What a step moves; but not the loss, one number, which a step of Alpa's tests does not return.
ml::vector<collective_of> collectives_in(const ml::graph& whole, const ml::plan& made) {
  const ml::program program = ml::lower(whole, made, unit_costs());
  CHECK(ml::check(program).empty());
  ml::vector<collective_of> found;
  for (const ml::stage_program& stage : program.stages) {
    for (const auto& body : stage.bodies) {
      for (const ml::instruction& each : body) {
        const bool exchanges = each.kind == ml::instruction::exchange;
        if (!exchanges && (each.kind != ml::instruction::redistribute || each.how == ml::collective::slice)) continue;
        const ml::buffer& moved = stage.buffers[exchanges ? each.exchanged[0] : each.operands[0]];
        double bytes = 4;
        for (int axis = 0; axis < moved.rank; ++axis)
          bytes *= static_cast<double>(moved.global[static_cast<std::size_t>(axis)]);
        if (bytes > 4) found.push_back({each.how, bytes});
      }
    }
  }
  return found;
}

/// The axis of a parameter that the plan splits; empty if it is kept whole, as its optimizer state must be then.
std::string axis_split(const ml::graph& whole, const ml::plan& made, std::size_t parameter) {
  const ml::parameter_plan& kept = made.stages[ml::stage_id{0}].parameters[parameter];
  CHECK(kept.stored == kept.state);
  if (kept.stored.is_whole()) return "";
  const auto axis = static_cast<std::size_t>(kept.stored.on(0).axis);
  return std::string(whole.sizes[whole.values[whole.parameters[parameter].value].axes[axis]].name);
}

/// Checks the optimum in Alpa's rows: what it costs, that it moves `count` sums and nothing else, and that every
/// parameter is split along that of the axes in `split` which it has, if any.
void compare(const ml::graph& of, double oracle, std::size_t count, const ml::vector<std::string>& split) {
  const tabled_graph alpas = with(alpas_rows, of), all = with(all_rows, of);
  for (const mesh& on : flat_meshes) {
    const ml::plan made = optimum(alpas.graph, on);
    CHECK(units_of(made) == doctest::Approx(oracle).epsilon(0.01));
    double price = 0;
    const auto moved = collectives_in(alpas.graph, made);
    for (const collective_of& each : moved) {
      CHECK(each.kind == ml::collective::all_reduce);
      price += all_reduce(each.bytes);
    }
    CHECK(price == doctest::Approx(oracle).epsilon(1e-6));
    CHECK(moved.size() == count);
    for (std::size_t p = 0; p < of.parameters.size(); ++p) {
      std::string wanted;
      for (const ml::axis_id axis : of.values[of.parameters[p].value].axes) {
        if (std::find(split.begin(), split.end(), of.sizes[axis].name) != split.end()) wanted = of.sizes[axis].name;
      }
      CHECK(axis_split(of, made, p) == wanted);
    }
    CHECK(optimum(all.graph, on).predicted <= made.predicted);
  }
}

}  // namespace

TEST_CASE("narrow layers are data parallel: the gradient of every parameter is summed, and costs what Alpa says") {
  // Alpa states 38,139.1, which has in it a penalty of 3 for each of 37 replicated tensors.
  constexpr double oracle = 6 * all_reduce(4 * 32 * 32) + 6 * all_reduce(4 * 32);
  static_assert(oracle + 3 * 37 > 38'139.1 && oracle + 3 * 37 < 38'139.2);
  compare(perceptron(256, 32), oracle, 12, {});
}

TEST_CASE("narrow layers of BERT are data parallel") {
  // Width 32: attention of 32 × 96 and 32 × 32, two products of 32 × 128, their biases, two norms of 2 × 32.
  constexpr double attention = all_reduce(4 * 32 * 96) + all_reduce(4 * 96) + all_reduce(4 * 32 * 32);
  constexpr double products = 2 * all_reduce(4 * 32 * 128) + all_reduce(4 * 128);
  constexpr double of_width = 6 * all_reduce(4 * 32);  // the other biases, and the norms
  constexpr double oracle = 2 * (attention + products + of_width);
  static_assert(oracle > 152'472.2 && oracle < 152'472.3);
  compare(encoder(64, 64, 32), oracle, 24, {});
}

TEST_CASE("wide layers are Megatron's: every second product is summed, forward and backward") {
  compare(perceptron(32, 256), 245'765.05, 5, {"mlp"});  // (layers − 1) · all_reduce(4 · 32 · 256)
}

TEST_CASE("wide layers of BERT are Megatron's: heads and hidden units are split, four sums per layer less one") {
  compare(encoder(8, 8, 128), 344'071.07, 7, {"heads", "mlp"});                   // 7 · all_reduce(4 · 8 · 8 · 128)
  compare(encoder(1, 8, 128), 7 * all_reduce(4 * 8 * 128), 7, {"heads", "mlp"});  // a batch that cannot be split
}

TEST_CASE("the full table is never dearer than Alpa's rows; where it is cheaper, it scatters sums") {
  int cheaper = 0;
  const auto compare_rows = [&](const ml::graph& of, const mesh& on) {
    const tabled_graph alpas = with(alpas_rows, of), all = with(all_rows, of);
    const ml::plan few = optimum(alpas.graph, on), many = optimum(all.graph, on);
    CHECK(many.predicted <= few.predicted);
    if (units_of(many) > 0.99 * units_of(few)) return;
    const auto moved = collectives_in(all.graph, many);
    const auto scatters = [](const collective_of& each) { return each.kind == ml::collective::reduce_scatter; };
    CHECK(std::any_of(moved.begin(), moved.end(), scatters));
    ++cheaper;
  };
  for (const std::int64_t samples : {4, 64}) {
    for (const std::int64_t width : {16, 64}) compare_rows(perceptron(samples, width), {{"outer", 0}, {"inner", 0}});
    for (const std::int64_t width : {32, 128}) compare_rows(encoder(samples, 64, width), flat_meshes[0]);
  }
  CHECK(cheaper > 2);
}

TEST_CASE("were products not divided, nothing would be communicated") {
  for (const ml::graph& of : {perceptron(256, 32), encoder(8, 8, 128)})
    CHECK(collectives_in(of, optimum(of, flat_meshes[0])).empty());
}
