// SPDX-License-Identifier: Apache-2.0
// Solving problems of the public contest on intra-operator parallelism (planner/iopddl.hpp): the cost found, the bound
// proven, and how long it took. A row of JSON has the assignment too, one strategy per node.
// bench_contest FILE… [--seconds 60] [--seed 0] [--json]; a FILE is .json or .json.gz
#include "gzip_text.hpp"
#include "options.hpp"

#include <meshloom/planner/certify.hpp>
#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/iopddl.hpp>

#include <fmt/core.h>

#include <chrono>
#include <ctime>

namespace ml = meshloom;

namespace {

struct options {
  ml::vector<std::string> files;
  int seconds = 60;
  std::uint64_t seed = 0;
  bool json = false;
};

class stopwatch {
 public:
  double wall() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
  double cpu() const { return static_cast<double>(std::clock() - cpu_) / CLOCKS_PER_SEC; }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::clock_t cpu_ = std::clock();
};

struct row {
  std::string name;
  ml::vector<std::int32_t> assignment;
  ml::wide_integer cost = 0, bound = 0, certified = 0;  ///< bounds: what the solver claims, what a checker confirms
  std::size_t nodes = 0;                                ///< of the certificate
  double seconds = 0, cpu = 0;
};

std::string digits(ml::wide_integer number) {
  std::string text;
  do text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(number % 10)));
  while ((number /= 10) > 0);
  return text;
}

double gap(const row& found) {
  return found.cost == 0 ? 0 : static_cast<double>(found.cost - found.bound) / static_cast<double>(found.cost);
}

/// A tenth of the time is left for what the solver does not interrupt.
row solve(const std::string& path, const options& chosen) {
  const stopwatch watch;
  const ml::iopddl_problem posed = ml::read_iopddl(gzip_text(path));
  const ml::scaled_intra scaled = ml::intra_of(posed);
  ml::intra_options limits;
  limits.most_work = std::int64_t{1} << 60;
  limits.seed = chosen.seed;
  limits.stop = [&] { return watch.wall() > 0.9 * chosen.seconds; };
  const ml::intra_answer found = ml::solve_intra(scaled.posed, limits).value();
  const ml::iopddl_price price = evaluate(posed, found.options);
  if (!price.possible) throw ml::error("the answer is wrong: " + price.fault);
  row made{posed.name, found.options, price.cost, scaled.bound_of(found.bound)};
  ml::certify_options proving;
  proving.stop = [&] { return watch.wall() > 0.97 * chosen.seconds; };
  const ml::intra_certificate proof = certify(scaled.posed, found, proving);
  const ml::vector<std::string> faults = check(scaled.posed, proof);
  if (!faults.empty()) throw ml::error(faults.front());
  made.certified = scaled.bound_of(proof.bound);
  made.nodes = proof.nodes.size();
  made.seconds = watch.wall();
  made.cpu = watch.cpu();
  return made;
}

void print(const row& found, const options& chosen) {
  if (!chosen.json) {
    return fmt::print(
        "{}: cost {}, bound {}, gap {:.4f} %, certified bound {} ({} nodes), {:.3g} s ({:.3g} s of one core)\n",
        found.name, digits(found.cost), digits(found.bound), 100 * gap(found), digits(found.certified), found.nodes,
        found.seconds, found.cpu);
  }
  std::string assignment;
  for (const std::int32_t each : found.assignment) {
    if (!assignment.empty()) assignment += ',';
    assignment += std::to_string(each);
  }
  fmt::print(
      "{{\"name\":\"{}\",\"cost\":{},\"bound\":{},\"gap\":{:.6g},\"certified_bound\":{},\"seconds\":{:.4g},\"cpu_"
      "seconds\":{:.4g},"
      "\"assignment\":[{}]}}\n",
      found.name, digits(found.cost), digits(found.bound), gap(found), digits(found.certified), found.seconds,
      found.cpu, assignment);
}

}  // namespace

int main(int count, char** words) {
  options chosen;
  try {
    int files = 1;
    for (; files < count && words[files][0] != '-'; ++files) chosen.files.emplace_back(words[files]);
    chosen.json = read_options(count - files + 1, words + files - 1, "bench/contest.cpp",
                               [&](std::string_view name, std::string_view text) {
                                 if (name == "--seconds") return read_count(name, text, chosen.seconds);
                                 if (name == "--seed") return read_count(name, text, chosen.seed);
                                 return false;
                               });
  } catch (const std::exception& why) {
    fmt::print(stderr, "bench_contest: {}\n", why.what());
    return 2;
  }
  int failed = 0;
  for (const std::string& path : chosen.files) {
    try {
      print(solve(path, chosen), chosen);
    } catch (const std::exception& why) {
      fmt::print(stderr, "bench_contest: {}: {}\n", path, why.what());
      failed = 1;
    }
  }
  return failed;
}
