// SPDX-License-Identifier: Apache-2.0
#include <meshloom/exec/probe.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <fstream>
#include <limits>
#include <mutex>
#include <string>

namespace meshloom {
namespace detail {

// --- time

/// Makes it on the rank's own thread, so that its memory lies near.
using work_maker = std::function<rank_work(std::int32_t rank)>;

inline waiting waiting_of(std::int32_t ranks) { return ranks <= cores() ? waiting::spin_then_block : waiting::block; }

/// Threads that do one kind of work at once, in stretches of as many calls as make meetings cheap beside them. The
/// first rank holds the watch and says how many.
class stopwatch {
 public:
  explicit stopwatch(std::int32_t ranks) : ranks_(ranks), door_(ranks, waiting_of(ranks)) {}

  /// The median time of one piece of work, from stretches of about `budget` seconds together, at least three.
  picoseconds time(const work_maker& make, double budget) {
    vector<std::thread> threads;
    guarded([&] {
      for (std::int32_t rank = 0; rank < ranks_; ++rank) {
        threads.emplace_back([&, rank] { guarded([&] { serve(rank, make, budget); }); });
      }
    });
    for (std::thread& each : threads) each.join();
    if (!failure_.empty()) throw error("probe: a rank has failed: " + failure_);
    const auto middle = times_.begin() + static_cast<std::ptrdiff_t>(times_.size() / 2);
    std::nth_element(times_.begin(), middle, times_.end());
    return from_seconds(*middle);
  }

 private:
  static constexpr double least_stretch = 5e-4;  ///< seconds; a meeting takes microseconds
  static constexpr std::size_t least_count = 3;

  void serve(std::int32_t rank, const work_maker& make, double budget) {
    const rank_work work = make(rank);
    door_.arrive_and_wait();  // nobody waits for a rank that got no memory
    work();                   // touches memory, fills caches
    for (;;) {
      door_.arrive_and_wait();
      const std::int64_t calls = calls_;
      if (calls == 0) return;
      const auto begin = std::chrono::steady_clock::now();
      for (std::int64_t call = 0; call < calls; ++call) work();
      door_.arrive_and_wait();
      const std::chrono::duration<double> stretch = std::chrono::steady_clock::now() - begin;
      if (rank == 0) plan_next(stretch.count(), budget);
    }
  }

  /// Calls of the next stretch: as many as make it long enough at the best pace so far; none if there were enough
  /// stretches. One disturbed stretch neither sets the pace nor counts.
  void plan_next(double stretch, double budget) {
    const double each = stretch / static_cast<double>(calls_);
    fastest_ = std::min(fastest_, std::max(each, 1e-9));
    spent_ += stretch;
    const auto wanted = static_cast<std::int64_t>(std::ceil(least_stretch / fastest_));
    if (2 * calls_ < wanted) {
      times_.clear();
    } else {
      times_.push_back(each);
    }
    calls_ = times_.size() >= least_count && spent_ >= budget ? 0 : wanted;
  }

  /// The first exception ends the work of all ranks.
  template <class Work>
  void guarded(Work work) {
    try {
      work();
    } catch (const stopped&) {  // the rank that failed says why
    } catch (const std::exception& why) {
      fail(why.what());
    } catch (...) {
      fail("an exception that is not a std::exception");
    }
  }

  void fail(const char* why) {
    const std::lock_guard lock(failing_);
    if (failure_.empty()) failure_ = why;
    door_.stop();
  }

  std::int32_t ranks_;
  meshloom::meeting door_;
  std::int64_t calls_ = 1;
  double fastest_ = std::numeric_limits<double>::infinity();
  double spent_ = 0;
  vector<double> times_;
  std::mutex failing_;
  std::string failure_;
};

// --- what is measured

/// A view of all or part of a matrix of f32.
inline view matrix_view(float* data, std::int64_t rows, std::int64_t columns) {
  view made{.data = data, .extent = {rows, columns}, .global = {rows, columns}, .rank = 2, .type = dtype::f32};
  make_dense(made);
  return made;
}

/// Part `which` of `parts` of a matrix along `axis`, in memory of its own.
inline view part_of(view whole, int axis, std::int64_t parts, std::int64_t which) {
  const interval part = balanced_part({0, whole.extent[axis]}, parts, which);
  whole.origin[axis] = part.origin;
  whole.extent[axis] = part.extent;
  make_dense(whole);
  return whole;
}

inline sample time_product(std::int32_t ranks, const product_maker& arithmetic, dtype type, std::int64_t n) {
  const work_maker make = [&](std::int32_t) { return arithmetic(type, n); };
  return {.kind = sample::product,
          .type = type,
          .moved = {3 * n * n * size_of(type)},
          .done = {2 * n * n * n},
          .time = stopwatch(ranks).time(make, 0.05)};
}

inline sample time_copy(std::int32_t ranks, std::int64_t size) {
  const auto count = static_cast<std::size_t>(size);
  const work_maker make = [count](std::int32_t) -> rank_work {
    return [from = vector<char>(count), to = vector<char>(count)]() mutable {
      std::copy(from.begin(), from.end(), to.begin());
    };
  };
  return {.kind = sample::copy, .moved = {2 * size}, .time = stopwatch(ranks).time(make, 0.05)};
}

inline sample time_launch(std::int32_t ranks, kernel_function kernel) {
  const work_maker make = [kernel](std::int32_t) -> rank_work {
    return [kernel, number = 0.0f]() mutable {
      call with;
      with.result[0].data = &number;
      kernel(with, nullptr);
    };
  };
  return {.kind = sample::launch, .moved = {size_of(dtype::f32)}, .time = stopwatch(ranks).time(make, 0.02)};
}

/// All ranks exchange a matrix of one row, or more, per rank: whole, by rows or by columns, as the collective wants it.
inline sample time_exchange(std::int32_t ranks, collective how, std::int64_t size) {
  const std::int64_t columns = std::max<std::int64_t>(size / size_of(dtype::f32) / ranks, 1);
  const auto elements = static_cast<std::size_t>(ranks * columns);
  vector<vector<std::int32_t>> groups(1);
  for (std::int32_t rank = 0; rank < ranks; ++rank) groups[0].push_back(rank);
  shared_memory communicator(ranks, groups, {}, waiting_of(ranks));
  const work_maker make = [&](std::int32_t rank) -> rank_work {
    return [&communicator, how, rank, ranks, columns, from = vector<float>(elements, 1.0f),
            to = vector<float>(elements)]() mutable {
      view given = matrix_view(from.data(), ranks, columns), wanted = matrix_view(to.data(), ranks, columns);
      if (how == collective::all_gather || how == collective::all_to_all) given = part_of(given, 0, ranks, rank);
      if (how == collective::reduce_scatter) wanted = part_of(wanted, 0, ranks, rank);
      if (how == collective::all_to_all) wanted = part_of(wanted, 1, ranks, rank);
      communicator.redistribute(0, rank, how, reduction::sum, given, wanted);
    };
  };
  return {.kind = sample::exchange,
          .how = how,
          .moved = {static_cast<std::int64_t>(elements) * size_of(dtype::f32)},
          .time = stopwatch(ranks).time(make, 0.015)};
}

// --- what the machine says of itself

/// The number that a file begins with; 0 if there is none.
inline std::int64_t number_in(const char* path) {
  std::int64_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

/// Memory that may still be taken: what Linux calls available, or what a control group leaves of it; 4 GiB where the
/// system does not say.
inline std::int64_t available_memory() {
  std::int64_t available = std::int64_t{4} << 30;
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    if (word == "MemAvailable:" && file >> available) available *= 1024;
  }
  const std::int64_t limit = number_in("/sys/fs/cgroup/memory.max");
  return limit == 0 ? available : std::min(available, limit - number_in("/sys/fs/cgroup/memory.current"));
}

/// Bytes of a rank's array, so that from and to of all ranks together exceed the last cache by far.
inline std::int64_t large_array(std::int32_t ranks, bytes memory) {
  constexpr std::int64_t least = std::int64_t{16} << 20, most = std::int64_t{256} << 20;
  const std::int64_t cache = number_in("/sys/devices/system/cpu/cpu0/cache/index3/size") * 1024;
  return std::min(std::clamp(cache / ranks, least, most), memory.count / 8 + 1);
}

MESHLOOM_INLINE probe measure(std::int32_t ranks, const product_maker& arithmetic, kernel_function kernel) {
  if (ranks < 1) throw error("probe: ranks is " + std::to_string(ranks) + "; a machine needs at least 1");
  probe made{.ranks = ranks, .memory = {std::max<std::int64_t>(available_memory() / ranks, 1)}};
  for (const std::int64_t n : {96, 192, 384, 768})
    made.samples.push_back(time_product(ranks, arithmetic, dtype::f32, n));
  made.samples.push_back(time_product(ranks, arithmetic, dtype::bf16, 768));
  for (const std::int64_t size :
       {std::int64_t{1} << 15, std::int64_t{1} << 19, std::int64_t{1} << 23, large_array(ranks, made.memory)}) {
    made.samples.push_back(time_copy(ranks, size));
  }
  made.samples.push_back(time_launch(ranks, kernel));
  for (const collective how : {collective::all_reduce, collective::all_gather, collective::reduce_scatter,
                               collective::all_to_all, collective::broadcast}) {
    for (std::int64_t size = 64; ranks > 1 && size <= std::int64_t{16} << 20; size *= 8) {
      made.samples.push_back(time_exchange(ranks, how, size));
    }
  }
  return made;
}

// --- the fit

/// latency · rounds + carried · picoseconds per byte = time: an exchange by the formula of `price`.
struct exchange_equation {
  double rounds, carried, time;
};

inline exchange_equation equation_of(std::int32_t ranks, const sample& each) {
  constexpr meshloom::link latency_alone{.latency = {1'000'000}, .bytes_per_second = 9'000'000'000'000'000};
  constexpr meshloom::link byte_per_picosecond{.latency = {0}, .bytes_per_second = 1'000'000'000'000};
  return {static_cast<double>(price(each.how, ranks, {0}, latency_alone).count) * 1e-6,
          static_cast<double>(price(each.how, ranks, each.moved, byte_per_picosecond).count),
          static_cast<double>(each.time.count)};
}

inline meshloom::link link_of(double latency, double per_byte) {
  constexpr double most = 9e15, longest = 1e12;
  return {.latency = {std::llround(std::clamp(latency, 0.0, longest))},
          .bytes_per_second = std::llround(std::clamp(1e12 / std::max(per_byte, 1e-12), 1.0, most))};
}

/// As many digits as a measurement is good for.
inline double three_digits(double number) {
  if (!(number > 0)) return 0;
  const double step = std::pow(10.0, std::floor(std::log10(number)) - 2);
  return step >= 1 ? std::round(number / step) * step : std::round(number);
}

inline bytes whole_mebibytes(bytes size) {
  constexpr std::int64_t mebibyte = std::int64_t{1} << 20;
  return {std::max(size.count / mebibyte, std::int64_t{1}) * mebibyte};
}

/// How far prices are from times: the sum of |log(price / time)|, so that twice too much is as bad as half.
inline double misfit(std::int32_t ranks, std::span<const sample> exchanges, const meshloom::link& over) {
  double sum = 0;
  for (const sample& each : exchanges) {
    const picoseconds predicted = price(each.how, ranks, each.moved, over);
    sum += std::abs(std::log(static_cast<double>(predicted.count) / static_cast<double>(each.time.count)));
  }
  return sum;
}

}  // namespace detail

MESHLOOM_INLINE link fit_link(std::int32_t ranks, std::span<const sample> samples) {
  vector<sample> exchanges;
  vector<detail::exchange_equation> equations;
  for (const sample& each : samples) {
    if (each.kind != sample::exchange || each.time.count <= 0 || each.moved.count <= 0) continue;
    if (ranks < 2 || each.how == collective::slice) continue;  // these have no price
    exchanges.push_back(each);
    equations.push_back(detail::equation_of(ranks, each));
  }
  link best = detail::link_of(0, 0);
  double least = std::numeric_limits<double>::infinity();
  const auto offer = [&](double latency, double per_byte) {
    if (!(latency >= 0 && per_byte >= 0)) return;
    const link offered = detail::link_of(latency, per_byte);
    const double sum = detail::misfit(ranks, exchanges, offered);
    if (sum >= least) return;
    least = sum;
    best = offered;
  };
  for (const auto& one : equations) {
    offer(one.time / one.rounds, 0);
    offer(0, one.time / one.carried);
    for (const auto& other : equations) {
      const double determinant = one.rounds * other.carried - other.rounds * one.carried;
      if (&other >= &one || std::abs(determinant) < 1e-9 * one.rounds * other.carried) continue;
      offer((one.time * other.carried - other.time * one.carried) / determinant,
            (other.time * one.rounds - one.time * other.rounds) / determinant);
    }
  }
  return best;
}

MESHLOOM_INLINE cluster cluster_of(const probe& measured) {
  using detail::three_digits;
  cluster machine{.name = "this machine", .hosts = 1, .devices_per_host = measured.ranks};
  device& core = machine.device;
  core.name = "cpu core";
  core.memory = detail::whole_mebibytes(measured.memory);
  for (const sample& each : measured.samples) {  // the last of a kind is the largest
    const double time = seconds(each.time), moved = static_cast<double>(each.moved.count);
    if (each.kind == sample::product) {
      double& rate = is_half(each.type) ? core.half_flops_per_second : core.flops_per_second;
      rate = three_digits(static_cast<double>(each.done.count) / time);
    }
    if (each.kind == sample::copy) core.bytes_per_second = std::llround(three_digits(moved / time));
    if (each.kind == sample::launch) core.launch = {std::llround(three_digits(static_cast<double>(each.time.count)))};
  }
  link& shared = machine.within_host;
  if (measured.ranks > 1) {
    shared = fit_link(measured.ranks, measured.samples);
    shared.latency.count = std::llround(three_digits(static_cast<double>(shared.latency.count)));
    shared.bytes_per_second = std::llround(three_digits(static_cast<double>(shared.bytes_per_second)));
  } else {
    shared = {.latency = core.launch, .bytes_per_second = std::max<std::int64_t>(core.bytes_per_second / 2, 1)};
  }
  machine.between_hosts = shared;
  return machine;
}

}  // namespace meshloom
