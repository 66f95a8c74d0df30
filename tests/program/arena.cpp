// SPDX-License-Identifier: Apache-2.0
// Laws of program/arena.hpp, on stages made by chance and on lowered ones: buffers alive at the same time never
// overlap, offsets are aligned, and each region is as large as what lies in it, to the byte.
#include <meshloom/program/arena.hpp>

#include "programs.hpp"

#include <algorithm>
#include <random>

namespace {

namespace ml = meshloom;
using ml::buffer;
using ml::buffer_id;
using ml::memory;

using table_of_buffers = ml::table<buffer_id, buffer>;

/// When one body uses a buffer: instructions [first, end), where a message after the body counts as one more.
struct use {
  std::size_t first = 0, end = 0;
};

ml::vector<use> uses_of(const ml::stage_program& stage, std::size_t pass, const ml::vector<buffer_id>& sent) {
  ml::vector<use> uses(stage.buffers.size());
  const auto see = [&](buffer_id id, std::size_t now) {
    use& its = uses[ml::index_of(id)];
    if (its.end == 0) its.first = now;
    its.end = now + 1;
  };
  const auto& body = stage.bodies[pass];
  for (std::size_t now = 0; now < body.size(); ++now) {
    for (const buffer_id id : body[now].operands) see(id, now);
    for (const buffer_id id : body[now].results) see(id, now);
    for (const buffer_id id : body[now].exchanged) see(id, now);
  }
  for (const buffer_id id : sent) see(id, body.size());
  return uses;
}

bool overlap(const buffer& one, const buffer& other) {
  return one.offset.count < other.offset.count + other.size.count &&
         other.offset.count < one.offset.count + one.size.count;
}

/// Where one buffer of a region ends.
std::int64_t end_of(const buffer& each) { return each.offset.count + each.size.count; }

std::string region_fault(const ml::stage_program& stage, memory where, ml::bytes region) {
  std::int64_t largest = 0, sum = 0;
  for (const buffer& each : stage.buffers) {
    if (each.where != where) continue;
    if (each.offset.count < 0 || each.offset.count % ml::arena_alignment != 0) return "an offset is not aligned";
    largest = std::max(largest, end_of(each));
    sum += each.size.count;
  }
  if (largest != region.count) return "the region is not as large as what lies in it";
  if (where != memory::transient && sum != region.count) return "a region of buffers side by side has gaps";
  return "";
}

/// Bytes alive at once, at most, and what overlaps, in one body's transient buffers.
std::string body_fault(const ml::stage_program& stage, std::size_t pass, const ml::vector<buffer_id>& sent,
                       std::int64_t& alive_most) {
  const auto uses = uses_of(stage, pass, sent);
  ml::vector<std::size_t> transient;
  for (std::size_t b = 0; b < uses.size(); ++b) {
    if (uses[b].end > 0 && stage.buffers[buffer_id(b)].where == memory::transient) transient.push_back(b);
  }
  for (const std::size_t one : transient) {
    std::int64_t alive = 0;  // when `one` begins: the most bytes are alive at some buffer's beginning
    for (const std::size_t other : transient) {
      if (uses[other].first <= uses[one].first && uses[one].first < uses[other].end)
        alive += stage.buffers[buffer_id(other)].size.count;
      const bool together = uses[one].first < uses[other].end && uses[other].first < uses[one].end;
      if (one < other && together && overlap(stage.buffers[buffer_id(one)], stage.buffers[buffer_id(other)]))
        return "two buffers that are alive together overlap";
    }
    alive_most = std::max(alive_most, alive);
  }
  return "";
}

/// What is wrong with an allocated stage, or nothing.
std::string fault(const ml::stage_program& stage, const ml::sent_buffers& sent) {
  for (const auto& [where, region] :
       {std::pair{memory::fixed, stage.fixed}, {memory::kept, stage.kept}, {memory::transient, stage.transient}}) {
    const std::string found = region_fault(stage, where, region);
    if (!found.empty()) return found;
  }
  for (std::size_t a = 0; a < stage.buffers.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      const buffer &one = stage.buffers[buffer_id(a)], &other = stage.buffers[buffer_id(b)];
      if (one.where == other.where && one.where != memory::transient && overlap(one, other))
        return "two buffers that stay overlap";
    }
  }
  std::int64_t alive_most = 0;
  for (std::size_t pass = 0; pass < stage.bodies.size(); ++pass) {
    const std::string found = body_fault(stage, pass, sent[pass], alive_most);
    if (!found.empty()) return found;
  }
  if (stage.transient_bound.count != alive_most) return "the bound is not what is alive at once";
  if (stage.transient < stage.transient_bound) return "less than the bound";
  return "";
}

struct random_stage {
  ml::stage_program stage;
  ml::sent_buffers sent;
};

/// Buffers of every region; bodies whose instructions take some of them, each transient one in one body alone.
random_stage stage_by_chance(unsigned seed) {
  std::mt19937 dice(seed);
  const auto below = [&dice](std::size_t n) { return static_cast<std::size_t>(dice() % n); };
  random_stage made;
  std::array<ml::vector<buffer_id>, ml::pass_count> usable;
  for (std::size_t count = 5 + below(60); count > 0; --count) {
    const auto where = static_cast<memory>(std::min<std::size_t>(below(5), 2));
    const std::int64_t size = ml::arena_alignment * static_cast<std::int64_t>(below(40));
    const buffer_id id = made.stage.buffers.add({.name = "some", .where = where, .size = {size}});
    if (where == memory::transient) {
      usable[below(ml::pass_count)].push_back(id);
    } else {
      for (auto& each : usable) each.push_back(id);
    }
  }
  for (std::size_t pass = 0; pass < ml::pass_count; ++pass) {
    ml::vector<buffer_id> order = usable[pass];
    for (const buffer_id id : usable[pass]) order.push_back(id);  // each at least twice, here and there
    std::shuffle(order.begin(), order.end(), dice);
    while (!order.empty()) {
      ml::instruction next;
      for (auto* list : {&next.operands, &next.results, &next.exchanged}) {
        for (std::size_t n = below(3); n > 0 && !order.empty(); --n) {
          list->push_back(order.back());
          order.pop_back();
        }
      }
      made.stage.bodies[pass].push_back(next);
    }
    for (const buffer_id id : usable[pass]) {
      if (below(3) == 0) made.sent[pass].push_back(id);
    }
  }
  ml::allocate(made.stage, made.sent);
  return made;
}

}  // namespace

TEST_CASE("stages made by chance: nothing alive overlaps, regions are as large as what lies in them") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    const random_stage made = stage_by_chance(seed);
    CHECK(fault(made.stage, made.sent) == "");
    CHECK(made.stage.peak() == made.stage.fixed + made.stage.kept * made.stage.slots + made.stage.transient);
  }
}

TEST_CASE("what a message reads after its body stays until then") {
  int other = 0;
  for (unsigned seed = 0; seed < 100; ++seed) {
    const random_stage made = stage_by_chance(seed);
    random_stage unsent = made;
    for (buffer& each : unsent.stage.buffers) each.offset = {};
    unsent.stage.fixed = unsent.stage.kept = unsent.stage.transient = unsent.stage.transient_bound = {};
    ml::allocate(unsent.stage, {});
    CHECK(fault(unsent.stage, {}) == "");
    other += fault(unsent.stage, made.sent) != "";
  }
  CHECK(other > 50);
}

TEST_CASE("the checker rejects every planted overlap, crooked offset and wrong size") {
  int planted = 0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    const random_stage right = stage_by_chance(seed);
    const auto rejected = [&](auto&& plant) {
      random_stage wrong = right;
      plant(wrong.stage);
      CHECK(fault(wrong.stage, right.sent) != "");
      ++planted;
    };
    for (std::size_t b = 0; b < right.stage.buffers.size(); ++b) {
      const auto id = buffer_id(b);
      rejected([&](ml::stage_program& stage) { stage.buffers[id].offset.count += 8; });
    }
    std::array<ml::vector<use>, ml::pass_count> uses;
    for (std::size_t pass = 0; pass < uses.size(); ++pass) uses[pass] = uses_of(right.stage, pass, right.sent[pass]);
    for (std::size_t a = 0; a < right.stage.buffers.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        const buffer &one = right.stage.buffers[buffer_id(a)], &other = right.stage.buffers[buffer_id(b)];
        bool together = one.where != memory::transient;
        for (const auto& its : uses) together = together || (its[a].first < its[b].end && its[b].first < its[a].end);
        if (one.where != other.where || !together || one.size.count == 0 || other.size.count == 0) continue;
        rejected([&](ml::stage_program& stage) { stage.buffers[buffer_id(a)].offset = other.offset; });
      }
    }
    rejected([](ml::stage_program& stage) { stage.fixed += ml::bytes{64}; });
    rejected([](ml::stage_program& stage) { stage.kept += ml::bytes{64}; });
    rejected([](ml::stage_program& stage) { stage.transient += ml::bytes{64}; });
    rejected([](ml::stage_program& stage) { stage.transient_bound += ml::bytes{64}; });
  }
  CHECK(planted > 1000);
}

TEST_CASE("a stage without transient buffers, and one without any, take what they have") {
  ml::stage_program stage;
  ml::allocate(stage, {});
  CHECK(stage.peak() == ml::bytes{0});
  stage.buffers.add({.name = "kept", .where = memory::kept, .size = {128}});
  stage.buffers.add({.name = "fixed", .where = memory::fixed, .size = {64}});
  stage.slots = 3;
  ml::allocate(stage, {});
  CHECK(fault(stage, {}) == "");
  CHECK(stage.peak() == ml::bytes{64 + 3 * 128});
}

TEST_CASE("lowered stages: what their messages read is alive to the end of the body") {
  for (const auto& [plan, ranks] : {std::pair<std::string, int>{"zero2=2,pipeline=2", 4},
                                    {"data=2,tensor=2", 4},
                                    {"zero3=2,tensor=2,pipeline=2", 8},
                                    {"gpipe=4", 4}}) {
    const ml::program whole = programs::program_of(plan, ranks, 4);
    for (std::size_t s = 0; s < whole.stages.size(); ++s) {
      CAPTURE(plan);
      CAPTURE(s);
      ml::sent_buffers sent;
      for (const ml::transfer& each : whole.transfers) {
        if (each.route.from_stage == static_cast<std::int32_t>(s))
          sent[static_cast<std::size_t>(each.route.from)].push_back(each.from);
      }
      CHECK(fault(whole.stages[ml::stage_id(s)], sent) == "");
    }
  }
}
