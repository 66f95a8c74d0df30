// SPDX-License-Identifier: Apache-2.0
#include <meshloom/exec/host_run.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <system_error>

namespace meshloom {

MESHLOOM_INLINE host_run::host_run(const program& made, kernel_table kernels, arithmetic_maker arithmetic,
                                   std::shared_ptr<void> session, std::uint64_t seed, host_run* parameters)
    : program_(made),
      kernels_(std::move(kernels)),
      wires_(wire(program_)),
      communicator_(program_.ranks, wires_.groups, wires_.channels,
                    program_.ranks <= static_cast<std::int32_t>(std::thread::hardware_concurrency())
                        ? waiting::spin_then_block
                        : waiting::block),
      session_(std::move(session)),
      seed_(parameters == nullptr ? seed : parameters->seed_),
      scale_(first_scale(program_.scaling)) {
  if (parameters != nullptr && parameters->program_.ranks != program_.ranks) {
    throw error("start: the run that has the parameters has " + std::to_string(parameters->program_.ranks) +
                " ranks, this program " + std::to_string(program_.ranks) + "; lower both under one plan, see adapt");
  }
  inputs_.resize(program_.inputs.size());
  outputs_.resize(program_.results.size());
  for (std::int32_t rank = 0; rank < program_.ranks; ++rank) {
    const host_rank* shared =
        parameters == nullptr ? nullptr : parameters->ranks_[static_cast<std::size_t>(rank)].get();
    arithmetic_.push_back(arithmetic());
    ranks_.push_back(std::make_unique<host_rank>(program_, kernels_, wires_, rank, arithmetic_.back().get(), shared));
  }
  try {
    for (std::int32_t rank = 0; rank < program_.ranks; ++rank) threads_.emplace_back([this, rank] { serve(rank); });
    if (parameters == nullptr) command_all(command::initialise);
  } catch (const std::system_error& why) {
    const std::size_t had = threads_.size();
    end();
    throw error("start: the system gives " + std::to_string(had) + " threads, not " + std::to_string(program_.ranks) +
                ", one per rank (" + why.what() + "); use fewer ranks, or raise its limits");
  } catch (...) {
    end();
    throw;
  }
}

MESHLOOM_INLINE host_run::~host_run() { end(); }

MESHLOOM_INLINE void host_run::end() {
  {
    const std::lock_guard lock(door_);
    command_ = command::stop;
    ++calls_;
  }
  called_.notify_all();
  for (std::thread& each : threads_) each.join();
}

MESHLOOM_INLINE void host_run::serve(std::int32_t rank) {
  host_rank& own = *ranks_[static_cast<std::size_t>(rank)];
  for (std::uint64_t seen = 0;;) {
    command what;
    {
      std::unique_lock lock(door_);
      called_.wait(lock, [&] { return calls_ != seen; });
      seen = calls_;
      what = command_;
    }
    if (what == command::stop) return;
    try {
      if (what == command::initialise)
        own.initialise(seed_);
      else
        own.run({&communicator_, inputs_, outputs_, seed_, steps_, factor_at(program_.rate, steps_), scale_.scale});
    } catch (const stopped&) {  // the rank that failed says why
    } catch (const std::exception& why) {
      fail(rank, why.what());
    } catch (...) {
      fail(rank, "an exception that is not a std::exception");
    }
    {
      const std::lock_guard lock(door_);
      --busy_;
    }
    finished_.notify_one();
  }
}

MESHLOOM_INLINE void host_run::fail(std::int32_t rank, const std::string& why) {
  {
    const std::lock_guard lock(door_);
    const std::string* where = ranks_[static_cast<std::size_t>(rank)]->where;
    const std::string place = where == nullptr ? "the start" : *where;
    if (failure_.empty()) failure_ = "rank " + std::to_string(rank) + ", at " + place + ": " + why;
  }
  communicator_.stop();
}

MESHLOOM_INLINE void host_run::command_all(command what) {
  {
    const std::lock_guard lock(door_);
    command_ = what;
    busy_ = program_.ranks;
    ++calls_;
  }
  called_.notify_all();
  std::unique_lock lock(door_);
  finished_.wait(lock, [&] { return busy_ == 0; });
  if (!failure_.empty()) throw error("the run has stopped: " + failure_);
}

MESHLOOM_INLINE step_result host_run::step(std::initializer_list<port_data> inputs,
                                           std::initializer_list<void*> outputs) {
  if (!failure_.empty()) throw error("the run has stopped: " + failure_);
  take_inputs(inputs);
  take_outputs(outputs);
  const auto begin = std::chrono::steady_clock::now();
  command_all(command::step);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const double norm = gradient_norm();
  const bool skipped = program_.scaling.scales() && !std::isfinite(norm);
  scale_ = next_scale(program_.scaling, scale_, !skipped);
  if (!skipped) ++steps_;
  return {.loss = loss(), .seconds = took.count(), .gradient_norm = norm, .skipped = skipped};
}

MESHLOOM_INLINE void host_run::take_inputs(std::initializer_list<port_data> inputs) {
  if (inputs.size() != inputs_.size()) {
    throw error("step: the program reads " + std::to_string(inputs_.size()) + " inputs, " +
                std::to_string(inputs.size()) + " were given");
  }
  std::copy(inputs.begin(), inputs.end(), inputs_.begin());
  for (std::size_t k = 0; k < inputs_.size(); ++k) {
    const port& wanted = program_.inputs[k];
    std::int64_t count = 1;
    for (const std::int64_t extent : wanted.extents) count *= extent;
    if (inputs_[k].count != count || inputs_[k].type != wanted.type) {
      throw error("step: input '" + wanted.name + "' must have " + std::to_string(count) + " elements of " +
                  std::string(name_of(wanted.type)) + ", " + std::to_string(inputs_[k].count) + " of " +
                  std::string(name_of(inputs_[k].type)) + " were given");
    }
    if (inputs_[k].data == nullptr) throw error("step: input '" + wanted.name + "' is a null pointer");
  }
}

MESHLOOM_INLINE void host_run::take_outputs(std::initializer_list<void*> outputs) {
  std::size_t next = 0;
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    if (program_.results[k].batch_axis < 0) continue;
    if (next == outputs.size() || outputs.begin()[next] == nullptr) {
      throw error("step: result '" + program_.results[k].name +
                  "' needs memory to be stored in; pass one pointer per such result");
    }
    outputs_[k] = outputs.begin()[next++];
  }
  if (next != outputs.size()) {
    throw error("step: the program stores " + std::to_string(next) + " results, memory for " +
                std::to_string(outputs.size()) + " was given; a loss is returned, not stored");
  }
}

MESHLOOM_INLINE double host_run::loss() const {
  double sum = 0;
  for (const port& each : program_.results) {
    if (each.batch_axis >= 0) continue;
    const auto rank = static_cast<std::size_t>(program_.stages[each.stage].first_rank);
    const view whole = ranks_[rank]->fixed_view(each.buffer);
    sum += whole.type == dtype::f64 ? *whole.as<double>() : static_cast<double>(*whole.as<float>());
  }
  return sum;
}

MESHLOOM_INLINE double host_run::gradient_norm() const {
  if (program_.squares.buffer == buffer_id::none) return 0;
  const auto rank = static_cast<std::size_t>(program_.stages[program_.squares.stage].first_rank);
  const view squares = ranks_[rank]->fixed_view(program_.squares.buffer);
  const double sum = squares.type == dtype::f64 ? *squares.as<double>() : static_cast<double>(*squares.as<float>());
  return std::sqrt(sum) / scale_.scale;
}

MESHLOOM_INLINE vector<double> host_run::read(std::string_view name) const {
  vector<double> values;
  vector<std::byte> dense;
  dtype type = dtype::f32;
  for (const auto& rank : ranks_) {
    const view shard = rank->find(name);
    if (shard.data == nullptr) continue;
    std::int64_t count = 1;
    for (int axis = 0; axis < shard.rank; ++axis) count *= shard.global[axis];
    values.resize(static_cast<std::size_t>(count));
    dense.resize(static_cast<std::size_t>(count * size_of(shard.type)));
    type = shard.type;
    gather(shard, dense.data());
  }
  with_floating(type, [&]<class Element>(Element) {
    std::copy_n(reinterpret_cast<const Element*>(dense.data()), values.size(), values.begin());
  });
  if (values.empty())
    throw error("read: the run has no parameter or state '" + std::string(name) + "'; names() lists them");
  return values;
}

MESHLOOM_INLINE void host_run::write(std::string_view name, std::span<const double> values) {
  const std::string master = std::string(name) + ".master";
  bool found = false;
  for (const auto& rank : ranks_) {
    for (const std::string_view each : {name, std::string_view(master)}) {
      const view shard = rank->find(each);
      if (shard.data == nullptr) continue;
      found = true;
      write_shard(shard, each, values);
    }
  }
  if (!found) throw error("write: the run has no parameter or state '" + std::string(name) + "'; names() lists them");
}

MESHLOOM_INLINE void host_run::write_shard(const view& shard, std::string_view name, std::span<const double> values) {
  std::int64_t count = 1;
  for (int axis = 0; axis < shard.rank; ++axis) count *= shard.global[axis];
  if (static_cast<std::size_t>(count) != values.size()) {
    throw error("write: " + std::string(name) + " has " + std::to_string(count) + " elements, " +
                std::to_string(values.size()) + " were given");
  }
  with_floating(shard.type, [&]<class Element>(Element) {
    vector<Element> dense(values.size());
    std::transform(values.begin(), values.end(), dense.begin(),
                   [](double value) { return static_cast<Element>(static_cast<computed<Element>>(value)); });
    scatter(dense.data(), shard);
  });
}

MESHLOOM_INLINE view host_run::shard(std::string_view name, std::int32_t rank) const {
  return ranks_[static_cast<std::size_t>(rank)]->find(name);
}

MESHLOOM_INLINE vector<std::string> host_run::names() const {
  vector<std::string> all;
  for (const stage_program& stage : program_.stages) {
    for (const placed_value& each : stage.placed_values) {
      if (std::find(all.begin(), all.end(), each.name) == all.end()) all.push_back(each.name);
    }
  }
  return all;
}

MESHLOOM_INLINE vector<std::int64_t> host_run::arena_bytes() const {
  vector<std::int64_t> sizes;
  for (const auto& rank : ranks_) sizes.push_back(rank->arena().count);
  return sizes;
}

MESHLOOM_INLINE void host_run::record(bool on) {
  for (const auto& rank : ranks_) rank->record = on;
}

MESHLOOM_INLINE vector<event> host_run::events() const {
  vector<event> all;
  for (const auto& rank : ranks_) all.insert(all.end(), rank->events.begin(), rank->events.end());
  return all;
}

}  // namespace meshloom
