// SPDX-License-Identifier: Apache-2.0
// graph/grouping.hpp: of all ways to cut the operators of small random graphs into layers, the one that is found is
// worth as much as the best; and of every model the grouped graph is sound, has the names of the graph that it was, and
// is grouped as it is. That grouped graphs train alike is tested where they run.
#include <meshloom/graph/grouping.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/model/moe.hpp>
#include <meshloom/model/wide_resnet.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

// --- small graphs, and all ways to cut them

template <class List>
constexpr const ml::record& add_of =
    ml::record_of<ml::op::pointwise<ml::op::add<ml::op::operand<0>, ml::op::operand<1>>, List, List, List>>;

/// Products of matrices and sums of what was made before, at random, in one region; trained by SGD.
ml::graph random_graph(std::mt19937& dice, int operators) {
  const auto draw = [&](int most) { return std::uniform_int_distribution<int>(0, most)(dice); };
  ml::graph_builder into;
  const ml::axis_id samples = into.axis("batch", 2 + draw(6));
  ml::vector<ml::axis_id> widths;
  for (const char* name : {"narrow", "middle", "broad"}) widths.push_back(into.axis(name, 2 + draw(30)));
  into.made.micro_batched = samples;
  ml::vector<ml::value_id> made{into.add_input("input", {samples, widths[0]}, ml::dtype::f32)}, unread;
  into.open_region("model", 1, false);
  const auto width_of = [&](ml::value_id id) { return into.made.values[id].axes[1]; };
  const auto add = [&](ml::value_id a, ml::value_id b) {
    return into.emit(add_of<ml::at<0, 1>>, std::array{a, b}, std::array{samples, width_of(a)}, {})[0];
  };
  const auto read = [&](ml::value_id id) {
    ml::erase(unread, id);
    return id;
  };
  for (int n = 0; n < operators; ++n) {
    const ml::value_id x = made[made.size() - 1 - static_cast<std::size_t>(draw(std::min<int>(2, n)))];
    const auto alike =
        std::find_if(made.begin(), made.end(), [&](ml::value_id id) { return id != x && width_of(id) == width_of(x); });
    if (alike != made.end() && draw(2) == 0) {
      made.push_back(add(read(x), read(*alike)));
    } else {
      ml::axis_id out = widths[static_cast<std::size_t>(draw(2))];
      if (out == width_of(x)) out = out == widths[0] ? widths[1] : widths[0];
      const ml::value_id weight = into.add_parameter("weight", {width_of(x), out}, {ml::initial::normal, 0.1}, false);
      const auto& op = ml::record_of<ml::op::dot<ml::at<0, 1>, ml::at<1, 2>, ml::at<0, 2>>>;
      made.push_back(into.emit(op, std::array{read(x), weight}, std::array{samples, width_of(x), out}, {})[0]);
    }
    ml::erase(unread, made.back());
    unread.push_back(made.back());
  }
  ml::value_id loss = ml::value_id::none;
  for (const ml::value_id id : unread) {
    const auto& op = ml::record_of<ml::op::sum<ml::at<0, 1>, ml::at<>>>;
    const ml::value_id sum = into.emit(op, std::array{id}, std::array{samples, width_of(id)}, {1.0})[0];
    loss = loss == ml::value_id::none
               ? sum
               : into.emit(add_of<ml::at<>>, std::array{loss, sum}, std::span<const ml::axis_id>(), {})[0];
  }
  into.close_region();
  into.made.results = {loss};
  ml::differentiate(into, loss);
  ml::add_updates(into, ml::rules_of(ml::sgd{}, into.made));
  return std::move(into.made);
}

/// What layers are worth, the less the better: the largest receipt, idle layers, all receipts, squares of work.
using worth = std::tuple<std::int64_t, int, std::int64_t, double>;

/// All ways to cut a graph of one region, judged by what is said of them and by nothing else.
class cuttings {
 public:
  explicit cuttings(const ml::graph& whole) : whole_(whole), place_(whole.nodes.size(), -1) {
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const ml::node_id id{static_cast<std::int32_t>(n)};
      if (whole.nodes[id].when == ml::phase::forward) place_[id] = places_++;
    }
    place_backward();
    for (int cut = 1; cut < places_; ++cut) legal_.push_back(is_legal(cut));
  }

  int most_layers() const { return 1 + static_cast<int>(std::count(legal_.begin(), legal_.end(), true)); }

  /// Of all ways to make so many layers, under the first limit that allows one.
  worth best(int layers, double average, double slack) const {
    std::optional<worth> found;
    for (double limit = (1 + slack) * average; !found; limit *= 2) {
      for (unsigned cuts = 0; cuts < 1u << (places_ - 1); ++cuts) {
        if (std::popcount(cuts) != layers - 1) continue;
        const auto here = judge(cuts, average, slack, limit);
        if (here && (!found || *here < *found)) found = here;
      }
    }
    return *found;
  }

  /// What a way is worth, of which bit k says whether there is a cut behind place k; nothing if there is no such way.
  std::optional<worth> judge(unsigned cuts, double average, double slack, double limit) const {
    ml::vector<int> layer(static_cast<std::size_t>(places_));
    for (int k = 1; k < places_; ++k) {
      const bool cut = cuts >> (k - 1) & 1;
      if (cut && !legal_[static_cast<std::size_t>(k) - 1]) return std::nullopt;
      layer[static_cast<std::size_t>(k)] = layer[static_cast<std::size_t>(k) - 1] + (cut ? 1 : 0);
    }
    const auto layer_of = [&](ml::node_id id) { return layer[static_cast<std::size_t>(place_[id])]; };
    ml::vector<std::set<ml::value_id>> received(static_cast<std::size_t>(layer.back()) + 1);
    ml::vector<double> work(received.size()), counted(received.size()), group(static_cast<std::size_t>(places_));
    for (std::size_t n = 0; n < place_.size(); ++n) {
      const ml::node_id id{static_cast<std::int32_t>(n)};
      if (place_[id] < 0) continue;
      const auto here = static_cast<std::size_t>(layer_of(id));
      work[here] += work_of(whole_.nodes[id]);
      group[group_of(place_[id])] += work_of(whole_.nodes[id]);
      for (const ml::value_id read : whole_.nodes[id].operands) {
        const ml::node_id maker = whole_.values[read].producer;
        if (maker != ml::node_id::none && layer_of(maker) != layer_of(id)) received[here].insert(read);
      }
    }
    for (std::size_t k = 0; k < group.size(); ++k)
      counted[static_cast<std::size_t>(layer[k])] += std::min(group[k], average);
    worth made{};
    for (std::size_t each = 0; each < work.size(); ++each) {
      if (counted[each] > limit) return std::nullopt;
      std::int64_t size = 0;
      for (const ml::value_id id : received[each]) size += size_of(id);
      std::get<0>(made) = std::max(std::get<0>(made), size);
      std::get<1>(made) += work[each] < std::floor(average / (1 + slack)) ? 1 : 0;
      std::get<2>(made) += size;
      std::get<3>(made) += work[each] * work[each];
    }
    return made;
  }

  double all_work() const {
    double all = 0;
    for (std::size_t n = 0; n < place_.size(); ++n) {
      const ml::node_id id{static_cast<std::int32_t>(n)};
      if (place_[id] >= 0) all += work_of(whole_.nodes[id]);
    }
    return all;
  }

  /// The cuts that a grouped graph has.
  unsigned cuts_of(const ml::graph& grouped) const {
    unsigned cuts = 0;
    ml::region_id last = ml::region_id::none;
    int place = 0;
    for (const ml::node& at : grouped.nodes) {
      if (at.when != ml::phase::forward) continue;
      if (place > 0 && at.region != last) cuts |= 1u << (place - 1);
      last = at.region;
      ++place;
    }
    return cuts;
  }

 private:
  /// Names say what backward operators differentiate; whoever makes a gradient for another is not in front of it.
  void place_backward() {
    std::map<std::string, int> named;
    for (std::size_t n = 0; n < place_.size(); ++n) {
      const ml::node_id id{static_cast<std::int32_t>(n)};
      const ml::node& at = whole_.nodes[id];
      if (at.when == ml::phase::forward) named[at.name] = place_[id];
      if (at.when != ml::phase::backward) continue;
      const auto end = at.name.find(".d.");
      place_[id] = end == std::string::npos ? places_ - 1 : named.at(at.name.substr(0, end));
    }
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t n = 0; n < place_.size(); ++n) {
        const ml::node_id id{static_cast<std::int32_t>(n)};
        if (whole_.nodes[id].when != ml::phase::backward) continue;
        for (const ml::value_id read : whole_.nodes[id].operands) {
          const ml::node_id maker = whole_.values[read].producer;
          if (maker == ml::node_id::none || whole_.nodes[maker].when != ml::phase::backward) continue;
          if (place_[maker] >= place_[id]) continue;
          place_[maker] = place_[id];
          changed = true;
        }
      }
    }
  }

  /// The gradient of a parameter is made in the layer that reads the parameter.
  bool is_legal(int cut) const {
    for (const ml::parameter& each : whole_.parameters) {
      const int made = place_[whole_.values[each.gradients.front()].producer];
      for (std::size_t n = 0; n < place_.size(); ++n) {
        const ml::node& at = whole_.nodes[ml::node_id{static_cast<std::int32_t>(n)}];
        const bool reads = std::find(at.operands.begin(), at.operands.end(), each.value) != at.operands.end();
        if (at.when == ml::phase::forward && reads &&
            (place_[ml::node_id{static_cast<std::int32_t>(n)}] < cut) != (made < cut))
          return false;
      }
    }
    return true;
  }

  /// The first place of those that no cut parts from this one.
  std::size_t group_of(int place) const {
    while (place > 0 && !legal_[static_cast<std::size_t>(place) - 1]) --place;
    return static_cast<std::size_t>(place);
  }

  double work_of(const ml::node& at) const {
    double work = at.op->flops_per_point;
    for (const ml::axis_id axis : at.indices)
      work *= axis == whole_.micro_batched ? 1 : static_cast<double>(whole_.sizes[axis].extent);
    return work;
  }

  std::int64_t size_of(ml::value_id id) const {
    std::int64_t size = ml::size_of(whole_.values[id].type);
    for (const std::int64_t extent : ml::extents_of(whole_.sizes, whole_.values[id].axes)) size *= extent;
    return size;
  }

  const ml::graph& whole_;
  ml::table<ml::node_id, int> place_;
  int places_ = 0;
  ml::vector<bool> legal_;  ///< of each cut
};

// --- what grouping keeps

/// Everything that tells two graphs apart, in words.
ml::vector<std::string> words_of(const ml::graph& whole) {
  ml::vector<std::string> words;
  const auto number = [](auto id) { return std::to_string(static_cast<std::int32_t>(id)); };
  const auto list = [&](const auto& ids) {
    std::string all;
    for (const auto id : ids) all += number(id) + " ";
    return all;
  };
  for (const ml::region& each : whole.regions)
    words.push_back(each.name + "*" + std::to_string(each.count) + " " + number(each.forward.body_in));
  for (const ml::value& each : whole.values)
    words.push_back(each.name + " in " + number(each.region) + " by " + number(each.producer));
  for (const ml::node& at : whole.nodes)
    words.push_back(at.name + " in " + number(at.region) + " when " + std::to_string(static_cast<int>(at.when)) + ": " +
                    list(at.operands) + "-> " + list(at.results) + number(at.differentiates));
  for (const ml::parameter& each : whole.parameters) words.push_back(list(each.gradients));
  return words;
}

std::set<std::string> names_of(const ml::graph& whole) {
  std::set<std::string> names;
  for (const ml::node& at : whole.nodes) names.insert("node " + at.name);
  for (const ml::value& each : whole.values) names.insert("value " + each.name);
  return names;
}

/// Gradients of a trained parameter, each in a region that reads the parameter; in one of its own, unless the graph
/// that was grouped had several, and they came together.
void check_gradients(const ml::graph& whole, const ml::graph& before) {
  for (std::size_t p = 0; p < whole.parameters.size(); ++p) {
    const ml::parameter& each = whole.parameters[p];
    CAPTURE(whole.values[each.value].name);
    std::set<ml::region_id> regions;
    for (const ml::value_id id : each.gradients) {
      const ml::value& slope = whole.values[id];
      CHECK((regions.insert(slope.region).second || before.parameters[p].gradients.size() > 1));
      if (slope.producer == ml::node_id::none || each.observed_by != nullptr) continue;  // carried out of a repeat
      const bool reads = std::any_of(whole.nodes.begin(), whole.nodes.end(), [&](const ml::node& at) {
        return at.when != ml::phase::update && at.region == slope.region &&
               std::find(at.operands.begin(), at.operands.end(), each.value) != at.operands.end();
      });
      CHECK(reads);
    }
  }
}

void check_grouping(const models::named_graph& model, const ml::grouping& how) {
  CAPTURE(model.name);
  CAPTURE(how.layers);
  const ml::graph made = ml::group_operators(model.graph, how);
  const auto faults = ml::check(made);
  CHECK_MESSAGE(faults.empty(), faults.front());
  CHECK(names_of(made) == names_of(model.graph));
  CHECK(made.nodes.size() == model.graph.nodes.size());
  check_gradients(made, model.graph);
  CHECK(words_of(ml::group_operators(made, how)) == words_of(made));
  CHECK(words_of(ml::group_operators(model.graph, how)) == words_of(made));
  ml::vector<std::string> before, after;
  for (const ml::region& each : model.graph.regions) {
    if (each.repeated) before.push_back(each.name + std::to_string(each.count));
  }
  for (const ml::region& each : made.regions) {
    if (each.repeated) after.push_back(each.name + std::to_string(each.count));
    CHECK(each.grouped != each.repeated);
  }
  CHECK(before == after);
}

constexpr ml::gpt_shape small{.vocab = 50, .seq = 8, .batch = 12, .embed = 16, .layers = 3, .heads = 4};

template <class Model, class Precision = float>
auto token_training(const Model& model, Precision precision = {}) {
  return ml::training{.model = model,
                      .loss = ml::cross_entropy<vocab>{},
                      .optimizer = ml::adamw{.clip = 1},
                      .sizes = ml::gpt_sizes(small),
                      .precision = precision};
}

/// Two ways that part and meet again, one inside the other, and an offset that is added at either end.
struct branches {
  static constexpr std::string_view name = "branches";
  auto operator()(auto& scope, const ml::pointwise_value auto& value) const {
    const auto x = ml::evaluate(scope, value);
    const auto offset = scope.template shared_parameter<embed>("offset", {ml::initial::constant, 1});
    const auto down = ml::evaluate(scope, ml::linear<embed, mlp>{}(scope, ml::evaluate(scope, x + offset)));
    const auto deep = ml::evaluate(scope, ml::gelu{}(scope, ml::evaluate(scope, ml::layer_norm<mlp>{}(scope, down))));
    const auto wide = ml::evaluate(scope, deep + down);
    const auto up = ml::evaluate(scope, ml::linear<mlp, embed>{}(scope, wide));
    return ml::evaluate(scope, ml::evaluate(scope, up + x) + offset);
  }
};

template <ml::optimizer Optimizer>
auto images_training(const Optimizer& with) {
  const ml::wide_resnet_shape<2> shape{.high = 8, .wide = 8, .classes = 5, .batch = 8, .base = 4, .depth = {1, 3}};
  return ml::wide_resnet_training(shape, with);
}

/// The same training of one large layer.
template <class Task>
auto in_one_layer(const Task& task) {
  return ml::training{.model = ml::named("model", task.model),
                      .loss = task.loss,
                      .optimizer = task.optimizer,
                      .sizes = task.sizes,
                      .input = task.input,
                      .target = task.target};
}

ml::vector<models::named_graph> all_models() {
  ml::vector<models::named_graph> made = models::all();
  made.push_back({"bypassed", models::bypassed()});
  made.push_back({"gpt in one layer", ml::trace(token_training(ml::named("model", ml::gpt(small.layers))))});
  made.push_back({"in bf16", ml::trace(token_training(ml::named("model", ml::gpt(small.layers)), ml::bf16{}))});
  made.push_back({"tied in one layer", ml::trace(token_training(ml::named("model", ml::tied_gpt(small.layers))))});
  made.push_back({"tied in f16", ml::trace(token_training(ml::named("model", ml::tied_gpt(2)), ml::f16{}))});
  const auto branchy = ml::embedding<vocab, embed>{} | branches{} | branches{} | ml::linear<embed, vocab>{};
  made.push_back({"branches", ml::trace(token_training(branchy))});
  made.push_back({"branches in one layer", ml::trace(token_training(ml::named("model", branchy)))});
  const auto images = images_training(ml::sgd{});
  made.push_back({"wide-resnet", ml::trace(images)});
  made.push_back({"wide-resnet in one layer", ml::trace(in_one_layer(images))});
  made.push_back({"its evaluation", ml::trace_evaluation(in_one_layer(images))});
  const ml::moe_shape experts{small, 4, 24};
  const auto mixture = ml::training{.model = ml::named("model", ml::moe_gpt(4)),
                                    .loss = ml::cross_entropy<vocab>{},
                                    .optimizer = ml::adamw{},
                                    .sizes = ml::moe_sizes(experts)};
  made.push_back({"mixture of experts", ml::trace(mixture)});
  return made;
}

}  // namespace

TEST_CASE("of all ways to cut a small graph into layers, the best is found") {
  std::mt19937 dice(11);
  int judged = 0, tied = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const ml::graph whole = random_graph(dice, 3 + trial % 6);
    const cuttings all(whole);
    const auto forward = std::count_if(whole.nodes.begin(), whole.nodes.end(),
                                       [](const ml::node& at) { return at.when == ml::phase::forward; });
    tied += all.most_layers() < forward ? 1 : 0;
    for (const int layers : {1, 2, 3, 5}) {
      for (const double slack : {0.0, 0.5, 2.0}) {
        CAPTURE(trial);
        CAPTURE(layers);
        CAPTURE(slack);
        const ml::graph made = ml::group_operators(whole, {.layers = layers, .slack = slack});
        const int expected = std::min(layers, all.most_layers());
        REQUIRE(static_cast<int>(made.regions.size()) == expected);
        const double average = std::floor(all.all_work() / layers);
        const auto found = all.judge(all.cuts_of(made), average, slack, all.all_work());
        REQUIRE(found);
        CHECK(*found == all.best(expected, average, slack));
        CHECK(ml::check(made).empty());
        ++judged;
      }
    }
  }
  CHECK(judged == 720);
  CHECK(tied > 5);
}

TEST_CASE("every model keeps its operators and names when it is grouped, and is then grouped") {
  for (const models::named_graph& model : all_models()) {
    for (const int layers : {1, 2, 3, 7, 16, 100}) check_grouping(model, {.layers = layers});
  }
}

TEST_CASE("a model of one layer falls into as many as are asked for, none of much more than the average work") {
  const ml::graph whole = ml::trace(token_training(ml::named("model", ml::gpt(6))));
  const ml::graph made = ml::group_operators(whole, {.layers = 6});
  REQUIRE(made.regions.size() == 6);
  for (std::size_t r = 0; r < made.regions.size(); ++r) {
    const ml::region_id area{static_cast<std::int32_t>(r)};
    CHECK(made.regions[area].name == "layer." + std::to_string(r));
    const auto products = std::count_if(made.nodes.begin(), made.nodes.end(), [&](const ml::node& at) {
      return at.region == area && at.op->products && at.when == ml::phase::forward;
    });
    CHECK(products >= 4);  // of 37 or more
    CHECK(products <= 10);
  }
}

TEST_CASE("a parameter that several layers read has a gradient in each, and the update adds them") {
  const ml::graph whole = ml::trace(token_training(ml::named("model", ml::tied_gpt(small.layers))));
  const std::size_t p = models::parameter_named(whole, "tokens");
  CHECK(whole.parameters[p].gradients.size() == 1);
  const ml::graph made = ml::group_operators(whole, {.layers = 4});
  CHECK(made.parameters[p].gradients.size() == 2);
  const auto adds = [](const ml::graph& of, ml::phase when) {
    return std::count_if(of.nodes.begin(), of.nodes.end(),
                         [&](const ml::node& at) { return at.when == when && at.op == &ml::addition_of_rank(2); });
  };
  CHECK(adds(made, ml::phase::update) == adds(whole, ml::phase::update) + 1);
  CHECK(adds(made, ml::phase::backward) == adds(whole, ml::phase::backward) - 1);
}

TEST_CASE("graphs of evaluation and inference are grouped like that of the training") {
  const auto check_alike = [](const auto& task) {
    const ml::graph grouped = ml::group_operators(ml::trace(task), {.layers = 7});
    for (const ml::graph& other : {ml::trace_evaluation(task), ml::trace_inference(task)}) {
      const ml::graph made = ml::group_alike(other, grouped);
      const auto faults = ml::check(made);
      CHECK_MESSAGE(faults.empty(), faults.front());
      REQUIRE(made.regions.size() == grouped.regions.size());
      CHECK(names_of(made) == names_of(other));
      for (const ml::node& at : made.nodes) {
        for (const ml::node& known : grouped.nodes) {
          if (at.name == known.name) CHECK(at.region == known.region);
        }
      }
      for (const ml::parameter& each : made.parameters) {
        const std::string& name = made.values[each.value].name;
        const ml::value& known = grouped.values[grouped.parameters[models::parameter_named(grouped, name)].value];
        CHECK(made.values[each.value].region == known.region);
      }
    }
  };
  check_alike(token_training(ml::gpt(small.layers)));
  check_alike(token_training(ml::named("model", ml::tied_gpt(small.layers)), ml::bf16{}));
  check_alike(images_training(ml::sgd{}));
  check_alike(in_one_layer(images_training(ml::sgd{})));
}

TEST_CASE("what cannot be grouped is refused") {
  const ml::graph whole = models::vectors();
  CHECK_THROWS_WITH(ml::group_operators(whole, {.layers = 0}),
                    "group_operators: there are to be no layers; give it 1 or more");
  CHECK_THROWS_WITH(ml::group_operators(whole, {.slack = -0.1}),
                    "group_operators: the slack of layers is not a number from 0 on; 0.5 is usual");
  CHECK_THROWS_WITH(ml::group_alike(models::gpt(), ml::trace(token_training(ml::named("model", ml::gpt(2))))),
                    "group_alike: the grouped graph has no repeated layer repeat; it is of another model");
}

TEST_CASE("the number of layers follows the ranks, within reason") {
  CHECK(ml::grouping_for(1).layers == 8);
  CHECK(ml::grouping_for(8).layers == 16);
  CHECK(ml::grouping_for(1024).layers == 32);
}
