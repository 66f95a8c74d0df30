// SPDX-License-Identifier: Apache-2.0
// One rank of the host backend: its arena, and the program's bodies prepared for it — views with this rank's extents,
// strides and origins, kernels looked up, groups and channels numbered — so that a step only patches addresses.
// Law: nothing is allocated while a step runs.
#pragma once

#include <meshloom/exec/event.hpp>
#include <meshloom/exec/kernel_table.hpp>
#include <meshloom/exec/shared_memory.hpp>
#include <meshloom/program/rotation.hpp>

#include <memory>

namespace meshloom {

/// The caller's memory for one input or output of a step: dense, of the whole batch.
struct port_data {
  const void* data = nullptr;
  std::int64_t count = 0;  ///< elements
  dtype type = dtype::f32;

  port_data() = default;
  port_data(const void* at, std::int64_t elements, dtype of) : data(at), count(elements), type(of) {}
  /// Elements are float, double or std::int32_t: see `dtype_of`.
  template <class Element>
  port_data(std::span<const Element> values)
      : port_data(values.data(), static_cast<std::int64_t>(values.size()), dtype_of<Element>) {}
  template <class Element>
  port_data(const vector<Element>& values) : port_data(std::span<const Element>(values)) {}
};

/// How the ranks of a program find each other: groups of collectives and channels of messages.
struct wiring {
  vector<vector<std::int32_t>> groups;
  vector<channel> channels;
  vector<std::array<std::int32_t, max_mesh_rank>> group_of;   ///< per rank and mesh axis
  std::int32_t everyone = -1;                                 ///< the group of all ranks, if something needs it
  vector<std::array<std::int32_t, max_mesh_rank>> member_of;  ///< its place in that group
  vector<vector<vector<std::int32_t>>> sends;                 ///< per rank and transfer, channels in order
  vector<vector<vector<std::int32_t>>> receives;
};

/// For every receiver of a transfer, one sender per distinct shard that it needs; replicas share the load.
wiring wire(const program& whole);

/// What all ranks of a step share: the caller's memory per port, the seed of the run, how many steps came before, what
/// that makes of learning rates, and what the loss is multiplied by.
struct host_step {
  shared_memory* communicator = nullptr;
  std::span<const port_data> inputs;
  std::span<void* const> outputs;
  std::uint64_t seed = 0;
  std::uint64_t number = 0;
  double rate = 1;
  double scale = 1;
};

class host_rank {
 public:
  /// `shared` (may be null) already holds the parameters: a second program reads them where they are.
  host_rank(const program& whole, const kernel_table& kernels, const wiring& wires, std::int32_t rank, void* arithmetic,
            const host_rank* shared);

  /// Fills parameters and states with their initial numbers.
  void initialise(std::uint64_t seed);

  /// Runs the rank's schedule once.
  void run(const host_step& now);

  /// This rank's shard of a kept value; `data` is null if the rank does not have it.
  view find(std::string_view name) const;
  /// This rank's shard of a buffer in the fixed region.
  view fixed_view(buffer_id id) const;

  bytes arena() const { return arena_size_; }

  vector<event> events;  ///< of the last step, if `record`
  bool record = false;
  const std::string* where = nullptr;  ///< the name of the instruction running, for errors

 private:
  struct place {
    std::byte* base = nullptr;  ///< of slot 0
    std::int64_t slot_stride = 0;
  };
  struct prepared {
    const instruction* what = nullptr;
    kernel_function kernel = nullptr;
    call with;
    std::array<place, max_operands + max_results + max_statistics> places;
    vector<traveller> travellers = {};
  };

  void share(const host_rank& from);
  void prepare(const kernel_table& kernels);
  kernel_function kernel_for(const kernel_table& kernels, const instruction& at) const;
  view view_of(buffer_id id) const { return shard_view(stage_, stage_.buffers[id], member_); }
  place place_of(buffer_id id) const;
  void run_body(const host_step& now, pass which, std::int32_t micro_batch);
  void execute(const host_step& now, prepared& next, std::int32_t micro_batch);
  /// Runs a kernel on every block that comes around, and passes each on.
  void rotate(const host_step& now, const prepared& next, std::int32_t micro_batch);
  void collect(const host_step& now, prepared& next, const view& from, const view& to);
  /// This rank's share of a total, then that of everyone.
  void add_up(const host_step& now, const instruction& what) const;
  /// True if the instruction before was a total that says that scaled gradients are not finite: then the rest of the
  /// update is left out, on every rank.
  bool overflows(const vector<prepared>& body, std::size_t at) const;
  void place_views(prepared& next, std::int32_t micro_batch) const;
  void pass_messages(shared_memory& communicator, const action& what);
  view micro_batch_of(const port& which, void* data, std::int32_t micro_batch) const;
  bool is_first_replica(const spec& layout) const;
  picoseconds clock() const;

  const program& whole_;
  const wiring& wires_;
  std::int32_t rank_;
  void* arithmetic_;
  const stage_program& stage_;
  std::int32_t member_;
  bytes arena_size_;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> arena_;
  vector<std::byte*> shared_base_;  ///< per buffer, where another rank object keeps it; null: in this arena
  std::array<vector<prepared>, pass_count> bodies_;
  std::int64_t epoch_ = 0;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/exec/host_rank.inl>
#endif
