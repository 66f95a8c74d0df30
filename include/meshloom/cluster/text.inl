// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/config.hpp>
#include <meshloom/base/readable.hpp>
#include <meshloom/cluster/text.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <type_traits>

namespace meshloom {
namespace detail {

// --- what a field may be

/// The word after a number, and how much it stands for.
struct unit {
  std::string_view word;
  std::int64_t size;
};

inline constexpr unit no_units[] = {{"", 1}};
inline constexpr unit memory_units[] = {
    {"TiB", std::int64_t{1} << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}};
inline constexpr unit time_units[] = {
    {"s", 1'000'000'000'000}, {"ms", 1'000'000'000}, {"us", 1'000'000}, {"ns", 1'000}, {"ps", 1}};
inline constexpr unit rate_units[] = {
    {"TB/s", 1'000'000'000'000}, {"GB/s", 1'000'000'000}, {"MB/s", 1'000'000}, {"kB/s", 1'000}, {"B/s", 1}};
inline constexpr unit speed_units[] = {{"PFLOP/s", 1'000'000'000'000'000},
                                       {"TFLOP/s", 1'000'000'000'000},
                                       {"GFLOP/s", 1'000'000'000},
                                       {"MFLOP/s", 1'000'000},
                                       {"kFLOP/s", 1'000},
                                       {"FLOP/s", 1}};

/// What a field may say: a number from `lowest` to `highest`, in one of the units, largest first.
struct number_form {
  std::string_view called;
  std::span<const unit> units;
  std::int64_t lowest, highest, example;
};

constexpr number_form form_of(const std::int32_t&) { return {"a whole number", no_units, 1, most_ranks, 8}; }
constexpr number_form form_of(const bytes&) {
  return {"a memory", memory_units, 1, std::int64_t{1} << 50, std::int64_t{16} << 30};
}
constexpr number_form form_of(const picoseconds&) { return {"a time", time_units, 0, 1'000'000'000'000, 5'000'000}; }
constexpr number_form form_of(const std::int64_t&) {
  return {"a rate", rate_units, 1, 9'000'000'000'000'000, 25'000'000'000};
}
constexpr number_form form_of(const double&) {
  return {"a speed", speed_units, 1, 1'000'000'000'000'000'000, 15'700'000'000'000};
}

/// The fields of a cluster, by their names in C++: visit(key, field).
template <class Group, class Visit>
void for_each_field_of(Group& hosts, const std::string& prefix, const Visit& visit) {
  visit(prefix + "hosts", hosts.hosts);
  visit(prefix + "devices_per_host", hosts.devices_per_host);
  visit(prefix + "device.name", hosts.device.name);
  visit(prefix + "device.memory", hosts.device.memory);
  visit(prefix + "device.flops_per_second", hosts.device.flops_per_second);
  visit(prefix + "device.half_flops_per_second", hosts.device.half_flops_per_second);
  visit(prefix + "device.bytes_per_second", hosts.device.bytes_per_second);
  visit(prefix + "device.launch", hosts.device.launch);
  visit(prefix + "within_host.latency", hosts.within_host.latency);
  visit(prefix + "within_host.bytes_per_second", hosts.within_host.bytes_per_second);
  visit(prefix + "between_hosts.latency", hosts.between_hosts.latency);
  visit(prefix + "between_hosts.bytes_per_second", hosts.between_hosts.bytes_per_second);
}

/// All but the number of groups.
template <class Cluster, class Visit>
void for_each_field(Cluster& machine, const Visit& visit) {
  visit(std::string("name"), machine.name);
  for_each_field_of(machine, "", visit);
  for (std::size_t g = 0; g < machine.others.size(); ++g)
    for_each_field_of(machine.others[g], "group" + std::to_string(g + 2) + ".", visit);
}

/// The number behind a field: 64 bits, or a double.
template <class Value>
constexpr auto number_of(const Value& value) {
  if constexpr (requires { value.count; }) {
    return value.count;
  } else if constexpr (std::is_integral_v<Value>) {
    return std::int64_t{value};
  } else {
    return value;
  }
}

/// A field that texts leave out where it is 0.
constexpr bool is_optional(std::string_view key) { return key.ends_with("device.half_flops_per_second"); }

template <class Value>
bool is_left_out(std::string_view key, const Value& value) {
  return is_optional(key) && value == Value{};
}

template <class Value>
constexpr bool does(const Value& value) {
  const number_form form = form_of(value);
  const auto number = number_of(value);
  return number >= static_cast<decltype(number)>(form.lowest) && number <= static_cast<decltype(number)>(form.highest);
}

// --- numbers as text

inline std::string with_unit(std::string number, const unit& in) {
  return in.word.empty() ? number : number + " " + std::string(in.word);
}

/// In the largest unit that leaves at most three decimals.
inline std::string number_text(std::int64_t number, std::span<const unit> units) {
  for (const unit& in : units) {
    const std::int64_t rest = number % in.size;
    if (number < in.size || rest * 1000 % in.size != 0) continue;
    std::string text = std::to_string(number / in.size);
    if (rest > 0) text += "." + std::to_string(1000 + rest * 1000 / in.size).substr(1);
    if (rest > 0) text.resize(text.find_last_not_of('0') + 1);
    return with_unit(text, in);
  }
  return with_unit(std::to_string(number), units.back());
}

/// A decimal times a power of ten, rounded once; `number` has passed `is_decimal`.
inline double scaled(std::string_view number, std::int64_t power_of_ten) {
  std::string text(number);
  text += "e" + std::to_string(std::to_string(power_of_ten).size() - 1);
  double value = std::numeric_limits<double>::infinity();
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// In the largest unit in which the shortest decimal is the number exactly.
inline std::string number_text(double number, std::span<const unit> units) {
  for (const unit& in : units) {
    char digits[400];  // enough for any double
    const double count = number / static_cast<double>(in.size);
    const auto end = std::to_chars(digits, digits + sizeof digits, count, std::chars_format::fixed).ptr;
    const std::string_view text(digits, static_cast<std::size_t>(end - digits));
    if (in.size == 1 || (count >= 1 && scaled(text, in.size) == number)) return with_unit(std::string(text), in);
  }
  return {};
}

/// Digits, which may have one point between them.
inline bool is_decimal(std::string_view number) {
  const auto digit = [](char letter) { return letter >= '0' && letter <= '9'; };
  const auto others = std::count_if(number.begin(), number.end(), [&](char letter) { return !digit(letter); });
  if (number.empty() || !digit(number.front()) || !digit(number.back())) return false;
  return others == 0 || (others == 1 && number.find('.') != std::string_view::npos);
}

/// A decimal times a size, if that is a whole number of 63 bits.
inline std::optional<std::int64_t> whole_number(std::string_view number, std::int64_t size) {
  constexpr std::size_t most_digits = 18;
  const std::size_t point = std::min(number.find('.'), number.size());
  std::string_view fraction = number.substr(std::min(point + 1, number.size()));
  fraction = fraction.substr(0, fraction.find_last_not_of('0') + 1);
  std::int64_t count = 0, part = 0, parts = 1;
  const auto fault = std::from_chars(number.data(), number.data() + point, count).ec;
  if (fault != std::errc{} || fraction.size() > most_digits) return std::nullopt;
  std::from_chars(fraction.data(), fraction.data() + fraction.size(), part);
  for (std::size_t digit = 0; digit < fraction.size(); ++digit) parts *= 10;
  const std::int64_t common = std::gcd(parts, size);
  if (part % (parts / common) != 0) return std::nullopt;
  const std::int64_t rest = part / (parts / common) * (size / common);  // less than size
  if (count > (std::numeric_limits<std::int64_t>::max() - rest) / size) return std::nullopt;
  return count * size + rest;
}

// --- fields as text

inline std::string value_text(const std::string& name) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string text;
  for (std::size_t at = 0; at < name.size(); ++at) {
    const auto byte = static_cast<unsigned char>(name[at]);
    const bool at_an_end = at == 0 || at + 1 == name.size();
    const bool lost = byte < ' ' || byte == 0x7f || byte == '#' || byte == '\\' || (byte == ' ' && at_an_end);
    text += lost ? std::string{'\\', hex[byte / 16], hex[byte % 16]} : std::string(1, name[at]);
  }
  return text;
}

template <class Value>
std::string value_text(const Value& value) {
  return number_text(number_of(value), form_of(value).units);
}

inline std::string wanted_text(const std::string&) { return "a name, with two hex digits after any \\, as in \\23"; }

/// "a time from 0 ps to 1 s in s, ms, us, ns or ps, as in 5 us".
template <class Value>
std::string wanted_text(const Value& value) {
  const number_form form = form_of(value);
  std::string units;
  for (const unit& in : form.units) {
    if (!units.empty()) units += &in == &form.units.back() ? " or " : ", ";
    units += in.word;
  }
  return std::string(form.called) + " from " + number_text(form.lowest, form.units) + " to " +
         number_text(form.highest, form.units) + (units.empty() ? "" : " in " + units) + ", as in " +
         number_text(form.example, form.units);
}

inline bool read_field(std::string_view text, std::string& name) {
  name.clear();
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      name += text[at];
      continue;
    }
    unsigned byte = 0;
    const std::string_view hex = text.substr(at + 1, 2);
    const auto end = std::from_chars(hex.data(), hex.data() + hex.size(), byte, 16).ptr;
    if (hex.size() < 2 || end != hex.data() + 2) return false;
    name += static_cast<char>(byte);
    at += 2;
  }
  return true;
}

template <class Value>
bool read_field(std::string_view text, Value& value) {
  const std::string_view number = text.substr(0, text.find_first_of(" \t"));
  std::string_view word = text.substr(number.size());
  word.remove_prefix(std::min(word.find_first_not_of(" \t"), word.size()));
  const auto units = form_of(value).units;
  const auto in = std::find_if(units.begin(), units.end(), [&](const unit& each) { return each.word == word; });
  if (in == units.end() || !is_decimal(number)) return false;
  if constexpr (std::is_same_v<Value, double>) {
    value = scaled(number, in->size);
  } else {
    const auto whole = whole_number(number, in->size);
    if (!whole || *whole > form_of(value).highest) return false;
    if constexpr (std::is_integral_v<Value>) {
      value = static_cast<Value>(*whole);
    } else {
      value = {*whole};
    }
  }
  return does(value);
}

inline std::string too_many_ranks(const cluster& machine) {
  std::int64_t ranks = 0;
  std::string text;
  const auto add = [&](std::int32_t hosts, std::int32_t devices) {
    ranks += std::int64_t{hosts} * devices;
    text += (text.empty() ? "" : " and ") + std::to_string(hosts) + " hosts of " + std::to_string(devices) + " devices";
  };
  add(machine.hosts, machine.devices_per_host);
  for (const host_group& each : machine.others) add(each.hosts, each.devices_per_host);
  if (ranks <= most_ranks) return {};
  return text + " are " + std::to_string(ranks) + " ranks; write fewer hosts or devices_per_host, at most " +
         std::to_string(most_ranks) + " ranks";
}

// --- lines

inline constexpr std::string_view cluster_head = "meshloom", cluster_version = "cluster 1";

/// A line that says something: a key, and what follows it.
struct fact {
  std::size_t line = 0;  ///< from 1
  std::string_view key, said;
};

inline std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t\r") + 1);
}

/// The facts of a text; a comment is what follows a #.
inline vector<fact> facts_of(std::string_view text) {
  vector<fact> facts;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::string_view whole = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(whole.size() + 1, text.size()));
    const std::string_view said = trimmed(whole.substr(0, whole.find('#')));
    const std::string_view key = said.substr(0, said.find_first_of(" \t"));
    if (!key.empty()) facts.push_back({line, key, trimmed(said.substr(key.size()))});
  }
  return facts;
}

inline std::string quoted_word(std::string_view text) { return "'" + std::string(text) + "'"; }

inline failure cluster_fault(std::size_t line, const std::string& sentence) {
  return {readable("cluster, line " + std::to_string(line) + ": " + sentence)};
}

inline vector<fact>::const_iterator fact_of(const vector<fact>& facts, std::string_view key) {
  return std::find_if(facts.begin() + 1, facts.end(), [&](const fact& each) { return each.key == key; });
}

/// How many groups a text says that there are.
inline result<std::int32_t> group_count(const vector<fact>& facts) {
  const auto said = fact_of(facts, "groups");
  std::int32_t count = 1;
  if (said == facts.end() || (read_field(said->said, count) && count <= most_groups)) return count;
  return cluster_fault(said->line, "groups: " + quoted_word(said->said) +
                                       " does not do; write a whole number from 1 to " + std::to_string(most_groups) +
                                       ", as in 2");
}

/// What is wrong with the keys of a text's facts: one is unknown or given twice.
inline std::optional<failure> fault_of_keys(const cluster& like, std::span<const fact> facts) {
  vector<std::string> keys{"name", "groups"};
  for_each_field(like, [&](const std::string& key, const auto&) {
    if (key != "name") keys.push_back(key);
  });
  for (std::size_t k = 1; k < facts.size(); ++k) {
    if (std::find(keys.begin(), keys.end(), facts[k].key) == keys.end()) {
      std::string known;
      for (const std::string& key : keys) {
        if (!key.starts_with("group") || key == "groups") known += (known.empty() ? "" : ", ") + key;
      }
      if (!like.others.empty()) known += ", and for group 2 the same from group2.hosts on";
      if (facts[k].key.starts_with("group") && facts[k].key.find('.') != facts[k].key.npos)
        known += "; how many groups there are is said by a line like 'groups 2'";
      return cluster_fault(facts[k].line, "there is no field " + quoted_word(facts[k].key) + "; write one of " + known);
    }
    const auto same = [&](const fact& each) { return each.key == facts[k].key; };
    const auto first = std::find_if(facts.begin() + 1, facts.end(), same);
    if (first->line != facts[k].line) {
      return cluster_fault(facts[k].line, quoted_word(facts[k].key) + " is given twice, first on line " +
                                              std::to_string(first->line) + "; remove one");
    }
  }
  return std::nullopt;
}

/// The first fact of a text is its head.
inline std::optional<failure> fault_of_head(std::span<const fact> facts) {
  if (facts.empty() || facts[0].key != cluster_head || facts[0].said != cluster_version) {
    return cluster_fault(facts.empty() ? 1 : facts[0].line,
                         "this is no cluster that can be read here; begin it with the line 'meshloom cluster 1'");
  }
  return std::nullopt;
}

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check(const cluster& machine) {
  vector<std::string> faults;
  detail::for_each_field(machine, [&]<class Value>(std::string_view key, const Value& value) {
    if constexpr (!std::is_same_v<Value, std::string>) {
      if (detail::does(value) || detail::is_left_out(key, value)) return;
      faults.push_back(std::string(key) + " is " + detail::value_text(value) + "; make it " +
                       detail::wanted_text(value));
    }
  });
  const auto groups = static_cast<std::int64_t>(machine.others.size()) + 1;
  if (groups > most_groups) {
    faults.push_back("there are " + std::to_string(groups) + " groups of hosts; make them at most " +
                     std::to_string(most_groups));
  }
  const std::string too_many = detail::too_many_ranks(machine);
  if (faults.empty() && !too_many.empty()) faults.push_back(too_many);
  return faults;
}

MESHLOOM_INLINE std::string to_text(const cluster& machine) {
  const std::size_t column = machine.others.empty() ? 32 : 40;
  const auto faults = check(machine);
  if (!faults.empty()) throw error(readable("to_text: cluster '" + machine.name + "': " + faults.front()));
  std::string text = std::string(detail::cluster_head) + " " + std::string(detail::cluster_version) + "\n";
  const auto add = [&](const std::string& key, const std::string& said) {
    text += key + (said.empty() ? "" : std::string(column - key.size(), ' ') + said) + "\n";
  };
  detail::for_each_field(machine, [&](const std::string& key, const auto& value) {
    if (!detail::is_left_out(key, value)) add(key, detail::value_text(value));
    if (key == "name" && !machine.others.empty()) add("groups", std::to_string(machine.others.size() + 1));
  });
  return text;
}

MESHLOOM_INLINE result<cluster> cluster_from_text(std::string_view text) {
  const auto facts = detail::facts_of(text);
  auto fault = detail::fault_of_head(facts);
  if (fault) return *fault;
  const auto groups = detail::group_count(facts);
  if (!groups) return failure{groups.error()};
  cluster made;
  made.others.resize(static_cast<std::size_t>(groups.value() - 1));
  fault = detail::fault_of_keys(made, facts);
  if (fault) return *fault;
  std::size_t counted = 0;  // the last line about hosts and devices
  detail::for_each_field(made, [&]<class Value>(const std::string& key, Value& value) {
    if (fault) return;
    const auto said = detail::fact_of(facts, key);
    if (said == facts.end() && detail::is_optional(key)) return;
    if (said == facts.end()) {
      fault = detail::cluster_fault(facts.back().line, "the text ends without " + detail::quoted_word(key) +
                                                           "; add a line with it and " + detail::wanted_text(value));
    } else if (!detail::read_field(said->said, value)) {
      fault = detail::cluster_fault(said->line, std::string(key) + ": " + detail::quoted_word(said->said) +
                                                    " does not do; write " + detail::wanted_text(value));
    } else if constexpr (std::is_same_v<Value, std::int32_t>) {
      counted = std::max(counted, said->line);
    }
  });
  if (fault) return *fault;
  const std::string too_many = detail::too_many_ranks(made);
  if (!too_many.empty()) return detail::cluster_fault(counted, too_many);
  return made;
}

}  // namespace meshloom
