// SPDX-License-Identifier: Apache-2.0
// Laws of program/forms.hpp: a form is found where it can be read and nowhere else; within a pass it is made once, from
// the cheapest form there is, in legal steps; what backward reads of forward is kept.
#include <meshloom/program/forms.hpp>

#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>
#include <random>

namespace {

namespace ml = meshloom;
using ml::buffer_id;
using ml::instance;
using ml::instruction;
using ml::memory;
using ml::pass;
using ml::spec;

struct added {
  instance what;
  ml::form made;
};

bool same(const ml::form& a, const ml::form& b) {
  return a.layout == b.layout && a.buffer == b.buffer && a.made_in == b.made_in && a.always == b.always;
}

/// The one stage of a GPT on a mesh of 2 × 2 ranks, and what makes forms for it.
class workshop {
 public:
  workshop()
      : made_(plan_of()),
        links_(ml::links_of(ml::local(4), stage().mesh, 0)),
        paths_(whole(), ml::micro_batch_sizes(whole(), made_.micro_batches), stage().mesh, links_) {}

  const ml::graph& whole() const { return programs::gpt(); }
  const ml::stage_plan& stage() const { return made_.stages[ml::stage_id{0}]; }
  ml::form_maker maker() { return {whole(), made_, stage(), paths_}; }

  ml::vector<std::int64_t> extents(const instance& what) const {
    return ml::extents_of(ml::micro_batch_sizes(whole(), made_.micro_batches), whole().values[what.value].axes);
  }
  ml::reshard_path path(const instance& what, const spec& from, const spec& to) const {
    return ml::reshard(from, to, extents(what), {ml::size_of(whole().values[what.value].type)}, stage().mesh, links_);
  }
  ml::vector<spec> specs(const instance& what) const {
    return ml::all_specs(static_cast<int>(extents(what).size()), stage().mesh, true);
  }
  /// An instance of a kind, with two axes or more.
  instance some(ml::value_kind kind) const {
    for (std::size_t v = 0; v < whole().values.size(); ++v) {
      const ml::value& each = whole().values[ml::value_id(v)];
      const bool repeated = each.region != ml::region_id::none && whole().regions[each.region].repeated;
      if (each.kind == kind && each.axes.size() >= 2 && (repeated || kind == ml::value_kind::input))
        return {ml::value_id(v), repeated ? 3 : 0};
    }
    throw ml::error("the model has no such value");
  }

 private:
  static ml::plan plan_of() {
    ml::manual asked = ml::parse_manual("data=2,tensor=2", 4).value();
    asked.micro_batches = 2;
    return ml::solve(ml::formulate(programs::gpt(), ml::local(4), asked)).value();
  }

  ml::plan made_;
  ml::mesh_links links_;
  ml::known_paths paths_;
};

std::size_t redistributions(const ml::form_maker& make) {
  std::size_t count = 0;
  for (const auto& body : make.out.bodies) {
    count += static_cast<std::size_t>(
        std::count_if(body.begin(), body.end(), [](const auto& at) { return at.kind == instruction::redistribute; }));
  }
  return count;
}

/// What the instructions of the current pass from `first` on cost; every one must be one legal step between the specs
/// of its buffers, from where the one before has ended.
ml::picoseconds price_of_chain(const workshop& shop, ml::form_maker& make, const instance& what, std::size_t first) {
  ml::picoseconds sum;
  for (std::size_t at = first; at < make.body().size(); ++at) {
    const instruction& each = make.body()[at];
    REQUIRE(each.kind == instruction::redistribute);
    if (at > first) CHECK(each.operands == make.body()[at - 1].results);
    const auto step =
        shop.path(what, make.out.buffers[each.operands[0]].layout, make.out.buffers[each.results[0]].layout);
    REQUIRE(step.steps.size() == 1);
    CHECK(step.steps[0].kind == each.how);
    CHECK(step.steps[0].mesh_axis == each.mesh_axis);
    CHECK(step.steps[0].combine == each.combine);
    sum += step.time;
  }
  return sum;
}

}  // namespace

TEST_CASE("a table finds the forms of an instance that a pass can read, in the order of their making") {
  std::mt19937 dice(1);
  const auto below = [&dice](int n) { return static_cast<int>(dice() % static_cast<unsigned>(n)); };
  // Copies 31 apart collide with the neighbouring value: see form_table.
  const auto drawn = [&] { return instance{ml::value_id{400 + below(3)}, 31 * below(3)}; };
  ml::form_table table;
  ml::vector<added> all;
  std::size_t seen = 0;
  for (int round = 0; round < 400; ++round) {
    const instance wanted = drawn();
    for (const pass when : ml::all_passes) {
      for (const bool keep_forward : {false, true}) {
        ml::vector<ml::form> expected, found;
        for (const added& each : all) {
          const bool now = each.made.always || each.made.made_in == when;
          const bool kept = keep_forward && when == pass::backward && each.made.made_in == pass::forward;
          if (each.what == wanted && (now || kept)) expected.push_back(each.made);
        }
        table.for_each(wanted, when, keep_forward, [&](const ml::form& each) { found.push_back(each); });
        CHECK(std::equal(found.begin(), found.end(), expected.begin(), expected.end(), same));
        seen += found.size();
      }
    }
    all.push_back(
        {drawn(), {spec{}, buffer_id{round}, ml::all_passes[static_cast<std::size_t>(below(4))], below(5) == 0}});
    table.add(all.back().what, all.back().made);
  }
  CHECK(seen > 10000);
}

TEST_CASE("a form is made once per pass, from the cheapest form there is, in legal steps") {
  workshop shop;
  const instance what = shop.some(ml::value_kind::activation);
  const auto specs = shop.specs(what);
  std::mt19937 dice(2);
  std::size_t made = 0, kept = 0;
  for (int round = 0; round < 60; ++round) {
    ml::form_maker make = shop.maker();
    ml::vector<ml::form> here{{specs[dice() % specs.size()]}};
    here[0].buffer = make.add_form(what, here[0].layout, memory::transient);
    for (const pass now : {pass::forward, pass::backward}) {
      make.now = now;
      for (int reader = 0; reader < 12; ++reader) {
        const spec wanted = specs[dice() % specs.size()];
        ml::picoseconds least;
        bool possible = false;
        for (const ml::form& each : here) {
          const auto path = shop.path(what, each.layout, wanted);
          if (path.possible && (!possible || path.time < least)) least = path.time;
          possible = possible || path.possible;
        }
        if (!possible) {
          CHECK_THROWS_AS(make.need(what, wanted), ml::error);
          continue;
        }
        const std::size_t first = make.body().size();
        const buffer_id found = make.need(what, wanted);
        CHECK(make.out.buffers[found].layout == wanted);
        CHECK(price_of_chain(shop, make, what, first) == least);
        if (first < make.body().size()) {
          const buffer_id source = make.body()[first].operands[0];
          const auto it = std::find_if(here.begin(), here.end(), [&](const auto& f) { return f.buffer == source; });
          REQUIRE(it != here.end());
          CHECK((it->made_in == now || make.out.buffers[source].where == memory::kept));
        }
        for (std::size_t at = first; at < make.body().size(); ++at) {
          const buffer_id next = make.body()[at].results[0];
          CHECK(make.out.buffers[next].where == memory::transient);
          here.push_back({make.out.buffers[next].layout, next, now, false});
          ++made;
        }
        const std::size_t size = make.body().size();
        CHECK(make.need(what, wanted) == found);
        CHECK(make.body().size() == size);
      }
    }
    for (const ml::form& each : here) {
      const bool stays = make.out.buffers[each.buffer].where == memory::kept;
      CHECK((!stays || each.made_in == pass::forward));
      kept += stays;
    }
  }
  CHECK(made > 300);
  CHECK(kept > 60);
}

TEST_CASE("a parameter lies still; what was gathered of it in forward is gathered again in backward") {
  workshop shop;
  const instance what = shop.some(ml::value_kind::parameter);
  ml::form_maker make = shop.maker();
  const spec stored = spec{}.with(0, {ml::placement::split, 0});
  const buffer_id home = make.add_form(what, stored, memory::fixed);
  const buffer_id forward = make.need(what, spec{});
  CHECK(forward != home);
  CHECK(make.need(what, stored) == home);
  make.now = pass::backward;
  const buffer_id backward = make.need(what, spec{});
  CHECK(backward != forward);
  CHECK(make.need(what, stored) == home);
  CHECK(make.out.buffers[forward].where == memory::transient);
  CHECK(make.out.buffers[home].where == memory::fixed);
  CHECK(redistributions(make) == 2);
}

TEST_CASE("an input is loaded once per pass and spec, and never moved") {
  workshop shop;
  const instance what = shop.some(ml::value_kind::input);
  const auto port = std::find(shop.whole().inputs.begin(), shop.whole().inputs.end(), what.value);
  ml::form_maker make = shop.maker();
  const spec rows = spec{}.with(0, {ml::placement::split, 0});
  for (const pass now : {pass::forward, pass::backward}) {
    make.now = now;
    const buffer_id whole = make.need(what, spec{}), part = make.need(what, rows);
    CHECK(whole != part);
    CHECK(make.need(what, spec{}) == whole);
    CHECK(make.need(what, rows) == part);
    REQUIRE(make.body().size() == 2);
    for (const instruction& each : make.body()) {
      CHECK(each.kind == instruction::load);
      CHECK(each.port == port - shop.whole().inputs.begin());
    }
  }
}

TEST_CASE("what does not exist in any form is refused by its name") {
  workshop shop;
  const instance what = shop.some(ml::value_kind::activation);
  ml::form_maker make = shop.maker();
  const std::string name = make.name_of_instance(what);
  CHECK(name.find("repeat[3]") == 0);
  CHECK_THROWS_WITH_AS(make.need(what, spec{}),
                       doctest::Contains(("lower: " + name + " cannot be had in the form").c_str()), ml::error);
}

TEST_CASE("a buffer has room for every rank's shard, and less than an alignment more than the largest") {
  workshop shop;
  for (const auto& what : {shop.some(ml::value_kind::activation), shop.some(ml::value_kind::parameter)}) {
    for (const spec& layout : shop.specs(what)) {
      ml::form_maker make = shop.maker();
      const ml::buffer& made = make.out.buffers[make.add_form(what, layout, memory::kept)];
      std::int64_t largest = 0;
      for (std::int32_t member = 0; member < shop.stage().mesh.ranks(); ++member) {
        largest = std::max(largest, ml::shard_view(make.out, made, member).count() * ml::size_of(made.type));
      }
      CHECK(made.size.count >= largest);
      CHECK(made.size.count < largest + ml::arena_alignment);
      CHECK(made.size.count % ml::arena_alignment == 0);
    }
  }
}
