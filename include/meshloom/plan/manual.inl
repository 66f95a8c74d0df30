// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/manual.hpp>

#include <algorithm>
#include <charconv>
#include <limits>

namespace meshloom {

MESHLOOM_INLINE bool names(const axis_rule& rule, std::string_view axis) {
  const std::string_view wanted = rule.axis;
  const std::size_t star = wanted.find('*');
  if (star == std::string_view::npos) return axis == wanted;
  return axis.size() + 1 >= wanted.size() && axis.starts_with(wanted.substr(0, star)) &&
         axis.ends_with(wanted.substr(star + 1));
}

MESHLOOM_INLINE std::int32_t manual::ranks() const {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  std::int64_t product = std::max(stages, 1);
  for (const mesh_axis_size& axis : mesh) product = std::clamp(product * axis.size, -most, most);
  return static_cast<std::int32_t>(product);
}

MESHLOOM_INLINE manual operator&(manual left, const manual& right) {
  left.automatic = left.automatic || right.automatic;
  for (const mesh_axis_size& axis : right.mesh) {
    const bool known = std::any_of(left.mesh.begin(), left.mesh.end(),
                                   [&](const auto& each) { return each.name == axis.name && each.size == axis.size; });
    if (!known) left.mesh.push_back(axis);
  }
  left.rules.insert(left.rules.end(), right.rules.begin(), right.rules.end());
  left.zero.insert(left.zero.end(), right.zero.begin(), right.zero.end());
  left.pins.insert(left.pins.end(), right.pins.begin(), right.pins.end());
  left.recompute.insert(left.recompute.end(), right.recompute.begin(), right.recompute.end());
  left.cuts.insert(left.cuts.end(), right.cuts.begin(), right.cuts.end());
  std::sort(left.cuts.begin(), left.cuts.end());
  left.stages =
      std::max({left.stages, right.stages, left.cuts.empty() ? 0 : static_cast<std::int32_t>(left.cuts.size()) + 1});
  for (const schedule_kind each : right.schedules) {
    const auto known = std::find(left.schedules.begin(), left.schedules.end(), each);
    if (known == left.schedules.end()) left.schedules.push_back(each);
  }
  left.micro_batches = std::max(left.micro_batches, right.micro_batches);
  return left;
}

MESHLOOM_INLINE manual automatic() { return {.automatic = true}; }

MESHLOOM_INLINE manual data_parallel(std::int32_t ranks) { return split_all<axis::batch, mesh::data>(ranks); }

MESHLOOM_INLINE manual zero(std::int32_t level, std::int32_t ranks) {
  manual made = data_parallel(ranks);
  made.zero = {{std::string(name_of<mesh::data>()), level}};
  return made;
}

MESHLOOM_INLINE manual megatron(std::int32_t ranks) {
  manual made = split_all<axis::heads, mesh::tensor>(ranks) & split_all<axis::mlp, mesh::tensor>(ranks) &
                split_all<axis::vocab, mesh::tensor>(ranks);
  for (const char* channels : {"inner_channels_*", "entry_channels_*"}) made.rules.push_back({channels, "tensor"});
  return made;
}

MESHLOOM_INLINE manual expert_parallel(std::int32_t ranks) {
  manual made = split_all<axis::expert, mesh::data>(ranks);
  made.rules.front().aligned = true;
  return made & data_parallel(ranks);
}

MESHLOOM_INLINE manual spatial(std::int32_t ranks) {
  manual made = split_all<axis::high, mesh::space>(ranks);
  made.rules.push_back({"high_by_*", made.rules.front().mesh_axis});
  return made;
}

MESHLOOM_INLINE manual context_parallel(std::int32_t ranks) {
  manual made = split_all<axis::seq, mesh::context>(ranks);
  made.rules.front().around = true;
  return made;
}

MESHLOOM_INLINE manual pipeline(std::int32_t stages) { return {.stages = stages}; }

MESHLOOM_INLINE manual pipeline(std::int32_t stages, schedule_kind schedule) {
  return {.stages = stages, .schedules = {schedule}};
}

MESHLOOM_INLINE manual stage(std::int32_t first_block) { return {.stages = 2, .cuts = {first_block}}; }

MESHLOOM_INLINE manual recompute() { return recompute(std::string()); }

MESHLOOM_INLINE manual recompute(std::string layer) { return recompute(std::move(layer), 0, -1); }

MESHLOOM_INLINE manual recompute(std::string layer, std::int32_t first, std::int32_t end) {
  return {.recompute = {{std::move(layer), first, end}}};
}

namespace detail {

inline result<manual> parse_preset(std::string_view word, std::int32_t ranks) {
  if (word == "auto") return automatic();
  if (word == "data") return data_parallel(ranks);
  if (word == "tensor") return megatron(ranks);
  if (word == "expert") return expert_parallel(ranks);
  if (word == "space") return spatial(ranks);
  if (word == "context") return context_parallel(ranks);
  if (word == "pipeline") return pipeline(ranks);
  if (word == "gpipe") return pipeline(ranks, schedule_kind::gpipe);
  if (word == "zero1") return zero(1, ranks);
  if (word == "zero2") return zero(2, ranks);
  if (word == "zero3") return zero(3, ranks);
  return failure{"plan '" + std::string(word) +
                 "': no such preset; use auto, data, tensor, expert, space, context, pipeline, gpipe, zero1, zero2, "
                 "zero3, or products like data=2,tensor=2"};
}

}  // namespace detail

MESHLOOM_INLINE result<manual> parse_manual(std::string_view text, std::int32_t ranks) {
  if (text.find('=') == std::string_view::npos) return detail::parse_preset(text, ranks);
  manual made;
  for (bool more = true; more;) {
    const std::string_view part = text.substr(0, text.find(','));
    more = part.size() < text.size();
    text.remove_prefix(part.size() + (more ? 1 : 0));
    const std::size_t equals = part.find('=');
    std::int32_t size = 0;
    const char* end = part.data() + part.size();
    const bool number =
        equals != std::string_view::npos && std::from_chars(part.data() + equals + 1, end, size).ptr == end;
    if (!number || size < 1) return failure{"plan '" + std::string(part) + "': expected preset=ranks, like tensor=2"};
    const result<manual> preset = detail::parse_preset(part.substr(0, equals), size);
    if (!preset) return failure{preset.error()};
    made = made & preset.value();
  }
  if (made.ranks() != ranks) {
    return failure{"the plan uses " + std::to_string(made.ranks()) + " ranks, but there are " + std::to_string(ranks) +
                   "; make the product of its numbers " + std::to_string(ranks)};
  }
  return made;
}

}  // namespace meshloom
