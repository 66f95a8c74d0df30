// SPDX-License-Identifier: Apache-2.0
// plan/manual.hpp: presets, their products, and the words for them.
#include <meshloom/base/vector.hpp>
#include <meshloom/plan/manual.hpp>

#include <doctest/doctest.h>

#include <string>
#include <tuple>

namespace ml = meshloom;

namespace {

/// A manual plan as one comparable value.
auto said(const ml::manual& asked) {
  std::string text = asked.automatic ? "auto " : "";
  for (const auto& each : asked.mesh) text += each.name + "=" + std::to_string(each.size) + " ";
  for (const auto& each : asked.rules)
    text += each.axis + (each.aligned ? "!" : "") + (each.around ? "~@" : "@") + each.mesh_axis + " ";
  for (const auto& each : asked.zero) text += "zero" + std::to_string(each.level) + "@" + each.mesh_axis + " ";
  for (const auto& each : asked.pins) text += each.path + ":" + each.axis + "@" + each.mesh_axis + " ";
  for (const auto& [layer, first, end] : asked.recompute)
    text += "again:" + layer + "[" + std::to_string(first) + ".." + std::to_string(end) + "] ";
  for (const auto cut : asked.cuts) text += "|" + std::to_string(cut) + " ";
  text += std::to_string(asked.stages) + "x" + std::to_string(asked.micro_batches);
  for (const auto each : asked.schedules) text += " " + std::string(ml::name_of(each));
  return text;
}

std::string parsed(std::string_view text, std::int32_t ranks) {
  const auto read = ml::parse_manual(text, ranks);
  return read ? said(read.value()) : read.error();
}

}  // namespace

TEST_CASE("presets say what their papers say") {
  CHECK(said(ml::data_parallel(4)) == "data=4 batch@data 0x0");
  CHECK(said(ml::zero(2, 4)) == "data=4 batch@data zero2@data 0x0");
  CHECK(said(ml::megatron(2)) ==
        "tensor=2 heads@tensor mlp@tensor vocab@tensor inner_channels_*@tensor entry_channels_*@tensor 0x0");
  CHECK(said(ml::expert_parallel(4)) == "data=4 expert!@data batch@data 0x0");
  CHECK(said(ml::spatial(3)) == "space=3 high@space high_by_*@space 0x0");
  CHECK(said(ml::context_parallel(3)) == "context=3 seq~@context 0x0");
  CHECK(said(ml::pipeline(3)) == "3x0");
  CHECK(said(ml::pipeline(3, ml::schedule_kind::gpipe)) == "3x0 gpipe");
  CHECK(said(ml::pipeline(3, ml::schedule_kind::one_f_one_b)) == "3x0 1f1b");
  CHECK(said(ml::automatic()) == "auto 0x0");
  CHECK(said(ml::stage(5)) == "|5 2x0");
  CHECK(said(ml::pin_result<ml::axis::seq, ml::mesh::tensor>("a.dot")) == "a.dot:seq@tensor 0x0");
  CHECK(said(ml::split_all<ml::axis::seq, ml::mesh::expert>(2)) == "expert=2 seq@expert 0x0");
}

TEST_CASE("a product has the constraints of both") {
  CHECK(said(ml::data_parallel(2) & ml::megatron(2)) ==
        "data=2 tensor=2 batch@data heads@tensor mlp@tensor vocab@tensor inner_channels_*@tensor "
        "entry_channels_*@tensor 0x0");
  CHECK(said(ml::stage(5) & ml::stage(2)) == "|2 |5 3x0");
  CHECK(said(ml::pipeline(3, ml::schedule_kind::gpipe) & ml::data_parallel(2)) == "data=2 batch@data 3x0 gpipe");
  CHECK(said(ml::data_parallel(2) & ml::pipeline(3, ml::schedule_kind::gpipe)) == "data=2 batch@data 3x0 gpipe");
  CHECK(said(ml::data_parallel(2) & ml::data_parallel(2)) == "data=2 batch@data batch@data 0x0");
  CHECK(said(ml::data_parallel(2) & ml::data_parallel(3)) ==
        "data=2 data=3 batch@data batch@data 0x0");  // check(problem) objects
  CHECK(said(ml::data_parallel(2) & ml::recompute()) == "data=2 batch@data again:[0..-1] 0x0");
  CHECK(said(ml::recompute("blocks", 1, 3) & ml::recompute("loss")) == "again:blocks[1..3] again:loss[0..-1] 0x0");
  const ml::manual gpipe = ml::pipeline(2, ml::schedule_kind::gpipe);
  CHECK(said(gpipe & ml::stage(3)) == "|3 2x0 gpipe");  // who says no schedule does not change one
  CHECK(said(ml::stage(3) & gpipe) == "|3 2x0 gpipe");
  CHECK(said(gpipe & ml::pipeline(2) & gpipe) == "2x0 gpipe");
  CHECK(said(gpipe & ml::pipeline(2, ml::schedule_kind::one_f_one_b)) == "2x0 gpipe 1f1b");  // check(problem) objects
  CHECK(said(ml::stage(3) & ml::automatic()) == "auto |3 2x0");
  CHECK(said(ml::automatic() & ml::data_parallel(0)) == "auto data=0 batch@data 0x0");
  ml::manual parts = ml::pipeline(2);
  parts.micro_batches = 8;
  CHECK((ml::megatron(2) & parts).micro_batches == 8);
  const ml::vector<ml::manual> presets{ml::data_parallel(2), ml::zero(3, 2), ml::megatron(3),        ml::pipeline(2),
                                       ml::stage(4),         gpipe,          ml::recompute("blocks")};
  for (const ml::manual& a : presets) {
    CHECK(said(a & ml::manual{}) == said(a));
    for (const ml::manual& b : presets) {
      for (const ml::manual& c : presets) CHECK(said((a & b) & c) == said(a & (b & c)));
    }
  }
}

TEST_CASE("ranks are the product of stages and mesh axes, and never overflow") {
  CHECK(ml::manual{}.ranks() == 1);
  CHECK((ml::data_parallel(2) & ml::megatron(3) & ml::pipeline(4)).ranks() == 24);
  CHECK(ml::data_parallel(0).ranks() == 0);
  CHECK((ml::data_parallel(INT32_MAX) & ml::megatron(INT32_MAX) & ml::pipeline(INT32_MAX)).ranks() == INT32_MAX);
}

TEST_CASE("one word takes all ranks, a product says its own") {
  CHECK(parsed("auto", 4) == said(ml::automatic()));
  CHECK(parsed("data", 4) == said(ml::data_parallel(4)));
  CHECK(parsed("zero1", 4) == said(ml::zero(1, 4)));
  CHECK(parsed("zero2", 4) == said(ml::zero(2, 4)));
  CHECK(parsed("zero3", 4) == said(ml::zero(3, 4)));
  CHECK(parsed("tensor", 4) == said(ml::megatron(4)));
  CHECK(parsed("pipeline", 4) == said(ml::pipeline(4)));
  CHECK(parsed("gpipe", 4) == said(ml::pipeline(4, ml::schedule_kind::gpipe)));
  CHECK(parsed("tensor=4", 4) == said(ml::megatron(4)));
  CHECK(parsed("context", 4) == said(ml::context_parallel(4)));
  CHECK(parsed("data=2,tensor=2,pipeline=2", 8) == said(ml::data_parallel(2) & ml::megatron(2) & ml::pipeline(2)));
}

TEST_CASE("words that say nothing are refused with a cure") {
  const std::string presets =
      "no such preset; use auto, data, tensor, expert, space, context, pipeline, gpipe, zero1, zero2, zero3, or "
      "products like data=2,tensor=2";
  CHECK(parsed("", 4) == "plan '': " + presets);
  CHECK(parsed("magic", 4) == "plan 'magic': " + presets);
  CHECK(parsed("zero4", 4) == "plan 'zero4': " + presets);
  CHECK(parsed("data=2,magic=2", 4) == "plan 'magic': " + presets);
  for (const std::string part :
       {"data=", "data=x", "data=2x", "data=0", "data=-2", "data=99999999999", "data=2.5", "=", "data= 2"}) {
    CHECK(parsed(part, 4) == "plan '" + part + "': expected preset=ranks, like tensor=2");
  }
  for (const std::string text : {"data=4,", ",data=4", "data=2,,tensor=2"}) {
    CHECK(parsed(text, 4) == "plan '': expected preset=ranks, like tensor=2");
  }
  CHECK(parsed("data=4,tensor", 4) == "plan 'tensor': expected preset=ranks, like tensor=2");
  CHECK(parsed("data=2,tensor=2", 8) == "the plan uses 4 ranks, but there are 8; make the product of its numbers 8");
  CHECK(parsed("data=2000000000,tensor=2000000000", 4) ==
        "the plan uses 2147483647 ranks, but there are 4; make the product of its numbers 4");
}

TEST_CASE("a star in a rule stands for any letters, also none") {
  const auto fits = [](const char* pattern, std::string_view axis) { return ml::names({pattern, "data"}, axis); };
  CHECK(fits("high", "high"));
  CHECK_FALSE(fits("high", "high_by_2"));
  CHECK_FALSE(fits("high_by_2", "high"));
  CHECK(fits("high_by_*", "high_by_16"));
  CHECK(fits("high_by_*", "high_by_"));
  CHECK_FALSE(fits("high_by_*", "high"));
  CHECK(fits("inner_*_keys", "inner_3_keys"));
  CHECK_FALSE(fits("inner_*_keys", "inner_keys"));  // both sides would share a letter
  CHECK_FALSE(fits("inner_*_keys", "inner_3"));
  CHECK(fits("*", ""));
}
