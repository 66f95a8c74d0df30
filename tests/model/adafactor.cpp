// SPDX-License-Identifier: Apache-2.0
// Adafactor in a whole training, written again from its formulas: states that have fewer axes than their parameter.
#include "optimizing.hpp"

#include <map>

using namespace optimizing;

namespace {

constexpr adafactor rule{.rate = warmup_linear{.peak = 0.8, .warmup = 2, .steps = 10},
                         .decay = 0.1,
                         .groups = {{.rank = 1, .rate = 2, .decay = 0}}};

double size(const vector<double>& of) {
  double squares = 0;
  for (const double each : of) squares += each * each;
  return std::sqrt(squares / static_cast<double>(of.size()));
}

/// The second moment that the means over rows and over columns stand for.
struct moment {
  vector<double> rows, columns;

  vector<double> take(const vector<double>& g, double keep) {
    rows.resize(rows.empty() ? g.size() / columns.size() : rows.size());
    vector<double> of_rows(rows.size()), of_columns(columns.size()), made;
    for (std::size_t i = 0; i < g.size(); ++i) {
      const double square = g[i] * g[i] + 1e-30;
      of_rows[i / columns.size()] += square / static_cast<double>(columns.size());
      of_columns[i % columns.size()] += square / static_cast<double>(rows.size());
    }
    double mean = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      rows[i] = keep * rows[i] + (1 - keep) * of_rows[i];
      mean += rows[i] / static_cast<double>(rows.size());
    }
    for (std::size_t j = 0; j < columns.size(); ++j) columns[j] = keep * columns[j] + (1 - keep) * of_columns[j];
    for (std::size_t i = 0; i < g.size(); ++i)
      made.push_back(rows[i / columns.size()] * columns[i % columns.size()] / mean);
    return made;
  }
};

/// Trains with the formulas; `momentum` is beta1.
void check_formulas(const adafactor& how, double momentum) {
  const auto whole = train(how, {}, 5);
  std::map<std::string, moment> moments;
  numbers second, averages, at = whole[0];
  for (int step = 0; step < 5; ++step) {
    const double n = step + 1, keep = 1 - std::pow(n, -0.8);
    const double scheduled = step < 2 ? 0.4 * n : 0.8 * (10 - static_cast<double>(step)) / 8;
    for (const auto& [name, g] : gradients(at)) {
      const bool is_vector = name.ends_with("bias") || name.ends_with("gain");
      vector<double>&p = at[name], &v = second[name], &m = averages[name], u(g.size());
      if (is_vector) {
        v.resize(g.size());
        for (std::size_t i = 0; i < g.size(); ++i) v[i] = keep * v[i] + (1 - keep) * (g[i] * g[i] + 1e-30);
      } else {
        moments[name].columns.resize(name == "linear_3.weight" ? classes : features);
        v = moments[name].take(g, keep);
      }
      for (std::size_t i = 0; i < g.size(); ++i) u[i] = g[i] / std::sqrt(v[i]);
      const double shorter = std::max(1.0, size(u));
      double scale = std::min(scheduled, scheduled / 0.8 / std::sqrt(n)) * std::max(1e-3, size(p));
      if (is_vector) scale *= 2;
      m.resize(g.size());
      for (std::size_t i = 0; i < g.size(); ++i) {
        m[i] = momentum * m[i] + (1 - momentum) * scale * u[i] / shorter;
        p[i] -= m[i] + (is_vector ? 0 : 0.1) * scale * p[i];
      }
      CHECK_MESSAGE(difference({{name, p}}, whole[static_cast<std::size_t>(step) + 1]) < 1e-11, name);
    }
  }
}

adafactor with_momentum() {
  adafactor made = rule;
  made.beta1 = 0.9;
  return made;
}

/// Biases of keys have no gradient but rounding, whose signs plans may change: steps along it must be small.
adafactor steady(adafactor made) {
  made.epsilon1 = 1e-16;
  return made;
}

}  // namespace

TEST_CASE("Adafactor is what its formulas say, with and without momentum") {
  check_formulas(rule, 0);
  check_formulas(with_momentum(), 0.9);
}

TEST_CASE("Adafactor trains alike under every plan, also with averages around it") {
  check_parity(steady(rule));
  check_parity(steady(with_momentum()));
  check_parity(ema{.of = steady(rule), .decay = 0.5});
}

TEST_CASE("steps of a rate that is not relative are as long as it says") {
  const auto whole = train(adafactor{.rate = 0.05, .relative = false}, {}, 1);
  for (const auto& [name, g] : gradients(whole[0])) {
    if (!name.ends_with("bias")) continue;  // where u is the sign of g
    for (std::size_t i = 0; i < g.size(); ++i)
      CHECK(whole[1].at(name)[i] == doctest::Approx(whole[0].at(name)[i] - (g[i] > 0 ? 0.05 : -0.05)).epsilon(1e-9));
  }
}

TEST_CASE("a matrix has two vectors as its state, a vector one, and steps only if they are averaged") {
  const auto states = [](const adafactor& of, const std::string& name) {
    const graph made = trace(training_of(of));
    std::string axes;
    for (const parameter& each : made.parameters) {
      if (made.values[each.value].name != name) continue;
      for (const value_id state : each.states) {
        axes += made.values[state].name.substr(name.size() + 1) + ":";
        for (const axis_id axis : made.values[state].axes) axes += " " + made.sizes[axis].name;
        axes += "; ";
      }
    }
    return axes;
  };
  CHECK(states(rule, "linear_3.weight") == "rows: feature; columns: label; ");
  CHECK(states(with_momentum(), "linear_3.weight") == "rows: feature; columns: label; steps: feature label; ");
  CHECK(states(rule, "linear_3.bias") == "moment2: label; ");
  CHECK(states(with_momentum(), "linear_3.bias") == "moment2: label; steps: label; ");
}

TEST_CASE("a state that has axes of its own is a fault of the graph") {
  graph made = trace(training_of(rule));
  CHECK(check(made).empty());
  const parameter& last = made.parameters.back();
  made.values[last.states[0]].axes = {made.micro_batched};
  const auto faults = check(made);
  const std::string wanted = "parameter " + made.values[last.value].name + ": a state does not exist or has other axes";
  CHECK(std::find(faults.begin(), faults.end(), wanted) != faults.end());
}

TEST_CASE("an exchange of its sums that is missing or that is of what is split is a fault of the program") {
  const program sound = program_of(trace(training_of(rule)), split_all<feature, mesh::tensor>(2));
  CHECK(check(sound).empty());
  const auto faulty = [&](const auto& change) {
    program made = sound;
    auto& body = made.stages[stage_id{0}].bodies[static_cast<std::size_t>(pass::update)];
    const auto first = std::find_if(body.begin(), body.end(), [](const instruction& at) {
      return at.kind == instruction::compute && at.name.find("weight.adafactor") != std::string::npos;
    });
    REQUIRE(first != body.end());
    change(body, first);
    const auto faults = check(made);
    return faults.empty() ? std::string() : faults.front();
  };
  const std::string missing = faulty([](auto& body, auto first) {
    body.erase(std::find_if(first, body.end(), [](const instruction& at) { return at.kind == instruction::exchange; }));
  });
  CHECK(missing.find("is not exchanged over mesh axis") != std::string::npos);
  const std::string needless = faulty([](auto& body, auto first) {
    const instruction other =
        *std::find_if(first, body.end(), [](const instruction& at) { return at.kind == instruction::exchange; });
    const std::size_t k = other.exchanged == vector{first->exchanged[0]} ? 1 : 0;
    instruction more = other;
    more.exchanged = {first->exchanged[k]};
    body.insert(first + 1 + static_cast<std::ptrdiff_t>(2 * k), more);
  });
  CHECK(needless.find("is not the exchange of statistic") != std::string::npos);
}

TEST_CASE("states with fewer axes are planned as they are: the planner's own plan trains alike") {
  const auto task = in_double(gpt_training(tiny_gpt, steady(with_momentum())));
  const numbers whole = kept_by(task, {}, 4, tiny_gpt.vocab);
  const graph made = trace(task);
  for (const std::int32_t ranks : {2, 3, 4}) {
    cluster machine = local(ranks);
    machine.device.launch = {1};  // so that it splits what is small
    machine.within_host = {.latency = {1}, .bytes_per_second = 1'000'000'000'000};
    const problem posed = formulate(made, machine);
    const plan found = solve(posed).value();
    CHECK(evaluate(posed, found).violations == vector<std::string>{});
    const program lowered = lower(made, found, machine);
    CHECK(check(lowered) == vector<std::string>{});
    host_run run = start(host{}, lowered, task, 7);
    const batch_of_numbers inputs(run.executed(), tiny_gpt.vocab, 3);
    for (int step = 0; step < 4; ++step) run.step({inputs[0], inputs[1]});
    numbers kept;
    for (const std::string& name : run.names()) kept[name] = run.read(name);
    CHECK(difference(whole, kept) < 1e-10);
  }
}
