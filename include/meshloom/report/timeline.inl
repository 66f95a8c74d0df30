// SPDX-License-Identifier: Apache-2.0
#include <meshloom/report/timeline.hpp>

namespace meshloom {
namespace detail {

/// A JSON string.
inline std::string json_string(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string made = "\"";
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      made += {'\\', letter};
    } else if (byte < 0x20) {
      made += {'\\', 'u', '0', '0', digits[byte / 16], digits[byte % 16]};
    } else {
      made += letter;
    }
  }
  return made + "\"";
}

/// Microseconds with six decimals.
inline std::string microseconds(picoseconds time) {
  const std::string rest = std::to_string(time.count % 1'000'000);
  return std::to_string(time.count / 1'000'000) + "." + std::string(6 - rest.size(), '0') + rest;
}

inline std::string metadata(const char* what, std::size_t stage, std::int32_t rank, const std::string& name) {
  return "{\"name\":\"" + std::string(what) + "\",\"ph\":\"M\",\"pid\":" + std::to_string(stage) +
         ",\"tid\":" + std::to_string(rank) + ",\"args\":{\"name\":" + json_string(name) + "}}";
}

inline std::string describe_mesh(const stage_program& stage) {
  std::string text;
  for (std::size_t axis = 0; axis < stage.mesh_axes.size(); ++axis) {
    text += (axis == 0 ? "" : ", ") + stage.mesh_axes[axis] + "=" + std::to_string(stage.mesh.size[axis]);
  }
  return text;
}

/// The category, under which viewers filter: what computes, and what moves data.
inline std::string_view category_of(const program& whole, const event& each) {
  if (each.kind != action::run) return each.kind == action::send ? "send" : "receive";
  constexpr std::string_view names[] = {"compute", "exchange", "reshard", "load", "accumulate", "store"};
  const stage_program& stage = whole.stages[stage_of_rank(whole, each.rank)];
  const instruction& what =
      stage.bodies[static_cast<std::size_t>(each.index)][static_cast<std::size_t>(each.instruction)];
  if (what.kind == instruction::redistribute) return name_of(what.how);
  return what.again ? "recompute" : names[what.kind];
}

/// The pass that runs, or the one that makes what is sent or reads what is received.
inline pass pass_of(const program& whole, const event& each) {
  if (each.kind == action::run) return static_cast<pass>(each.index);
  const message& route = whole.transfers[static_cast<std::size_t>(each.index)].route;
  return each.kind == action::send ? route.from : route.to;
}

inline std::string slice_of(const program& whole, const event& each) {
  return "{\"name\":" + json_string(name_of(whole, each)) + ",\"cat\":" + json_string(category_of(whole, each)) +
         ",\"ph\":\"X\",\"pid\":" + std::to_string(index_of(stage_of_rank(whole, each.rank))) +
         ",\"tid\":" + std::to_string(each.rank) + ",\"ts\":" + microseconds(each.begin) +
         ",\"dur\":" + microseconds(each.end - each.begin) +
         ",\"args\":{\"pass\":" + json_string(name_of(pass_of(whole, each))) +
         ",\"micro-batch\":" + std::to_string(each.micro_batch) + "}}";
}

}  // namespace detail

MESHLOOM_INLINE std::string chrome_trace(const program& whole, std::span<const event> events) {
  std::string text = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
  std::string between;
  const auto add = [&](const std::string& entry) {
    text += between + entry;
    between = ",\n";
  };
  for (std::size_t s = 0; s < whole.stages.size(); ++s) {
    const stage_program& stage = whole.stages[static_cast<stage_id>(s)];
    const std::string mesh = detail::describe_mesh(stage);
    add(detail::metadata("process_name", s, stage.first_rank,
                         "stage " + std::to_string(s) + (mesh.empty() ? "" : " (" + mesh + ")")));
    for (std::int32_t rank = stage.first_rank; rank < stage.first_rank + stage.mesh.ranks(); ++rank) {
      add(detail::metadata("thread_name", s, rank, "rank " + std::to_string(rank)));
    }
  }
  for (const event& each : events) add(detail::slice_of(whole, each));
  return text + "\n]}\n";
}

}  // namespace meshloom
