// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/sentence.hpp>
#include <meshloom/exec/host_rank.hpp>
#include <meshloom/kernel/random.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>
#include <numeric>

namespace meshloom {
namespace detail {

inline std::byte* allocate_arena(std::int64_t size) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(size, 1));
  void* const memory = ::operator new[](count, std::align_val_t{arena_alignment}, std::nothrow);
  if (memory == nullptr) {
    throw error("start: the system does not give " + std::to_string(count) +
                " bytes for the arena of a rank; use more ranks, more micro-batches or ZeRO to make it smaller");
  }
  return static_cast<std::byte*>(memory);
}
inline void free_arena(std::byte* memory) { ::operator delete[](memory, std::align_val_t{arena_alignment}); }

template <class Element>
void add_elements(const view& from, const view& to, bool first) {
  const Element* __restrict source = from.as<Element>();
  Element* __restrict target = to.as<Element>();
  const std::int64_t count = to.count();
  if (first) {
    for (std::int64_t at = 0; at < count; ++at) target[at] = source[at];
  } else {
    for (std::int64_t at = 0; at < count; ++at) target[at] += source[at];
  }
}

/// to += from, or to = from if `first`; both are shards of equal shape, of the precision.
inline void add_shard(const view& from, const view& to, bool first) {
  if (to.type == dtype::f64) return add_elements<double>(from, to, first);
  return add_elements<float>(from, to, first);
}

/// The groups of one stage: along each mesh axis, the ranks that differ in that coordinate only.
inline void wire_stage(const stage_program& stage, wiring& wires) {
  for (std::int32_t axis = 0; axis < stage.mesh.rank; ++axis) {
    for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member) {
      mesh_coordinates at = coordinates_of(stage.mesh, member);
      const std::int32_t place = at[static_cast<std::size_t>(axis)];
      const auto rank = static_cast<std::size_t>(stage.first_rank + member);
      wires.member_of[rank][static_cast<std::size_t>(axis)] = place;
      at[static_cast<std::size_t>(axis)] = 0;
      const auto leader = static_cast<std::size_t>(stage.first_rank + rank_at(stage.mesh, at));
      if (place == 0) {
        wires.group_of[rank][static_cast<std::size_t>(axis)] = static_cast<std::int32_t>(wires.groups.size());
        wires.groups.push_back({});
      } else {
        wires.group_of[rank][static_cast<std::size_t>(axis)] = wires.group_of[leader][static_cast<std::size_t>(axis)];
      }
      wires.groups[static_cast<std::size_t>(wires.group_of[rank][static_cast<std::size_t>(axis)])].push_back(
          static_cast<std::int32_t>(rank));
    }
  }
}

/// Members of the sending stage with the same shard, per distinct shard that overlaps `wanted`.
inline vector<vector<std::int32_t>> senders_of(const stage_program& stage, const buffer& from, const box& wanted) {
  vector<vector<std::int32_t>> replicas;
  vector<box> boxes;
  for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member) {
    const box has = box_of(shard_view(stage, from, member));
    if (count(overlap(has, wanted)) == 0) continue;
    const auto known = std::find_if(boxes.begin(), boxes.end(), [&](const box& each) { return each.side == has.side; });
    if (known == boxes.end()) {
      boxes.push_back(has);
      replicas.push_back({member});
    } else {
      replicas[static_cast<std::size_t>(known - boxes.begin())].push_back(member);
    }
  }
  return replicas;
}

inline void wire_transfer(const program& whole, std::size_t number, wiring& wires) {
  const transfer& each = whole.transfers[number];
  const stage_program& from = whole.stages[stage_id{each.route.from_stage}];
  const stage_program& to = whole.stages[stage_id{each.route.to_stage}];
  vector<channel> links;
  for (std::int32_t member = 0; member < to.mesh.ranks(); ++member) {
    const box wanted = box_of(shard_view(to, to.buffers[each.to], member));
    for (const auto& replicas : senders_of(from, from.buffers[each.from], wanted)) {
      const std::int32_t sender = replicas[static_cast<std::size_t>(member) % replicas.size()];
      links.push_back({from.first_rank + sender, to.first_rank + member});
    }
  }
  // One order for all, by sender then receiver: no cycle of waits can arise within a transfer.
  std::sort(links.begin(), links.end(),
            [](const channel& a, const channel& b) { return a.from != b.from ? a.from < b.from : a.to < b.to; });
  for (const channel& link : links) {
    const auto index = static_cast<std::int32_t>(wires.channels.size());
    wires.channels.push_back(link);
    wires.sends[static_cast<std::size_t>(link.from)][number].push_back(index);
    wires.receives[static_cast<std::size_t>(link.to)][number].push_back(index);
  }
}

}  // namespace detail

MESHLOOM_INLINE wiring wire(const program& whole) {
  wiring wires;
  const auto ranks = static_cast<std::size_t>(whole.ranks);
  wires.group_of.resize(ranks);
  wires.member_of.resize(ranks);
  wires.sends.assign(ranks, vector<vector<std::int32_t>>(whole.transfers.size()));
  wires.receives = wires.sends;
  for (const stage_program& stage : whole.stages) detail::wire_stage(stage, wires);
  for (std::size_t number = 0; number < whole.transfers.size(); ++number) detail::wire_transfer(whole, number, wires);
  if (whole.squares.buffer != buffer_id::none) {
    wires.everyone = static_cast<std::int32_t>(wires.groups.size());
    auto& everyone = wires.groups.emplace_back(ranks);
    std::iota(everyone.begin(), everyone.end(), 0);
  }
  return wires;
}

MESHLOOM_INLINE host_rank::host_rank(const program& whole, const kernel_table& kernels, const wiring& wires,
                                     std::int32_t rank, void* arithmetic, const host_rank* shared)
    : whole_(whole),
      wires_(wires),
      rank_(rank),
      arithmetic_(arithmetic),
      stage_(whole.stages[stage_of_rank(whole, rank)]),
      member_(rank - stage_.first_rank),
      arena_size_(stage_.peak()),
      arena_(detail::allocate_arena(arena_size_.count), detail::free_arena),
      shared_base_(stage_.buffers.size()) {
  if (shared != nullptr) share(*shared);
  prepare(kernels);
  std::size_t most = 0;
  for_each_action(stage_.schedule, [&](const action& each) {
    most += each.kind == action::run ? bodies_[static_cast<std::size_t>(each.index)].size() : 1;
  });
  events.reserve(most);
}

MESHLOOM_INLINE void host_rank::share(const host_rank& from) {
  for (const placed_value& each : stage_.placed_values) {
    const view there = from.find(each.name), here = view_of(each.buffer);
    const bool same = there.data != nullptr && same_tensor(there, here) && contains(box_of(there), box_of(here)) &&
                      contains(box_of(here), box_of(there));
    if (!same) {
      throw error("start: rank " + std::to_string(rank_) + " of the run that has the parameters does not keep " +
                  each.name + " as this program would; lower both under one plan, see adapt");
    }
    shared_base_[index_of(each.buffer)] = static_cast<std::byte*>(there.data);
  }
}

MESHLOOM_INLINE host_rank::place host_rank::place_of(buffer_id id) const {
  const buffer& what = stage_.buffers[id];
  if (shared_base_[index_of(id)] != nullptr) return {shared_base_[index_of(id)], 0};
  std::byte* base = arena_.get() + what.offset.count;
  if (what.where == memory::fixed) return {base, 0};
  if (what.where == memory::kept) return {base + stage_.fixed.count, stage_.kept.count};
  return {base + stage_.fixed.count + stage_.kept.count * stage_.slots, 0};
}

MESHLOOM_INLINE kernel_function host_rank::kernel_for(const kernel_table& kernels, const instruction& at) const {
  const dtype type = compute_type_of(stage_, at, whole_.precision);
  for (const kernel_entry& each : kernels) {
    if (each.op == at.op && each.type == type) return each.run;
  }
  throw error(sentence({"start: the operator ", at.op->op.name, " at ", at.name, " has no kernel for ", name_of(type),
                        " in this binary; start the run with the training that was traced"}));
}

MESHLOOM_INLINE void host_rank::prepare(const kernel_table& kernels) {
  for (std::size_t which = 0; which < bodies_.size(); ++which) {
    bodies_[which].reserve(stage_.bodies[which].size());
    for (const instruction& each : stage_.bodies[which]) {
      prepared next{.what = &each, .kernel = nullptr, .with = {}, .places = {}};
      if (each.kind == instruction::compute) next.kernel = kernel_for(kernels, each);
      if (each.kind == instruction::total) {  // reads its operands where they lie, however many they are
        bodies_[which].push_back(next);
        continue;
      }
      std::size_t at = 0;
      for (std::size_t k = 0; k < each.operands.size(); ++k, ++at) {
        next.with.operand[k] = view_of(each.operands[k]);
        next.places[at] = place_of(each.operands[k]);
      }
      for (std::size_t k = 0; k < each.results.size(); ++k, ++at) {
        next.with.result[k] = view_of(each.results[k]);
        next.places[at] = place_of(each.results[k]);
      }
      for (std::size_t k = 0; k < each.exchanged.size(); ++k, ++at) {
        next.with.exchanged[k] = view_of(each.exchanged[k]);
        next.places[at] = place_of(each.exchanged[k]);
      }
      std::copy(each.attributes.begin(), each.attributes.end(), next.with.attribute);
      next.with.number = each.number;
      next.with.micro_batches = static_cast<std::uint64_t>(whole_.micro_batches);
      next.with.part = each.part;
      next.travellers = travellers_of(stage_, each);
      bodies_[which].push_back(next);
    }
  }
}

MESHLOOM_INLINE void host_rank::initialise(std::uint64_t seed) {
  for (const placed_value& each : stage_.placed_values) {
    const view shard = fixed_view(each.buffer);
    if (each.start.kind == initial::normal)
      fill_normal(shard, seed, each.number, each.start.value);
    else
      fill_constant(shard, each.start.value);
  }
}

MESHLOOM_INLINE view host_rank::fixed_view(buffer_id id) const {
  view shard = view_of(id);
  shard.data = place_of(id).base;
  return shard;
}

MESHLOOM_INLINE view host_rank::find(std::string_view name) const {
  for (const placed_value& each : stage_.placed_values) {
    if (each.name == name) return fixed_view(each.buffer);
  }
  return {};
}

MESHLOOM_INLINE picoseconds host_rank::clock() const {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return {(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count() - epoch_) * 1000};
}

MESHLOOM_INLINE void host_rank::run(const host_step& now) {
  events.clear();
  epoch_ = 0;
  epoch_ = clock().count / 1000;
  for_each_action(stage_.schedule, [&](const action& each) {
    if (each.kind == action::run) {
      run_body(now, static_cast<pass>(each.index), each.micro_batch);
    } else {
      pass_messages(*now.communicator, each);
    }
  });
}

MESHLOOM_INLINE void host_rank::run_body(const host_step& now, pass which, std::int32_t micro_batch) {
  auto& body = bodies_[static_cast<std::size_t>(which)];
  for (std::size_t at = 0; at < body.size() && !overflows(body, at); ++at) {
    const picoseconds begin = record ? clock() : picoseconds{};
    where = &body[at].what->name;
    execute(now, body[at], micro_batch);
    if (!record) continue;
    events.push_back({rank_, action::run, static_cast<std::int32_t>(which), micro_batch, static_cast<std::int32_t>(at),
                      begin, clock()});
  }
}

MESHLOOM_INLINE bool host_rank::overflows(const vector<prepared>& body, std::size_t at) const {
  if (at == 0 || !whole_.scaling.scales() || body[at - 1].what->kind != instruction::total) return false;
  const view all = fixed_view(body[at - 1].what->results[0]);
  return with_floating(all.type,
                       [&]<class Element>(Element) { return !std::isfinite(static_cast<double>(*all.as<Element>())); });
}

/// Points the views of an instruction to the slot of a micro-batch.
MESHLOOM_INLINE void host_rank::place_views(prepared& next, std::int32_t micro_batch) const {
  const std::int64_t slot = micro_batch % stage_.slots;
  std::size_t at = 0;
  const auto point = [&](view* views, std::size_t count) {
    for (std::size_t k = 0; k < count; ++k, ++at) {
      views[k].data = next.places[at].base + next.places[at].slot_stride * slot;
    }
  };
  point(next.with.operand, next.what->operands.size());
  point(next.with.result, next.what->results.size());
  point(next.with.exchanged, next.what->exchanged.size());
}

MESHLOOM_INLINE void host_rank::rotate(const host_step& now, const prepared& next, std::int32_t micro_batch) {
  const int mesh_axis = next.what->mesh_axis;
  const auto rank = static_cast<std::size_t>(rank_), axis = static_cast<std::size_t>(mesh_axis);
  const auto block = [&](const traveller& each, std::int32_t round) {
    const buffer_id id = each.in_round(round);
    view shard = shard_view(stage_, stage_.buffers[id], host_of_visitor(stage_.mesh, mesh_axis, member_, round));
    const place at = place_of(id);
    shard.data = at.base + at.slot_stride * (micro_batch % stage_.slots);
    return shard;
  };
  call with = next.with;
  const std::int32_t rounds = rounds_of(stage_, *next.what);
  for (std::int32_t round = 0; round < rounds; ++round) {
    with.round = round;
    for (const traveller& each : next.travellers)
      (each.is_result ? with.result : with.operand)[each.which] = block(each, round);
    next.kernel(with, arithmetic_);
    for (const traveller& each : next.travellers) {
      if (round == passes_of(each.is_result, rounds)) continue;
      now.communicator->redistribute(wires_.group_of[rank][axis], wires_.member_of[rank][axis], collective::rotate,
                                     reduction::sum, block(each, round), block(each, round + 1));
    }
  }
}

MESHLOOM_INLINE void host_rank::collect(const host_step& now, prepared& next, const view& from, const view& to) {
  const auto rank = static_cast<std::size_t>(rank_), axis = static_cast<std::size_t>(next.what->mesh_axis);
  now.communicator->redistribute(wires_.group_of[rank][axis], wires_.member_of[rank][axis], next.what->how,
                                 next.what->combine, from, to);
}

MESHLOOM_INLINE void host_rank::execute(const host_step& now, prepared& next, std::int32_t micro_batch) {
  const instruction& what = *next.what;
  call& with = next.with;
  const auto port = static_cast<std::size_t>(what.port);
  if (what.kind != instruction::total) place_views(next, micro_batch);
  switch (what.kind) {
    case instruction::compute:
      with.seed = now.seed;
      with.step = now.number;
      with.rate = now.rate;
      with.scale = now.scale;
      with.micro_batch = static_cast<std::uint64_t>(micro_batch);
      with.micro_batches = static_cast<std::uint64_t>(whole_.micro_batches);
      with.accumulate = what.adds && micro_batch > 0;
      return rotates(what) ? rotate(now, next, micro_batch) : next.kernel(with, arithmetic_);
    case instruction::exchange:
      return collect(now, next, with.exchanged[0], with.exchanged[0]);
    case instruction::redistribute:
      if (what.how == collective::slice) return copy_overlap(with.operand[0], with.result[0]);
      return collect(now, next, with.operand[0], with.result[0]);
    case instruction::load:
      return copy_overlap(micro_batch_of(whole_.inputs[port], const_cast<void*>(now.inputs[port].data), micro_batch),
                          with.result[0]);
    case instruction::accumulate:
      return detail::add_shard(with.operand[0], with.result[0], micro_batch == 0);
    case instruction::total:
      return add_up(now, what);
    case instruction::store:
      if (!is_first_replica(stage_.buffers[what.operands[0]].layout)) return;
      return copy_overlap(with.operand[0], micro_batch_of(whole_.results[port], now.outputs[port], micro_batch));
  }
}

MESHLOOM_INLINE void host_rank::add_up(const host_step& now, const instruction& what) const {
  double sum = 0;
  for (const buffer_id id : what.operands) {
    const buffer& part = stage_.buffers[id];
    if (!is_first_replica(part.layout)) continue;
    const std::byte* const at = place_of(id).base;
    sum += part.type == dtype::f64 ? *reinterpret_cast<const double*>(at) : *reinterpret_cast<const float*>(at);
  }
  const view all = fixed_view(what.results[0]);
  fill_constant(all, sum);
  now.communicator->redistribute(wires_.everyone, rank_, collective::all_reduce, reduction::sum, all, all);
}

MESHLOOM_INLINE void host_rank::pass_messages(shared_memory& communicator, const action& what) {
  const auto number = static_cast<std::size_t>(what.index);
  const bool sends = what.kind == action::send;
  const transfer& moved = whole_.transfers[number];
  const buffer_id id = sends ? moved.from : moved.to;
  const picoseconds begin = record ? clock() : picoseconds{};
  where = &moved.name;
  const place at = place_of(id);
  view shard = view_of(id);
  shard.data = at.base + at.slot_stride * (what.micro_batch % stage_.slots);
  const auto& channels = (sends ? wires_.sends : wires_.receives)[static_cast<std::size_t>(rank_)][number];
  for (const std::int32_t each : channels) {
    if (sends)
      communicator.send(each, shard);
    else
      communicator.receive(each, shard);
  }
  if (record) events.push_back({rank_, what.kind, what.index, what.micro_batch, 0, begin, clock()});
}

MESHLOOM_INLINE view host_rank::micro_batch_of(const port& which, void* data, std::int32_t micro_batch) const {
  view part;
  part.rank = static_cast<std::int32_t>(which.extents.size());
  part.type = which.type;
  for (int axis = 0; axis < part.rank; ++axis) part.extent[axis] = which.extents[static_cast<std::size_t>(axis)];
  make_dense(part);
  std::int64_t offset = 0;
  if (which.batch_axis >= 0) {
    part.extent[which.batch_axis] /= whole_.micro_batches;
    offset = micro_batch * part.extent[which.batch_axis] * part.stride[which.batch_axis];
  }
  for (int axis = 0; axis < part.rank; ++axis) part.global[axis] = part.extent[axis];
  part.data = static_cast<std::byte*>(data) + offset * size_of(which.type);
  return part;
}

MESHLOOM_INLINE bool host_rank::is_first_replica(const spec& layout) const {
  const mesh_coordinates at = coordinates_of(stage_.mesh, member_);
  for (int axis = 0; axis < stage_.mesh.rank; ++axis) {
    const bool replicated = layout.on(axis).kind == placement::whole;
    if (replicated && at[static_cast<std::size_t>(axis)] != 0) return false;
  }
  return true;
}

}  // namespace meshloom
