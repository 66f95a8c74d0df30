// SPDX-License-Identifier: Apache-2.0
// Laws of sharding/describe.hpp: every spec reads back as itself, and every fault is named with its column and cure.
#include <doctest/doctest.h>

#include <meshloom/sharding/describe.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <array>
#include <set>
#include <string>
#include <string_view>

using namespace meshloom;

namespace {

// One name begins another, and a tensor axis and a mesh axis share one.
constexpr std::array<std::string_view, 4> axes{"seq", "seq_keys", "batch", "tensor"};
constexpr std::array<std::string_view, 3> mesh_axes{"data", "tensor", "expert"};

constexpr placement sum{placement::partial_sum, -1};
constexpr placement maximum{placement::partial_max, -1};
constexpr placement split(int axis) { return {placement::split, static_cast<std::int8_t>(axis)}; }

std::string described(const spec& layout) { return describe_spec(layout, axes, mesh_axes); }
result<spec> parsed(std::string_view text) { return parse_spec(text, axes, mesh_axes); }

std::string error_of(std::string_view text) {
  const std::string prefix = "meshloom: parse_spec: \"" + std::string(text) + "\", ";
  const std::string sentence = parsed(text).error();
  return sentence.starts_with(prefix) ? sentence.substr(prefix.size()) : "no such prefix: " + sentence;
}

}  // namespace

TEST_CASE("specs are written as people write them") {
  CHECK(described(spec{}) == "whole");
  CHECK(described(spec{}.with(0, split(2))) == "split(batch@data)");
  CHECK(described(spec{}.with(0, split(0)).with(1, split(2))) == "split(seq@data, batch@tensor)");
  CHECK(described(spec{}.with(0, split(2)).with(1, split(2))) == "split(batch@data>tensor)");
  CHECK(described(spec{}.with(1, split(2)).with(0, split(2))) == "split(batch@tensor>data)");
  CHECK(described(spec{}.with(0, sum)) == "partial(sum@data)");
  CHECK(described(spec{}.with(2, maximum).with(0, sum)) == "partial(sum@data, max@expert)");
  CHECK(described(spec{}.with(0, split(3)).with(1, sum)) == "split(tensor@data) partial(sum@tensor)");
}

TEST_CASE("every spec reads back as itself, and no two read the same") {
  for (int mesh_rank = 0; mesh_rank <= max_mesh_rank; ++mesh_rank) {
    std::set<std::string> texts;
    const auto specs = all_specs(4, {mesh_rank, {2, 2, 2}}, true);
    for (const spec& layout : specs) {
      // Each pending sum as it is, and as a pending maximum.
      for (int mesh_axis = 0; mesh_axis < mesh_rank; ++mesh_axis) {
        spec variant = layout;
        if (layout.on(mesh_axis) == sum) variant = layout.without(mesh_axis).with(mesh_axis, maximum);
        CHECK(parsed(described(variant)).value() == variant);
      }
      CHECK(parsed(described(layout)).value() == layout);
      texts.insert(described(layout));
    }
    CHECK(texts.size() == specs.size());
  }
}

TEST_CASE("spaces and the order of tensor axes are free") {
  CHECK(parsed("  whole ").value() == spec{});
  CHECK(parsed("split( batch @ tensor,seq@data )  partial( max@expert )").value() ==
        spec{}.with(0, split(0)).with(1, split(2)).with(2, maximum));
  CHECK(parsed("split(seq_keys@data > expert)").value() == spec{}.with(0, split(1)).with(2, split(1)));
}

TEST_CASE("a fault is named with its column and its cure") {
  CHECK(error_of("split(btach@data)") ==
        "column 7: \"btach\" is no axis of this tensor; write one of seq, seq_keys, batch, tensor");
  CHECK(error_of("split(batch@dat)") == "column 13: \"dat\" is no axis of the mesh; write one of data, tensor, expert");
  CHECK(error_of("split(batch@data, seq@data)") ==
        "column 23: \"data\" is used twice; name every mesh axis at most once");
  CHECK(error_of("split(batch@data>data)") == "column 18: \"data\" is used twice; name every mesh axis at most once");
  CHECK(error_of("split(batch@data) partial(sum@data)") ==
        "column 31: \"data\" is used twice; name every mesh axis at most once");
  CHECK(error_of("split(batch@data, batch@tensor)") ==
        "column 19: this axis is split already; write its cuts together, as in axis@outer>inner");
  CHECK(error_of("split(batch)") == "column 12: expected \"@\"; write a cut as axis@mesh_axis");
  CHECK(error_of("split(batch@data") == "column 17: expected \")\"; close the list");
  CHECK(error_of("partial(mean@data)") == "column 9: \"mean\" is no reduction; write one of sum, max");
  CHECK(error_of("partial(sum)") == "column 12: expected \"@\"; write a partial as sum@mesh_axis or max@mesh_axis");
  CHECK(error_of("whole partial(sum@data)") == "column 7: the spec ends before this; remove the rest");
  CHECK(error_of("partial(sum@data) split(batch@tensor)") == "column 19: the spec ends before this; remove the rest");
  CHECK(error_of("") == "column 1: this is no spec; write whole, split(axis@mesh_axis) or partial(sum@mesh_axis)");
  CHECK(error_of("replicated") ==
        "column 1: this is no spec; write whole, split(axis@mesh_axis) or partial(sum@mesh_axis)");
  CHECK(error_of("split()") == "column 7: \"\" is no axis of this tensor; write one of seq, seq_keys, batch, tensor");
  CHECK(parse_spec("split(batch@data)", {}, mesh_axes)
            .error()
            .ends_with("\"batch\" is no axis of this tensor; there is none"));
}

TEST_CASE("no prefix of a text reads as the whole, and none crashes") {
  const std::string text = "split(seq@data>tensor) partial(sum@expert)";
  const spec full = parsed(text).value();
  for (std::size_t length = 0; length < text.size(); ++length) {
    const auto read = parsed(std::string_view(text).substr(0, length));
    if (read) CHECK(read.value() != full);
    CHECK(static_cast<bool>(read) == read.error().empty());
  }
}
