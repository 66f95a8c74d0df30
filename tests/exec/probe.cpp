// SPDX-License-Identifier: Apache-2.0
// Laws of exec/probe.hpp: the fit finds the link behind exact times, whatever a few disturbed ones say; what is
// measured here is sane, and always the same list.
#include <meshloom/cluster/text.hpp>
#include <meshloom/exec/probe.hpp>

#if defined(TEST_WITH_CBLAS)
#include <meshloom/exec/cblas.hpp>
#endif

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <stdexcept>

namespace ml = meshloom;
using ml::collective;
using ml::sample;

namespace {

constexpr collective kinds[] = {collective::all_reduce, collective::all_gather, collective::reduce_scatter,
                                collective::all_to_all, collective::broadcast};

/// What a machine with this link would show.
ml::vector<sample> samples_of(std::int32_t ranks, const ml::link& over) {
  ml::vector<sample> samples{{.kind = sample::launch, .moved = {4}, .time = {123}}};
  for (const collective how : kinds) {
    for (std::int64_t size = 64; size <= 16 << 20; size *= 8) {
      samples.push_back(
          {.kind = sample::exchange, .how = how, .moved = {size}, .time = ml::price(how, ranks, {size}, over)});
    }
  }
  return samples;
}

double ratio(double found, double wanted) { return std::max(found, wanted) / std::min(found, wanted); }

bool within_percent(const ml::link& found, const ml::link& wanted) {
  return ratio(static_cast<double>(found.latency.count), static_cast<double>(wanted.latency.count)) < 1.01 &&
         ratio(static_cast<double>(found.bytes_per_second), static_cast<double>(wanted.bytes_per_second)) < 1.01;
}

/// The largest and the median factor between prices over `found` and times.
std::pair<double, double> factors(std::int32_t ranks, const ml::vector<sample>& samples, const ml::link& found) {
  ml::vector<double> all;
  for (const sample& each : samples) {
    if (each.kind != sample::exchange) continue;
    const ml::picoseconds predicted = ml::price(each.how, ranks, each.moved, found);
    all.push_back(ratio(static_cast<double>(predicted.count), static_cast<double>(each.time.count)));
  }
  std::sort(all.begin(), all.end());
  return {all.back(), all[all.size() / 2]};
}

ml::link random_link(std::mt19937_64& bits) {
  std::uniform_real_distribution<double> latency(5, 9), rate(8, 12);  // 100 ns … 1 ms, 100 MB/s … 1 TB/s
  return {{std::llround(std::pow(10.0, latency(bits)))}, std::llround(std::pow(10.0, rate(bits)))};
}

/// Products that cost next to nothing, where they are not what is tested.
struct effortless {
  volatile std::int64_t done = 0;
  template <class... Matrices>
  void gemm(Matrices...) {
    done = done + 1;
  }
};

/// Products of bf16 that take several times as long as those of f32, or as long as they do.
template <int Times>
struct uneven {
  ml::plain own;
  template <class Element, class... Others>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element*, Others...) {
    ml::vector<float> a(static_cast<std::size_t>(m * k)), b(static_cast<std::size_t>(k * n)),
        c(static_cast<std::size_t>(m * n));
    for (int again = 0; again < (ml::half_type<Element> ? Times : 1); ++again)
      own.gemm(m, n, k, a.data(), k, 1, b.data(), n, 1, false, c.data(), n, 1);
  }
};

struct broken {
  template <class... Matrices>
  void gemm(Matrices...) {
    throw std::runtime_error("no product today");
  }
};

constexpr std::int32_t rank_counts[] = {2, 3, 4, 7, 8, 16, 64};

void check_sane(const ml::probe& measured, std::int32_t ranks) {
  const ml::cluster machine = ml::cluster_of(measured);
  CHECK(machine.hosts == 1);
  CHECK(machine.devices_per_host == ranks);
  CHECK(ml::check(machine).empty());
  CHECK(ml::cluster_from_text(ml::to_text(machine)).value() == machine);
  CHECK(machine.device.launch.count > 0);
  CHECK(ml::seconds(machine.device.launch) < 1e-3);
  CHECK(machine.within_host == machine.between_hosts);
  for (const sample& each : measured.samples) {
    CHECK(each.time.count > 0);
    CHECK(each.moved.count > 0);
    CHECK((each.done.count > 0) == (each.kind == sample::product));
  }
  CHECK(machine.device.half_flops_per_second > 0);
  const auto exchanges = std::count_if(measured.samples.begin(), measured.samples.end(),
                                       [](const sample& each) { return each.kind == sample::exchange; });
  CHECK(exchanges == (ranks > 1 ? 35 : 0));
  CHECK(measured.samples.size() == 10 + static_cast<std::size_t>(exchanges));
  if (ranks > 1) CHECK(factors(ranks, measured.samples, ml::fit_link(ranks, measured.samples)).second < 10);
}

}  // namespace

TEST_CASE("exact times give back their link") {
  std::mt19937_64 bits(3);
  for (const std::int32_t ranks : rank_counts) {
    for (int round = 0; round < 20; ++round) {
      const ml::link wanted = random_link(bits);
      const auto samples = samples_of(ranks, wanted);
      const ml::link found = ml::fit_link(ranks, samples);
      CAPTURE(ranks);
      CAPTURE(wanted.latency.count);
      CAPTURE(wanted.bytes_per_second);
      CHECK(within_percent(found, wanted));
      CHECK(factors(ranks, samples, found).first < 1.01);
    }
  }
}

TEST_CASE("disturbed times move the link little, a few wild ones not at all") {
  std::mt19937_64 bits(4);
  std::uniform_real_distribution<double> noise(-0.2, 0.2);
  for (const std::int32_t ranks : rank_counts) {
    const ml::link wanted = random_link(bits);
    auto wild = samples_of(ranks, wanted), noisy = wild;
    for (std::size_t k = 1; k < wild.size(); k += 5) wild[k].time.count *= 50;
    CHECK(within_percent(ml::fit_link(ranks, wild), wanted));
    for (sample& each : noisy) {
      each.time.count = std::llround(static_cast<double>(each.time.count) * std::exp(noise(bits)));
    }
    const ml::link found = ml::fit_link(ranks, noisy);
    CHECK(ratio(static_cast<double>(found.latency.count), static_cast<double>(wanted.latency.count)) < 1.3);
    CHECK(factors(ranks, samples_of(ranks, wanted), found).first < 1.3);
  }
}

TEST_CASE("one sample, none, or no latency at all still make a link") {
  const ml::vector<sample> one{
      {.kind = sample::exchange, .how = collective::all_gather, .moved = {1000}, .time = {5000}}};
  CHECK(ml::price(collective::all_gather, 2, {1000}, ml::fit_link(2, one)).count == 5000);
  CHECK(ml::fit_link(2, {}).bytes_per_second == 9'000'000'000'000'000);
  CHECK(ml::fit_link(1, one) == ml::fit_link(2, {}));
  const ml::link free_start{{0}, 3'000'000'000};
  const ml::link found = ml::fit_link(4, samples_of(4, free_start));
  CHECK(found.latency.count < 1000);
  CHECK(ratio(static_cast<double>(found.bytes_per_second), 3e9) < 1.01);
}

TEST_CASE("a cluster has the largest product and copy, and three digits") {
  constexpr ml::dtype bf16 = ml::dtype::bf16;
  ml::probe measured{
      .ranks = 2,
      .memory = {5'000'000},
      .samples = {{.kind = sample::product, .moved = {12}, .done = {1000}, .time = {1'000'000}},
                  {.kind = sample::product, .moved = {12}, .done = {123'456'789}, .time = {1'000'000'000}},
                  {.kind = sample::product, .type = bf16, .moved = {6}, .done = {456'789}, .time = {1'000'000}},
                  {.kind = sample::copy, .moved = {10}, .time = {1}},
                  {.kind = sample::copy, .moved = {2'345'678}, .time = {1'000'000'000}},
                  {.kind = sample::launch, .moved = {4}, .time = {98'765}},
                  {.kind = sample::exchange, .how = collective::all_gather, .moved = {2}, .time = {1'234'567}},
                  {.kind = sample::exchange, .how = collective::all_gather, .moved = {4}, .time = {1'234'568}}}};
  const ml::cluster machine = ml::cluster_of(measured);
  CHECK(machine.device.memory == ml::bytes{4 << 20});
  CHECK(machine.device.flops_per_second == 123e9);
  CHECK(machine.device.half_flops_per_second == 457e9);
  CHECK(machine.device.bytes_per_second == 2'350'000'000);
  CHECK(machine.device.launch == ml::picoseconds{98'800});
  CHECK(machine.within_host == ml::link{{1'230'000}, 1'000'000'000'000});
  CHECK(machine.ranks() == 2);
  measured.samples[2].done = {12};  // slower than f32: what was measured is said
  CHECK(ml::cluster_of(measured).device.half_flops_per_second == 12e6);
  measured.samples.erase(measured.samples.begin() + 2);
  CHECK(ml::cluster_of(measured).device.half_flops_per_second == 0);
}

TEST_CASE("this machine is measured sanely, whatever computes") {
  check_sane(ml::probe_machine(1), 1);
  check_sane(ml::probe_machine<effortless>(2), 2);
#if defined(TEST_WITH_CBLAS)
  check_sane(ml::probe_machine<ml::cblas>(2), 2);
#endif
  CHECK_THROWS_WITH(ml::this_machine(0), "probe: ranks is 0; a machine needs at least 1");
}

TEST_CASE("products of bf16 are measured, faster or slower, not made up") {
  const auto ratio_of = [](const ml::cluster& machine) {
    return machine.device.flops_per_second / machine.device.half_flops_per_second;
  };
  CHECK(ratio_of(ml::this_machine<uneven<1>>(1)) == doctest::Approx(1).epsilon(0.4));
  CHECK(ratio_of(ml::this_machine<uneven<6>>(1)) == doctest::Approx(6).epsilon(0.4));
}

TEST_CASE("more ranks than cores are measured as well") {
  const std::int32_t ranks = ml::cores() + 1;
  check_sane(ml::probe_machine<effortless>(ranks), ranks);
}

TEST_CASE("an arithmetic that fails ends the measurement, and says why") {
  CHECK_THROWS_WITH_AS(ml::probe_machine<broken>(3), "probe: a rank has failed: no product today", ml::error);
}
