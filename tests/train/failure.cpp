// SPDX-License-Identifier: Apache-2.0
// A rank that throws ends the run: its error, with rank, instruction and cause, reaches the caller, every later step
// throws the same, and nobody waits for ever. What a step cannot use is refused by a sentence that says what it can.
#include "error_of.hpp"
#include "runs.hpp"

#include <doctest/doctest.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#if defined(__linux__)
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

namespace {

namespace ml = meshloom;
using namespace ml::axis;

/// Ends the program if a test hangs: a rank that waits for ever cannot be stopped otherwise.
class watchdog {
 public:
  explicit watchdog(std::string over, std::chrono::seconds limit = std::chrono::seconds(120))
      : over_(std::move(over)), thread_([this, limit] { watch(limit); }) {}
  ~watchdog() {
    {
      const std::lock_guard lock(door_);
      done_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;

 private:
  void watch(std::chrono::seconds limit) {
    std::unique_lock lock(door_);
    if (changed_.wait_for(lock, limit, [this] { return done_; })) return;
    std::fprintf(stderr, "a run hangs: %s\n", over_.c_str());
    std::_Exit(1);
  }

  std::string over_;
  std::mutex door_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;  // last: it uses the others
};

/// What a call of the operator below does beside its work; set while no step runs.
std::function<void(const ml::call&)> trap;

/// y = x; its kernel falls into the trap. The gradient is the operator itself.
template <int Rank>
struct tripwire {
  using list = typename ml::op::first<Rank>::list;
  static constexpr auto signature =
      ml::describe("tripwire").operands<list>().template results<list>().linear_in(1).made;
  using gradient = ml::operators<tripwire>;

  static void differentiate(ml::differentiation& d) {
    d.contribute(0, d.emit(ml::record_of<tripwire>, {d.gradient(0)}, d.attributes())[0]);
  }

  struct kernel {
    template <class Element>
    static std::int64_t teams(const ml::call&) {
      return 1;
    }

    template <class Element, class Team>
    static void run(Team team, std::int64_t, const ml::call& with) {
      const Element* const x = with.operand[0].as<const Element>();
      Element* const y = with.result[0].as<Element>();
      team.for_each(with.result[0].count(), [=](std::int64_t i) { y[i] = x[i]; });
      if (trap) trap(with);
    }
  };
};

struct tripwire_layer {
  static constexpr std::string_view name = "wire";

  auto operator()(auto& scope, const ml::pointwise_value auto& value) const {
    return emit(scope, evaluate(scope, value));
  }

 private:
  template <class... Axis>
  static ml::tensor<Axis...> emit(auto& scope, ml::tensor<Axis...> x) {
    return {scope.template emit<tripwire<sizeof...(Axis)>>(ml::axes<Axis...>{}, {}, x)[0]};
  }
};

constexpr ml::gpt_shape shape{
    .name = "failure", .vocab = 32, .seq = 4, .batch = 16, .embed = 16, .layers = 8, .heads = 4};

auto training() {
  auto block = ml::residual(ml::layer_norm<embed>{}, ml::linear<embed, mlp>{}, tripwire_layer{}, ml::relu{},
                            ml::linear<mlp, embed>{});
  auto model = ml::embedding<vocab, embed>{} | ml::repeat(shape.layers, block) | ml::linear<embed, vocab>{};
  return ml::training{.model = model,
                      .loss = ml::cross_entropy<vocab>{},
                      .optimizer = ml::sgd{.rate = 0.01},
                      .sizes = ml::gpt_sizes(shape)};
}

ml::program program_under(const runs::request& asked) { return runs::program_of(ml::trace(training()), asked); }

/// The calls of one instruction on one rank, in one micro-batch.
struct place {
  std::string name;
  std::uint64_t number = 0, micro_batch = 0;
  std::array<std::int64_t, 3> origin{};

  bool is(const ml::call& with) const {
    return with.number == number && with.micro_batch == micro_batch &&
           std::equal(origin.begin(), origin.end(), with.operand[0].origin);
  }
};

/// The last tripwire of a rank in a pass, at a micro-batch.
place place_on(const ml::program& made, int rank, ml::pass when, std::uint64_t micro_batch) {
  const ml::stage_program& stage = made.stages[ml::stage_of_rank(made, rank)];
  place found;
  for (const ml::instruction& each : stage.bodies[static_cast<std::size_t>(when)]) {
    if (each.op == nullptr || each.op->op.name != "tripwire") continue;
    const ml::view shard = ml::shard_view(stage, stage.buffers[each.operands[0]], rank - stage.first_rank);
    found = {each.name, each.number, micro_batch, {shard.origin[0], shard.origin[1], shard.origin[2]}};
  }
  REQUIRE(!found.name.empty());
  return found;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

#if defined(__GLIBC__)
/// Lets the process reserve no more than `more` bytes beyond what it has.
class address_limit {
 public:
  explicit address_limit(std::int64_t more) {
    std::ifstream statm("/proc/self/statm");
    std::int64_t pages = 0;
    statm >> pages;
    getrlimit(RLIMIT_AS, &before_);
    rlimit tight = before_;
    tight.rlim_cur = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + more);
    setrlimit(RLIMIT_AS, &tight);
  }
  ~address_limit() { setrlimit(RLIMIT_AS, &before_); }
  address_limit(const address_limit&) = delete;
  address_limit& operator=(const address_limit&) = delete;

 private:
  rlimit before_{};
};

/// Gives every thread that is made while it lives a stack of `size` bytes.
class stack_size {
 public:
  explicit stack_size(std::size_t size) {
    pthread_getattr_default_np(&before_);
    pthread_attr_t larger = before_;
    pthread_attr_setstacksize(&larger, size);
    pthread_setattr_default_np(&larger);
  }
  ~stack_size() { pthread_setattr_default_np(&before_); }
  stack_size(const stack_size&) = delete;
  stack_size& operator=(const stack_size&) = delete;

 private:
  pthread_attr_t before_{};
};
#endif

/// Sets the trap for as long as it lives.
struct sprung {
  explicit sprung(std::function<void(const ml::call&)> what) { trap = std::move(what); }
  ~sprung() { trap = nullptr; }
};

/// One rank throws in the second step; true sentences then and later, and the run can be destroyed.
void check_failure(const runs::request& asked, int rank, ml::pass when, std::uint64_t micro_batch) {
  CAPTURE(name_of(asked));
  CAPTURE(rank);
  CAPTURE(name_of(when));
  CAPTURE(micro_batch);
  const watchdog watch(name_of(asked));
  auto run = ml::start(ml::host{}, program_under(asked), training());
  const runs::sample batch = runs::draw(shape, 0);
  runs::step(run, batch);
  const place where = place_on(run.executed(), rank, when, micro_batch);
  const sprung fault([&](const ml::call& with) {
    if (where.is(with)) throw std::runtime_error("the wire was touched");
  });
  const std::string first = error_of([&] { runs::step(run, batch); });
  CHECK(contains(first, "rank " + std::to_string(rank) + ","));
  CHECK(contains(first, where.name));
  CHECK(contains(first, "the wire was touched"));
  trap = nullptr;
  CHECK(error_of([&] { runs::step(run, batch); }) == first);
  CHECK(error_of([&] { runs::step(run, batch); }) == first);
  CHECK(run.steps() == 1);
}

}  // namespace

TEST_CASE("a rank that throws stops the run with its error, whichever rank, pass and micro-batch") {
  for (const runs::request& asked : ml::vector<runs::request>{{"data=2", 2, 2},
                                                              {"data=8", 8, 2},
                                                              {"zero3=4", 4, 1},
                                                              {"tensor=2", 2, 1},
                                                              {"tensor=8", 8, 2},
                                                              {"pipeline=2", 2, 4},
                                                              {"pipeline=8", 8, 4},
                                                              {"gpipe=4", 4, 4},
                                                              {"data=2,tensor=2,pipeline=2", 8, 4}}) {
    for (const int rank : {0, asked.ranks / 2, asked.ranks - 1}) {
      for (const ml::pass when : {ml::pass::forward, ml::pass::backward}) {
        check_failure(asked, rank, when, 0);
        check_failure(asked, rank, when, static_cast<std::uint64_t>(asked.micro_batches - 1));
      }
    }
  }
}

TEST_CASE("a run on one rank that throws says so as well") {
  check_failure({"data=1", 1, 2}, 0, ml::pass::forward, 1);
  check_failure({"data=1", 1, 2}, 0, ml::pass::backward, 1);
}

TEST_CASE("the wire alone changes nothing") {
  auto run = ml::start(ml::host{}, program_under({"data=2,tensor=2,pipeline=2", 8, 4}), training());
  auto alone = ml::start(ml::host{}, program_under({"data=1", 1, 4}), training());
  for (unsigned at = 0; at < 3; ++at) {
    const runs::sample batch = runs::draw(shape, at);
    CHECK(runs::step(run, batch) == doctest::Approx(runs::step(alone, batch)).epsilon(1e-5));
  }
}

TEST_CASE("when all ranks throw, the error is that of one of them") {
  const watchdog watch("all ranks throw");
  auto run = ml::start(ml::host{}, program_under({"data=2,tensor=2,pipeline=2", 8, 4}), training());
  const sprung fault([](const ml::call&) { throw std::runtime_error("the wire was touched"); });
  const std::string why = error_of([&] { runs::step(run, runs::draw(shape, 0)); });
  CHECK(contains(why, "the run has stopped: rank "));
  CHECK(contains(why, "wire.tripwire"));
  CHECK(contains(why, "the wire was touched"));
}

TEST_CASE("whatever is thrown, the run stops") {
  const watchdog watch("an int is thrown");
  auto run = ml::start(ml::host{}, program_under({"data=2", 2, 1}), training());
  const sprung fault([](const ml::call&) { throw 7; });
  CHECK(contains(error_of([&] { runs::step(run, runs::draw(shape, 0)); }), "not a std::exception"));
}

TEST_CASE("a run that is never stepped, or failed, can be destroyed") {
  const watchdog watch("destruction");
  for (int times = 0; times < 20; ++times) {
    auto run = ml::start(ml::host{}, program_under({"data=2,tensor=2,pipeline=2", 8, 4}), training());
    if (times % 2 == 0) continue;
    const sprung fault([](const ml::call& with) {
      if (with.micro_batch == 2) throw std::runtime_error("the wire was touched");
    });
    CHECK_THROWS_AS(runs::step(run, runs::draw(shape, 0)), ml::error);
  }
}

TEST_CASE("a step refuses inputs that it cannot use, and runs on") {
  auto run = ml::start(ml::host{}, program_under({"data=2", 2, 1}), training());
  const runs::sample batch = runs::draw(shape, 0);
  const double before = runs::step(run, batch);
  const ml::vector<std::int32_t> few(63);
  const ml::vector<float> real(64);
  const ml::vector<std::int32_t> nothing;
  CHECK(error_of([&] { run.step({}); }) == "step: the program reads 2 inputs, 0 were given");
  CHECK(error_of([&] { run.step({batch.input}); }) == "step: the program reads 2 inputs, 1 were given");
  CHECK(error_of([&] {
          run.step({batch.input, few});
        }) == "step: input 'target' must have 64 elements of i32, 63 of i32 were given");
  CHECK(error_of([&] {
          run.step({real, batch.target});
        }) == "step: input 'input' must have 64 elements of i32, 64 of f32 were given");
  CHECK(error_of([&] {
          run.step({nothing, batch.target});
        }) == "step: input 'input' must have 64 elements of i32, 0 of i32 were given");
  CHECK(error_of([&] {
          run.step({{nullptr, 64, ml::dtype::i32}, batch.target});
        }) == "step: input 'input' is a null pointer");
  float unwanted = 0;
  CHECK(error_of([&] {
          run.step({batch.input, batch.target}, {&unwanted});
        }) == "step: the program stores 0 results, memory for 1 was given; a loss is returned, not stored");
  CHECK(run.steps() == 1);
  CHECK(runs::step(run, batch) < before);
}

TEST_CASE("a step refuses to store a result nowhere") {
  const auto task = training();
  const ml::graph whole = ml::trace(task), inference = ml::trace_inference(task);
  const ml::plan chosen = runs::plan_of(whole, {"tensor=2", 2, 1});
  auto run = ml::start(ml::host{}, ml::lower(whole, chosen, ml::local(2)), task);
  auto reader =
      ml::start(ml::host{}, ml::lower(inference, ml::adapt(whole, chosen, inference), ml::local(2)), task, run);
  const runs::sample batch = runs::draw(shape, 0);
  ml::vector<float> logits(64 * 32, -1);
  const std::string missing = "step: result '" + reader.executed().results[0].name +
                              "' needs memory to be stored in; pass one pointer per such result";
  CHECK(error_of([&] { reader.step({batch.input}); }) == missing);
  CHECK(error_of([&] { reader.step({batch.input}, {nullptr}); }) == missing);
  CHECK(error_of([&] {
          reader.step({batch.input, batch.target}, {logits.data()});
        }) == "step: the program reads 1 inputs, 2 were given");
  reader.step({batch.input}, {logits.data()});
  CHECK(std::count(logits.begin(), logits.end(), -1.0f) == 0);
}

TEST_CASE("names that a run does not have, and values that do not fit, are refused") {
  auto run = ml::start(ml::host{}, program_under({"data=2", 2, 1}), training());
  const ml::vector<double> three(3);
  CHECK(error_of([&] { run.read("nothing"); }) ==
        "read: the run has no parameter or state 'nothing'; names() lists them");
  CHECK(error_of([&] { run.write("nothing", three); }) ==
        "write: the run has no parameter or state 'nothing'; names() lists them");
  CHECK(error_of([&] { run.write("linear.bias", three); }) == "write: linear.bias has 32 elements, 3 were given");
  CHECK(run.shard("nothing", 0).data == nullptr);
}

TEST_CASE("a program does not share the parameters of a run under another plan") {
  const auto task = training();
  const ml::graph whole = ml::trace(task), inference = ml::trace_inference(task);
  const auto reader_under = [&](const runs::request& asked) {
    const ml::plan chosen = runs::plan_of(whole, asked);
    return ml::lower(inference, ml::adapt(whole, chosen, inference), ml::local(asked.ranks));
  };
  auto run = ml::start(ml::host{}, program_under({"tensor=2", 2, 1}), task);
  CHECK(contains(error_of([&] {
                   ml::start(ml::host{}, reader_under({"data=4", 4, 1}), task, run);
                 }),
                 "the run that has the parameters has 2 ranks, this program 4; lower both under one plan"));
  CHECK(contains(error_of([&] {
                   ml::start(ml::host{}, reader_under({"data=2", 2, 1}), task, run);
                 }),
                 "rank 0 of the run that has the parameters does not keep"));
  CHECK(contains(error_of([&] {
                   ml::start(ml::host{}, reader_under({"pipeline=2", 2, 1}), task, run);
                 }),
                 "of the run that has the parameters does not keep"));
  CHECK(runs::step(run, runs::draw(shape, 0)) > 0);
}

#if defined(__GLIBC__)
TEST_CASE("a run that gets too few threads says so, and leaves none behind") {
  if (sanitized) return;  // it reserves more memory than any limit allows
  const watchdog watch("too few threads");
  ml::gpt_shape wide = shape;
  wide.batch = 64;
  const auto task = ml::gpt_training(wide, ml::sgd{.rate = 0.01});
  const ml::program made = runs::program_of(ml::trace(task), {"data=64", 64, 1});
  const stack_size large(std::size_t{1} << 30);
  const address_limit limit(std::int64_t{8} << 30);  // the ranks and some of the stacks
  const std::string why = error_of([&] { ml::start(ml::host{}, made, task); });
  CHECK(contains(why, "start: the system gives "));
  CHECK(contains(why, " threads, not 64, one per rank"));
}

TEST_CASE("a run that gets no memory says how much it wants") {
  if (sanitized) return;
  const auto task = ml::gpt_training(ml::find_gpt("gpt-124m"), ml::sgd{.rate = 0.01});  // more than the heap has free
  const ml::program made = runs::program_of(ml::trace(task), {"data=1", 1, 1});
  const address_limit limit(std::int64_t{64} << 20);
  const std::string wanted = std::to_string(made.stages[ml::stage_id{0}].peak().count);
  CHECK(error_of([&] { ml::start(ml::host{}, made, task); }) ==
        "start: the system does not give " + wanted +
            " bytes for the arena of a rank; use more ranks, more micro-batches or ZeRO to make it smaller");
}
#endif
