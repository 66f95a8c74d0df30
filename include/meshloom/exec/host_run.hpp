// SPDX-License-Identifier: Apache-2.0
// A run on the host: one thread per rank, started once, sharing memory. The caller gives it steps.
// Law: the first rank that throws ends the run: every other rank leaves its waits, and the error, with rank and
// instruction, reaches the caller. Parameters live as long as the run that made them.
#pragma once

#include <meshloom/exec/host_rank.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace meshloom {

/// What the ranks of a run compute matrix products with: made once per rank.
using arithmetic_maker = std::shared_ptr<void> (*)();

struct step_result {
  double loss = 0;  ///< the sum of the summed results: the loss, with what layers add to it; 0 if there is none
  double seconds = 0;
  double gradient_norm =
      0;  ///< of all gradients together, before they are clipped; 0 if they are neither clipped nor scaled
  bool skipped = false;  ///< scaled gradients were not finite: nothing was updated, and the step does not count
};

class host_run {
 public:
  /// `parameters`, if not null, is a run of the same plan whose parameters this one reads and writes.
  host_run(const program& made, kernel_table kernels, arithmetic_maker arithmetic, std::shared_ptr<void> session,
           std::uint64_t seed, host_run* parameters = nullptr);
  ~host_run();
  host_run(const host_run&) = delete;
  host_run& operator=(const host_run&) = delete;

  /// Runs the program once. `inputs` are the ports in order: dense arrays of the whole batch. `outputs` receive the
  /// results that are not summed. Throws meshloom::error if an input has the wrong size or type, if memory for a result
  /// is missing, or if a rank failed.
  step_result step(std::initializer_list<port_data> inputs, std::initializer_list<void*> outputs = {});

  /// The whole of a parameter or optimizer state, by name, gathered from its shards; in f64 whatever its precision.
  vector<double> read(std::string_view name) const;
  /// Sets it on every rank, and the master of a parameter that has one.
  void write(std::string_view name, std::span<const double> values);
  vector<std::string> names() const;
  /// One rank's shard of it, where it lies; `data` is null if the rank has none. Not while a step runs.
  view shard(std::string_view name, std::int32_t rank) const;

  const program& executed() const { return program_; }
  /// Bytes of the arena of each rank.
  vector<std::int64_t> arena_bytes() const;
  /// Steps that updated something.
  std::uint64_t steps() const { return steps_; }
  /// What the loss of the next step is multiplied by; 1 unless the training scales it.
  double scale() const { return scale_.scale; }

  void record(bool on);
  /// Events of the last step, rank by rank.
  vector<event> events() const;

 private:
  void write_shard(const view& shard, std::string_view name, std::span<const double> values);
  enum class command : std::uint8_t { step, initialise, stop };

  void serve(std::int32_t rank);
  void end();
  void command_all(command what);
  void fail(std::int32_t rank, const std::string& why);
  void take_inputs(std::initializer_list<port_data> inputs);
  void take_outputs(std::initializer_list<void*> outputs);
  double loss() const;
  double gradient_norm() const;

  program program_;
  kernel_table kernels_;
  wiring wires_;
  shared_memory communicator_;
  std::shared_ptr<void> session_;
  vector<std::shared_ptr<void>> arithmetic_;
  vector<std::unique_ptr<host_rank>> ranks_;
  vector<std::thread> threads_;
  std::uint64_t seed_;
  std::uint64_t steps_ = 0;
  loss_scale scale_;

  vector<port_data> inputs_;
  vector<void*> outputs_;
  std::mutex door_;
  std::condition_variable called_, finished_;
  command command_ = command::step;
  std::uint64_t calls_ = 0;
  std::int32_t busy_ = 0;
  std::string failure_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/exec/host_run.inl>
#endif
