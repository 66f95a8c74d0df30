// SPDX-License-Identifier: Apache-2.0
// Laws of what a run keeps: whatever the spec and however uneven the shards, a value that is written is read back,
// every rank's shard is its part of it, nothing else has changed, and a value starts as on one rank.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/host.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/lower.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <thread>

namespace {

namespace ml = meshloom;
using namespace ml::axis;

/// More ranks than cores, and than an axis of the model is long.
const std::int32_t crowd = std::max(static_cast<std::int32_t>(std::thread::hardware_concurrency()) + 1, 12);

/// A classifier whose extents no number of ranks from 2 on divides; its table is read by the first stage and the last.
template <class Precision>
auto training() {
  const auto block =
      ml::residual(ml::layer_norm<embed>{}, ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{});
  return ml::training{.model = ml::embedding<vocab, embed>{.table = "tokens"} | ml::repeat(3, block) |
                               ml::unembedding<embed, vocab>{.table = "tokens"},
                      .loss = ml::cross_entropy<vocab>{},
                      .optimizer = ml::adamw{.rate = 1e-2},
                      .sizes = ml::sizes{ml::size<batch>{crowd + 1}, ml::size<seq>{3}, ml::size<embed>{5},
                                         ml::size<mlp>{7}, ml::size<vocab>{11}},
                      .precision = Precision{}};
}

template <class Precision>
ml::host_run start(const std::string& plan, std::int32_t ranks) {
  const auto task = training<Precision>();
  const ml::graph whole = ml::trace(task);
  const ml::cluster machine = ml::local(ranks);
  const ml::manual asked = ml::parse_manual(plan, ranks).value();
  return ml::start(ml::host{}, ml::lower(whole, ml::solve(ml::formulate(whole, machine, asked)).value(), machine), task,
                   7);
}

/// Numbers that single precision holds exactly, different at every place and for every `mark`.
ml::vector<double> marked(std::size_t count, double mark) {
  ml::vector<double> values(count);
  for (std::size_t at = 0; at < count; ++at) values[at] = mark * 1024 + static_cast<double>(at);
  return values;
}

/// Calls `visit(element, its index in the whole value)` for every element of a shard.
template <class Visit>
void for_each_element(const ml::view& shard, const Visit& visit) {
  std::int64_t at[ml::max_rank] = {};
  for (std::int64_t left = shard.count(); left > 0; --left) {
    std::int64_t place = 0, index = 0;
    for (int axis = 0; axis < shard.rank; ++axis) {
      place += at[axis] * shard.stride[axis];
      index = index * shard.global[axis] + shard.origin[axis] + at[axis];
    }
    if (shard.type == ml::dtype::f64)
      visit(shard.as<double>()[place], static_cast<std::size_t>(index));
    else
      visit(shard.as<float>()[place], static_cast<std::size_t>(index));
    for (int axis = shard.rank - 1; axis >= 0 && ++at[axis] == shard.extent[axis]; --axis) at[axis] = 0;
  }
}

/// Elements of the shards of a value that are not those of `whole`; and how often each element lies on some rank.
struct comparison {
  std::int64_t wrong = 0;
  ml::vector<int> copies;
};

comparison compare(const ml::host_run& run, const std::string& name, const ml::vector<double>& whole) {
  comparison made{0, ml::vector<int>(whole.size())};
  for (std::int32_t rank = 0; rank < run.executed().ranks; ++rank) {
    const ml::view shard = run.shard(name, rank);
    if (shard.data == nullptr) continue;
    for_each_element(shard, [&](double element, std::size_t index) {
      made.wrong += element != whole.at(index);
      ++made.copies.at(index);
    });
  }
  return made;
}

struct request {
  std::string plan;
  std::int32_t ranks;
};

ml::vector<request> requests() {
  return {{"data=3", 3},
          {"zero1=2", 2},
          {"zero3=3", 3},
          {"zero3=4", 4},
          {"tensor=2", 2},
          {"tensor=3", 3},
          {"zero3=2,tensor=3", 6},
          {"tensor=2,zero2=3", 6},
          {"pipeline=2", 2},
          {"zero3=2,tensor=2,pipeline=2", 8},
          {"zero3=" + std::to_string(crowd), crowd}};
}

template <class Precision>
void check_round_trip(const request& asked, const ml::host_run& alone) {
  CAPTURE(asked.plan);
  ml::host_run run = start<Precision>(asked.plan, asked.ranks);
  ml::vector<std::string> names = run.names(), expected = alone.names();
  std::sort(names.begin(), names.end());
  std::sort(expected.begin(), expected.end());
  CHECK(names == expected);
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK(run.read(name) == alone.read(name));
    CHECK(compare(run, name, alone.read(name)).wrong == 0);
  }
  double mark = 0;
  for (const std::string& name : names) run.write(name, marked(run.read(name).size(), ++mark));
  mark = 0;
  for (const std::string& name : names) {
    CAPTURE(name);
    const ml::vector<double> values = marked(run.read(name).size(), ++mark);
    CHECK(run.read(name) == values);
    const comparison found = compare(run, name, values);
    CHECK(found.wrong == 0);
    CHECK(std::count(found.copies.begin(), found.copies.end(), 0) == 0);
  }
}

}  // namespace

TEST_CASE("what is written is read back, and lies where the plan says, under uneven shards of many specs") {
  const ml::host_run single = start<float>("data=1", 1), twice = start<double>("data=1", 1);
  for (const request& asked : requests()) {
    check_round_trip<float>(asked, single);
    check_round_trip<double>(asked, twice);
  }
}

TEST_CASE("the shards are of many kinds: whole, cut along either axis or both, uneven, and empty") {
  std::set<std::pair<bool, bool>> cuts;
  bool uneven = false, empty = false;
  for (const request& asked : requests()) {
    const ml::host_run run = start<float>(asked.plan, asked.ranks);
    for (const std::string& name : run.names()) {
      std::set<std::int64_t> counts;
      for (std::int32_t rank = 0; rank < asked.ranks; ++rank) {
        const ml::view shard = run.shard(name, rank);
        if (shard.data == nullptr || shard.rank != 2) continue;
        cuts.insert({shard.extent[0] < shard.global[0], shard.extent[1] < shard.global[1]});
        counts.insert(shard.count());
      }
      uneven = uneven || (counts.size() > 1 && *counts.begin() > 0);
      empty = empty || counts.count(0) > 0;
    }
  }
  CHECK(cuts.size() == 4);
  CHECK(uneven);
  CHECK(empty);
}

TEST_CASE("one element changed where it lies is read, and seen by the comparison") {
  ml::host_run run = start<float>("zero3=2,tensor=3", 6);
  for (const std::string& name : run.names()) {
    CAPTURE(name);
    const ml::vector<double> before = run.read(name);
    bool planted = false;
    for (std::int32_t rank = 0; rank < 6 && !planted; ++rank) {
      const ml::view shard = run.shard(name, rank);
      if (shard.data == nullptr || shard.count() == 0) continue;
      *shard.as<float>() += 1;
      planted = true;
    }
    CHECK(planted);
    CHECK(compare(run, name, before).wrong == 1);
    run.write(name, before);
    CHECK(compare(run, name, before).wrong == 0);
  }
}

TEST_CASE("more ranks than cores step like one rank") {
  ml::vector<std::int32_t> tokens;
  for (std::int32_t at = 0; at < 3 * (crowd + 1); ++at) tokens.push_back(at * at % 11);
  ml::host_run alone = start<double>("data=1", 1), many = start<double>("zero3=" + std::to_string(crowd), crowd);
  for (int step = 0; step < 3; ++step) {
    CHECK(many.step({tokens, tokens}).loss == doctest::Approx(alone.step({tokens, tokens}).loss).epsilon(1e-12));
  }
  for (const std::string& name : alone.names()) {
    const ml::vector<double> expected = alone.read(name), found = many.read(name);
    double apart = 0;
    for (std::size_t at = 0; at < expected.size(); ++at) apart = std::max(apart, std::abs(found[at] - expected[at]));
    CAPTURE(name);
    CHECK(apart < 1e-8);
  }
}
