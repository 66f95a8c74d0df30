// SPDX-License-Identifier: Apache-2.0
// Memory: what a program predicts is what a run allocates, close to what any packing must have; a running step asks the
// heap for nothing, and the process does not grow.
#include "allocations.hpp"
#include "runs.hpp"

#ifdef TEST_WITH_CBLAS
#include <meshloom/exec/cblas.hpp>
#endif

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <numeric>
#include <thread>

namespace {

namespace ml = meshloom;

constexpr ml::gpt_shape little{
    .name = "little", .vocab = 50, .seq = 16, .batch = 24, .embed = 32, .layers = 6, .heads = 4};
const ml::gpt_shape small = ml::find_gpt("gpt-small");
const ml::adamw adamw{.rate = 1e-3};

ml::vector<std::int64_t> peaks_of(const ml::program& made) {
  ml::vector<std::int64_t> peaks;
  for (const ml::stage_program& stage : made.stages) {
    peaks.insert(peaks.end(), static_cast<std::size_t>(stage.mesh.ranks()), stage.peak().count);
  }
  return peaks;
}

/// What the regions of a stage must hold, however its bodies are packed.
std::int64_t region_bound(const ml::stage_program& stage) {
  return (stage.fixed + stage.kept * stage.slots + stage.transient_bound).count;
}

/// Which values one rank of a stage has at once in a whole step, read off the instructions alone: a value lives from
/// where it is first written to where it is last read, per micro-batch, whichever region it lies in.
class live_bytes {
 public:
  live_bytes(const ml::program& whole, ml::stage_id which, std::int32_t member)
      : whole_(whole), stage_(whole.stages[which]), member_(member) {
    for (const ml::action& each : ml::expand(stage_.schedule)) visit(each);
    for (const ml::buffer& each : stage_.buffers) {
      if (each.where == ml::memory::fixed) fixed_ += size_of(each);
    }
  }

  /// No memory smaller than this can run the step in this order.
  std::int64_t bound() const {
    ml::vector<std::int64_t> change(now_ + 1);
    for (const auto& [value, span] : lives_) {
      change[span.first] += size_of(stage_.buffers[value.first]);
      change[span.last + 1] -= size_of(stage_.buffers[value.first]);
    }
    std::partial_sum(change.begin(), change.end(), change.begin());
    return fixed_ + *std::max_element(change.begin(), change.end());
  }

 private:
  struct life {
    std::size_t first, last;
  };

  std::int64_t size_of(const ml::buffer& what) const {
    return ml::shard_view(stage_, what, member_).count() * ml::size_of(what.type);
  }

  void touch(ml::buffer_id id, std::int32_t micro_batch) {
    if (stage_.buffers[id].where == ml::memory::fixed) return;
    const auto [known, added] = lives_.try_emplace({id, micro_batch}, life{now_, now_});
    known->second.last = now_;
  }

  void visit(const ml::action& what) {
    if (what.kind != ml::action::run) {
      const ml::transfer& moved = whole_.transfers[static_cast<std::size_t>(what.index)];
      touch(what.kind == ml::action::send ? moved.from : moved.to, what.micro_batch);
      ++now_;
      return;
    }
    for (const ml::instruction& each : stage_.bodies[static_cast<std::size_t>(what.index)]) {
      for (const auto* list : {&each.operands, &each.results, &each.exchanged}) {
        for (const ml::buffer_id id : *list) touch(id, what.micro_batch);
      }
      ++now_;
    }
  }

  const ml::program& whole_;
  const ml::stage_program& stage_;
  std::int32_t member_;
  std::int64_t fixed_ = 0;
  std::size_t now_ = 0;
  std::map<std::pair<ml::buffer_id, std::int32_t>, life> lives_;
};

/// Every size of `wanted` is in `seen`, as often.
bool holds(ml::vector<std::int64_t> seen, const ml::vector<std::int64_t>& wanted) {
  for (const std::int64_t size : wanted) {
    const auto found = std::find(seen.begin(), seen.end(), size);
    if (found == seen.end()) return false;
    seen.erase(found);
  }
  return true;
}

/// What the process occupies, as Linux says it.
std::int64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  std::int64_t kilobytes = 0;
  while (status >> word && word != "VmRSS:") {}
  status >> kilobytes;
  return kilobytes * 1024;
}

/// Memory that a compiler must not do without.
void* kept(void* memory) {
  asm volatile("" : "+r"(memory) : : "memory");
  return memory;
}

/// The calls for memory of three steps, after a first one, of which the second and third are recorded.
template <class Arithmetic>
std::int64_t calls_of_steps(const ml::gpt_shape& of, const runs::request& asked) {
  const auto task = ml::gpt_training(of, adamw);
  auto run = ml::start(ml::host<Arithmetic>{}, runs::program_of(ml::trace(task), asked), task);
  const runs::sample batch = runs::draw(of, 0);
  runs::step(run, batch);
  const std::int64_t before = allocations::count();
  runs::step(run, batch);
  run.record(true);
  runs::step(run, batch);
  runs::step(run, batch);
  return allocations::count() - before;
}

template <class Arithmetic>
void check_quiet_steps(const ml::gpt_shape& of) {
  const ml::vector<runs::request> plans{{"data=1", 1, 1},
                                        {"data=2", 2, 4},
                                        {"tensor=2", 2, 1},
                                        {"pipeline=4", 4, 4},
                                        {"gpipe=2", 2, 2},
                                        {"zero3=3", 3, 1},
                                        {"zero2=2,tensor=2,pipeline=2", 8, 2}};
  for (const runs::request& asked : plans) {
    CAPTURE(name_of(asked));
    CHECK(calls_of_steps<Arithmetic>(of, asked) == 0);
  }
  CHECK(calls_of_steps<Arithmetic>(small, {"data=2", 2, 2}) == 0);
}

}  // namespace

TEST_CASE("a run allocates what its program predicts, to the byte, under every plan") {
  const auto task = ml::gpt_training(little, adamw);
  const ml::graph whole = ml::trace(task);
  int count = 0;
  runs::for_each_plan([&](const std::string& text, int ranks) {
    const runs::request asked{text, ranks, runs::micro_batch_counts[count++ % 3]};
    CAPTURE(name_of(asked));
    ml::program made = runs::program_of(whole, asked);
    const auto predicted = peaks_of(made);
    const allocations::aligned_sizes asked_for;
    const auto run = ml::start(ml::host{}, std::move(made), task);
    CHECK(run.arena_bytes() == predicted);
    if (allocations::counted()) CHECK(holds(asked_for.seen(), predicted));
  });
  CHECK(count > (sanitized ? 10 : 100));
}

TEST_CASE("a run of an automatic plan keeps to the memory that there is, when that is scarce") {
  const auto task = ml::gpt_training(little, adamw);
  const ml::graph whole = ml::trace(task);
  ml::cluster machine = ml::local(2);
  machine.device.memory = {800'000};
  const auto roomy = ml::solve(ml::formulate(whole, ml::local(2)));
  const auto tight = ml::solve(ml::formulate(whole, machine));
  REQUIRE_MESSAGE(tight, tight.error());
  ml::program made = ml::lower(whole, tight.value(), machine);
  const auto predicted = peaks_of(made);
  for (const std::int64_t peak : predicted) CHECK(peak <= machine.device.memory.count);
  for (const std::int64_t peak : peaks_of(ml::lower(whole, roomy.value(), machine)))
    CHECK(peak > machine.device.memory.count);
  const allocations::aligned_sizes asked_for;
  auto run = ml::start(ml::host{}, std::move(made), task);
  CHECK(run.arena_bytes() == predicted);
  if (allocations::counted()) CHECK(holds(asked_for.seen(), predicted));
  const runs::sample batch = runs::draw(little, 0);
  const double first = runs::step(run, batch);
  CHECK(runs::step(run, batch) < first);
}

TEST_CASE("the arena is at most 5 % above the liveness bound") {
  const auto task = ml::gpt_training(small, adamw);
  const ml::graph whole = ml::trace(task);
  double worst = 1, worst_in_step = 1;
  for (const runs::request& asked : ml::vector<runs::request>{{"data=1", 1, 1},
                                                              {"data=1", 1, 2},
                                                              {"data=2", 2, 1},
                                                              {"tensor=2", 2, 1},
                                                              {"tensor=4", 4, 2},
                                                              {"zero2=2", 2, 2},
                                                              {"zero3=4", 4, 1},
                                                              {"pipeline=2", 2, 4},
                                                              {"gpipe=4", 4, 4},
                                                              {"data=2,tensor=2,pipeline=2", 8, 2}}) {
    CAPTURE(name_of(asked));
    const ml::program made = runs::program_of(whole, asked);
    for (std::size_t s = 0; s < made.stages.size(); ++s) {
      const auto which = static_cast<ml::stage_id>(s);
      const double peak = static_cast<double>(made.stages[which].peak().count);
      const double above = peak / static_cast<double>(region_bound(made.stages[which]));
      const double above_in_step = peak / static_cast<double>(live_bytes(made, which, 0).bound());
      CHECK(above >= 1);
      CHECK(above <= 1.05);
      CHECK(above_in_step >= 1);
      worst = std::max(worst, above);
      worst_in_step = std::max(worst_in_step, above_in_step);
      if (asked.ranks == 1) {
        MESSAGE(small.name << ", " << name_of(asked) << ": arena " << peak / 1e6 << " MB, " << above
                           << " of the bound of its regions, " << above_in_step
                           << " of what is alive at once in a step");
      }
    }
  }
  MESSAGE("at most " << worst << " of the bound of the regions and " << worst_in_step << " of what is alive at once");
}

TEST_CASE("every way to ask for memory is counted, from every thread") {
  if (!allocations::counted()) return;
  const auto counts = [](auto allocate) {
    const std::int64_t before = allocations::count();
    allocate();
    return allocations::count() - before;
  };
  CHECK(counts([&] { std::free(kept(std::malloc(10))); }) == 1);
  CHECK(counts([&] { std::free(kept(std::calloc(10, 10))); }) == 1);
  CHECK(counts([&] { std::free(kept(std::realloc(kept(std::malloc(10)), 20))); }) == 2);
  CHECK(counts([&] { std::free(kept(std::aligned_alloc(64, 128))); }) == 1);
  CHECK(counts([&] { ::operator delete(kept(::operator new(10))); }) == 1);
  CHECK(counts([&] { ::operator delete(kept(::operator new(10, std::nothrow))); }) == 1);
  CHECK(counts([&] { ::operator delete[](kept(::operator new[](64, std::align_val_t{64})), std::align_val_t{64}); }) ==
        1);
  CHECK(counts([&] { std::thread([&] { std::free(kept(std::malloc(10))); }).join(); }) >= 1);
}

TEST_CASE("a running step asks the heap for nothing") {
  if (!allocations::counted()) return;
  check_quiet_steps<ml::plain>(little);
}

#ifdef TEST_WITH_CBLAS
TEST_CASE("a running step asks the heap for nothing, with a vendor's arithmetic") {
  if (!allocations::counted()) return;
  // OpenBLAS's AVX-512 kernels for products of less than 100³ take a buffer from the heap for a last strip of at most
  // half a vector of columns: 64 words leave none.
  ml::gpt_shape even = little;
  even.vocab = 64;
  check_quiet_steps<ml::cblas>(even);
}
#endif

TEST_CASE("200 steps do not make the process larger") {
  const auto task = ml::gpt_training(little, adamw);
  auto run = ml::start(ml::host{}, runs::program_of(ml::trace(task), {"data=2,tensor=2,pipeline=2", 8, 2}), task);
  const runs::sample batch = runs::draw(little, 0);
  for (int at = 0; at < 10; ++at) runs::step(run, batch);
  const std::int64_t before = resident_bytes();
  const int steps = sanitized ? 20 : 200;
  for (int at = 0; at < steps; ++at) runs::step(run, batch);
  const std::int64_t grown = resident_bytes() - before;
  CHECK(before > 1 << 20);
  MESSAGE(steps << " steps: resident memory grew by " << grown << " bytes");
  CHECK(grown <= 256 * 1024);
}
