// SPDX-License-Identifier: Apache-2.0
// How fast the kernels are on one core: memory-bound kernels as a share of the copy bandwidth of the same run, matrix
// products in GF/s. Bytes are those that must move: every operand read once (what must be known as a whole before it is
// worked on, twice), every result written once.
// Copy and kernels take turns, so that neighbours on a shared machine disturb both alike, and each starts with caches
// full of other data, as in a training step. Times are CPU time of this thread, figures are medians. Build with -O3
// -march=native, and with a CBLAS or oneDNN to compare its products. `--precision bf16` or `f16` times the operators
// that may compute in it; `--json` prints one object per line.
#include "options.hpp"

#include <meshloom/base/vector.hpp>
#include <meshloom/kernel/kernels.hpp>
#if defined(EXAMPLE_WITH_CBLAS)
#include <meshloom/exec/cblas.hpp>
#endif
#if defined(EXAMPLE_WITH_ONEDNN)
#include <meshloom/exec/onednn.hpp>
#endif

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>

namespace ml = meshloom;

namespace {

constexpr std::int64_t rows = 4096, columns = 768;
constexpr int rounds = 21;

double now() {
  std::timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(const std::function<void()>& work) {
  const double start = now();
  work();
  return now() - start;
}

/// Reads more memory than caches hold.
class cold_start {
 public:
  void operator()() {
    for (std::size_t at = 0; at < other_.size(); at += 64 / sizeof(float)) sum_ = sum_ + other_[at];
  }

 private:
  ml::vector<float> other_ = ml::vector<float>(std::size_t{1} << 25, 1.0f);
  volatile float sum_ = 0;
};

double median(ml::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

/// A whole tensor that the benchmark owns; `values` are its elements if they are float.
struct array {
  ml::vector<float> values;
  ml::view seen;

  explicit array(std::initializer_list<std::int64_t> extents, std::uint64_t number, ml::dtype type = ml::dtype::f32) {
    seen.type = type;
    std::int64_t count = 1;
    for (const std::int64_t extent : extents) {
      seen.extent[seen.rank] = seen.global[seen.rank] = extent;
      ++seen.rank;
      count *= extent;
    }
    ml::make_dense(seen);
    values.resize(static_cast<std::size_t>(count));
    seen.data = values.data();
    ml::fill_normal(seen, 1, number, 1.0);
  }
};

struct memory_bound {
  std::string name;
  double elements;  ///< moved, at least
  double target;    ///< share of the copy bandwidth
  std::function<void()> work;
};

struct compute_bound {
  std::string name;
  double flops;
  std::function<void()> work;
};

/// All arrays of the run. Every kernel has results of its own, as large as the copy's.
struct workload {
  ml::dtype precision;  ///< of what operators may round
  array x{{rows, columns}, 0, precision}, y{{rows, columns}, 1, precision}, dy{{rows, columns}, 2, precision};
  array dx{{rows, columns}, 3, precision}, shares{{rows, columns}, 6, precision};
  array first{{rows, columns}, 4}, second{{rows, columns}, 5};
  array gain{{columns}, 7}, bias{{columns}, 8}, dgain{{columns}, 9}, dbias{{columns}, 10};
  array center{{columns}, 16}, spread{{columns}, 17};
  array mean{{rows}, 11}, rstd{{rows}, 12}, loss{{rows}, 13}, logsum{{rows}, 14}, total{{}, 15};
  ml::vector<std::int32_t> target;
  ml::view targets;

  explicit workload(ml::dtype type) : precision(type), target(static_cast<std::size_t>(rows)), targets(mean.seen) {
    for (std::size_t row = 0; row < target.size(); ++row) target[row] = static_cast<std::int32_t>(row * 7 % columns);
    targets.data = target.data();
    targets.type = ml::dtype::i32;
    for (float& moment : second.values) moment *= moment;
    for (float& variance : spread.values) variance *= variance;
  }
};

ml::call make_call(std::initializer_list<ml::view> operands, std::initializer_list<ml::view> results,
                   std::initializer_list<double> attributes = {}) {
  ml::call with;
  std::copy(operands.begin(), operands.end(), with.operand);
  std::copy(results.begin(), results.end(), with.result);
  std::copy(attributes.begin(), attributes.end(), with.attribute);
  return with;
}

/// In the type of the call's operands; nothing if it has 16 bits and the operator does not compute in it.
template <class Operator>
std::function<void()> kernel(const ml::call& with) {
  const auto in = [&]<class Element>(Element) -> std::function<void()> {
    return [with] { ml::run_on_host<ml::kernel_of<Operator>, Element>(with); };
  };
  const auto is = [&](ml::dtype type) {
    return std::any_of(std::begin(with.operand), std::end(with.operand),
                       [&](const ml::view& operand) { return operand.type == type; });
  };
  if (!is(ml::dtype::bf16) && !is(ml::dtype::f16)) return in(float{});
  if constexpr (ml::record_of<Operator>.rounded.any()) return is(ml::dtype::bf16) ? in(ml::bf16{}) : in(ml::f16{});
  return {};
}

/// The rows of the workload as tokens of 4 samples, each routed to 2 of 8 experts that have room for even choices.
struct routed_workload {
  ml::dtype precision;
  static constexpr std::int64_t samples = 4, tokens = rows / samples, experts = 8, slots = 2 * tokens / experts;
  array shares{{samples, tokens, experts}, 16}, weight{{samples, tokens, experts}, 17}, balance{{samples}, 18};
  array dweight{{samples, tokens, experts}, 19}, buffers{{experts, samples, slots, columns}, 20, precision};
  array x{{samples, tokens, columns}, 21, precision}, y{{samples, tokens, columns}, 22, precision};
  ml::vector<std::int32_t> slot;
  ml::view taken;

  explicit routed_workload(ml::dtype type) : precision(type), slot(shares.values.size()), taken(shares.seen) {
    taken.data = slot.data();
    taken.type = ml::dtype::i32;
    for (float& share : shares.values) share *= share;
    ml::run_on_host<ml::kernel_of<ml::op::route<1, 2>>, float>(route());
  }
  ml::call route() const {
    return make_call({shares.seen}, {weight.seen, taken, balance.seen}, {0, static_cast<double>(slots)});
  }
};

/// A buffer row is read or written once, so that x counts twice where tokens have two experts.
void add_routing(ml::vector<memory_bound>& to, const routed_workload& w) {
  const double all = static_cast<double>(rows * columns);
  const auto &x = w.x.seen, &y = w.y.seen, &buffers = w.buffers.seen;
  to.push_back({"dispatch", 4 * all, 0.7, kernel<ml::op::dispatch<1, false>>(make_call({w.taken, x}, {buffers}))});
  to.push_back({"dispatch_weighted", 4 * all, 0.7,
                kernel<ml::op::dispatch<1, true>>(make_call({w.weight.seen, w.taken, x}, {buffers}))});
  to.push_back(
      {"combine", 3 * all, 0.7, kernel<ml::op::combine<1, true>>(make_call({w.weight.seen, w.taken, buffers}, {y}))});
  to.push_back({"combine_gradient_weight", 3 * all, 0.7,
                kernel<ml::op::combine_gradient_weight<1>>(make_call({x, w.taken, buffers}, {w.dweight.seen}))});
}

/// A matrix as [rows, heads, head], with heads of 64 elements.
ml::view by_heads(ml::view seen) {
  seen.rank = 3;
  seen.extent[1] = seen.global[1] = columns / 64;
  seen.extent[2] = seen.global[2] = 64;
  ml::make_dense(seen);
  return seen;
}

ml::vector<memory_bound> memory_cases(workload& w) {
  using matrix = ml::at<0, 1>;
  using value = ml::op::operand<0>;
  using gelu = ml::op::pointwise<ml::op::gelu<value>, matrix, matrix>;
  using gelu_slope = ml::op::pointwise_gradient<ml::op::multiply<ml::op::gelu_slope<value>, ml::op::operand<1>>, matrix,
                                                matrix, matrix>;
  using gated = ml::op::pointwise<ml::op::multiply<ml::op::silu<value>, ml::op::operand<1>>, matrix, matrix, matrix>;
  using biased = ml::op::pointwise<ml::op::gelu<ml::op::add<value, ml::op::operand<1>>>, matrix, matrix, ml::at<1>>;
  const double all = static_cast<double>(rows * columns);
  const auto &x = w.x.seen, &y = w.y.seen, &dy = w.dy.seen, &dx = w.dx.seen;
  const auto &mean = w.mean.seen, &rstd = w.rstd.seen;
  return {
      {"layer_norm", 2 * all, 0.7,
       kernel<ml::op::layer_norm<2>>(make_call({x, w.gain.seen, w.bias.seen}, {y, mean, rstd}, {1e-5}))},
      {"layer_norm_gradient_input", 3 * all, 0.7,
       kernel<ml::op::layer_norm_gradient_input<2>>(make_call({dy, x, w.gain.seen, mean, rstd}, {dx}, {1e-5}))},
      {"layer_norm_gradient_weights", 2 * all, 0.7,
       kernel<ml::op::layer_norm_gradient_weights<2>>(make_call({dy, x, mean, rstd}, {w.dgain.seen, w.dbias.seen}))},
      {"batch_norm", 3 * all, 0.7,  // x twice: statistics are known when all of it has been read
       kernel<ml::op::batch_norm<2>>(
           make_call({x, w.gain.seen, w.bias.seen}, {y, w.center.seen, w.spread.seen}, {1e-5}))},
      {"batch_norm_gradient", 5 * all, 0.7,  // dy and x twice
       kernel<ml::op::batch_norm_gradient<2>>(
           make_call({dy, x, w.gain.seen, w.center.seen, w.spread.seen}, {dx, w.dgain.seen, w.dbias.seen}, {1e-5}))},
      {"batch_norm_inference", 2 * all, 0.7,
       kernel<ml::op::batch_norm_inference<2>>(
           make_call({x, w.gain.seen, w.bias.seen, w.center.seen, w.spread.seen}, {y}, {1e-5}))},
      {"rms_norm", 2 * all, 0.7, kernel<ml::op::rms_norm<2>>(make_call({x, w.gain.seen}, {y, rstd}, {1e-5}))},
      {"rms_norm_gradient_input", 3 * all, 0.7,
       kernel<ml::op::rms_norm_gradient_input<2>>(make_call({dy, x, w.gain.seen, rstd}, {dx}, {1e-5}))},
      {"rms_norm_gradient_gain", 2 * all, 0.7,
       kernel<ml::op::rms_norm_gradient_gain<2>>(make_call({dy, x, rstd}, {w.dgain.seen}))},
      {"rotary", 2 * all, 0.7, kernel<ml::op::rotary<3, 0>>(make_call({by_heads(x)}, {by_heads(y)}, {10000, 1}))},
      {"dropout", 2 * all, 0.5, kernel<ml::op::dropout<2>>(make_call({x}, {y}, {0.1, 0, 0}))},
      {"silu_gate", 3 * all, 0.7, kernel<gated>(make_call({x, dy}, {y}))},
      {"softmax", 2 * all, 0.5, kernel<ml::op::softmax<2, false>>(make_call({x}, {w.shares.seen}, {0.125}))},
      {"softmax_gradient", 3 * all, 0.5,
       kernel<ml::op::softmax_gradient<2>>(make_call({dy, w.shares.seen}, {dx}, {0.125}))},
      {"gelu", 2 * all, 0.7, kernel<gelu>(make_call({x}, {y}))},
      {"gelu_gradient", 3 * all, 0.7, kernel<gelu_slope>(make_call({x, dy}, {dx}))},
      {"bias_gelu", 2 * all, 0.7, kernel<biased>(make_call({x, w.bias.seen}, {y}))},
      {"bias_gradient", all, 0.7, kernel<ml::op::sum<matrix, ml::at<1>>>(make_call({dy}, {w.dbias.seen}, {1.0}))},
      {"sum", all, 0.7, kernel<ml::op::sum<matrix, ml::at<>>>(make_call({dy}, {w.total.seen}, {1.0}))},
      {"cross_entropy", all, 0.5,
       kernel<ml::op::cross_entropy<1>>(make_call({x, w.targets}, {w.loss.seen, w.logsum.seen}))},
      {"cross_entropy_gradient", 2 * all, 0.5,
       kernel<ml::op::cross_entropy_gradient<1>>(make_call({w.loss.seen, x, w.targets, w.logsum.seen}, {dx}))},
      {"adamw", 7 * all, 0.7,
       kernel<ml::op::adamw<2>>(make_call({y, dy, w.first.seen, w.second.seen}, {y, w.first.seen, w.second.seen},
                                          {1e-3, 0.9, 0.999, 1e-8, 0.01}))},
      {"lamb", 10 * all, 0.5,
       kernel<ml::op::lamb<2>>(make_call({y, dy, w.first.seen, w.second.seen}, {y, w.first.seen, w.second.seen},
                                         {1e-3, 0.9, 0.999, 1e-6, 0.01}))},
      {"ema", 3 * all, 0.7, kernel<ml::op::ema<2>>(make_call({w.first.seen, y}, {w.first.seen}, {0.9}))},
      {"sgd", 5 * all, 0.7,
       kernel<ml::op::sgd<2>>(make_call({y, dy, w.first.seen}, {y, w.first.seen}, {1e-3, 0.9, 0.01}))},
  };
}

template <class Arithmetic>
compute_bound product(const std::string& name, Arithmetic& how, std::int64_t m, std::int64_t n, std::int64_t k,
                      workload& w) {
  return {name + " " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k),
          2.0 * static_cast<double>(m * n * k), [&how, &w, m, n, k] {
            how.template gemm<float>(m, n, k, w.x.values.data(), k, 1, w.dy.values.data(), n, 1, false,
                                     w.dx.values.data(), n, 1);
          }};
}

void report(const ml::vector<memory_bound>& cases, ml::dtype precision, bool json) {
  ml::vector<float> from(static_cast<std::size_t>(rows * columns), 1.0f), to(from.size());
  ml::vector<ml::vector<double>> times(cases.size());
  ml::vector<double> copies;
  cold_start chill;
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t which = 0; which < cases.size(); ++which) {
      chill();
      copies.push_back(seconds_of([&] { std::copy(from.begin(), from.end(), to.begin()); }));
      chill();
      times[which].push_back(seconds_of(cases[which].work));
    }
  }
  const double copy = 2.0 * 4.0 * static_cast<double>(from.size()) / median(copies);
  if (json)
    std::printf("{\"kernel\":\"copy\",\"bytes_per_second\":%.6g}\n", copy);
  else
    std::printf("copy %33.1f GB/s\n", copy * 1e-9);
  for (std::size_t which = 0; which < cases.size(); ++which) {
    const double rate = static_cast<double>(ml::size_of(precision)) * cases[which].elements / median(times[which]);
    if (json) {
      std::printf("{\"kernel\":\"%s\",\"precision\":\"%s\",\"rows\":%d,\"columns\":%d,", cases[which].name.c_str(),
                  ml::name_of(precision).data(), static_cast<int>(rows), static_cast<int>(columns));
      std::printf("\"bytes_per_second\":%.6g,\"share_of_copy\":%.4f,\"target\":%.2f}\n", rate, rate / copy,
                  cases[which].target);
    } else {
      std::printf("%-30s %7.1f GB/s %5.0f %% of copy (target %.0f %%)\n", cases[which].name.c_str(), rate * 1e-9,
                  100 * rate / copy, 100 * cases[which].target);
    }
  }
}

void report(const ml::vector<compute_bound>& cases, bool json) {
  ml::vector<ml::vector<double>> times(cases.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t which = 0; which < cases.size(); ++which) times[which].push_back(seconds_of(cases[which].work));
  }
  for (std::size_t which = 0; which < cases.size(); ++which) {
    const double rate = cases[which].flops / median(times[which]);
    if (json)
      std::printf("{\"kernel\":\"%s\",\"flops_per_second\":%.6g}\n", cases[which].name.c_str(), rate);
    else
      std::printf("%-30s %7.1f GF/s\n", cases[which].name.c_str(), rate * 1e-9);
  }
}

/// Products of float: `w` is of that precision.
void report_products(workload& w, bool json) {
  ml::plain own;
  ml::vector<compute_bound> products{product("plain", own, 512, 512, 512, w), product("plain", own, 1024, 768, 768, w)};
#if defined(EXAMPLE_WITH_CBLAS)
  const ml::single_threaded_blas<> alone;
  ml::cblas vendor;
  products.push_back(product("cblas", vendor, 512, 512, 512, w));
  products.push_back(product("cblas", vendor, 1024, 768, 768, w));
#endif
#if defined(EXAMPLE_WITH_ONEDNN)
  ml::onednn other;
  products.push_back(product("onednn", other, 512, 512, 512, w));
  products.push_back(product("onednn", other, 1024, 768, 768, w));
#endif
  report(products, json);
}

}  // namespace

int main(int count, char** words) try {
  ml::dtype precision = ml::dtype::f32;
  const bool json = read_options(count, words, "bench/kernel.cpp", [&](std::string_view name, std::string_view text) {
    for (const ml::dtype each : {ml::dtype::f32, ml::dtype::bf16, ml::dtype::f16}) {
      if (ml::name_of(each) == text) precision = each;
    }
    return name == "--precision" && ml::name_of(precision) == text;
  });
  workload w(precision);
  const routed_workload routed(precision);
  ml::vector<memory_bound> cases = memory_cases(w);
  add_routing(cases, routed);
  ml::erase_if(cases, [](const memory_bound& each) { return !each.work; });
  report(cases, precision, json);
  if (precision == ml::dtype::f32) report_products(w, json);
} catch (const ml::error& failure) {
  std::fprintf(stderr, "%s\n", failure.what());
  return 2;
}
