// SPDX-License-Identifier: Apache-2.0
// Includes go down the floors or stay in the folder, make no cycle, and keep heavy and vendor headers in their place.
#include "rules.hpp"

#include <set>

namespace house {
namespace {

/// The floors of the house; `report` is a wing that nobody includes, and "" holds the umbrella.
const std::map<std::string, int> floors{{"base", 0},  {"tensor", 1}, {"cluster", 1},  {"sharding", 2}, {"op", 3},
                                        {"graph", 4}, {"kernel", 4}, {"model", 5},    {"cost", 5},     {"schedule", 5},
                                        {"plan", 6},  {"program", 7}, {"planner", 8}, {"exec", 8},     {"train", 9},
                                        {"report", 10}, {"", 11}};
const std::set<std::string> heavy{"thread", "fstream", "regex", "filesystem", "random", "map"};
constexpr int highest_light_floor = 5;
const std::set<std::string> plain_folders{"cost", "plan", "program", "planner"};  ///< these never see the typed ones
const std::set<std::string> typed_folders{"model", "kernel"};

const std::string own = "<meshloom/";

std::string folder_of(const std::string& path) {
  const auto slash = path.find('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string stem_of(const std::string& path) { return path.substr(0, path.rfind('.')); }

struct unit {
  std::set<std::string> units;    ///< included from this library
  std::set<std::string> vendors;  ///< included from neither this library nor the C++ standard library
};

/// The name in an include line, with its opening bracket; empty if the line is none.
std::string included_by(const std::string& line) {
  const auto start = line.find_first_not_of(" \t");
  if (start == std::string::npos || line[start] != '#') return {};
  const auto word = line.find("include", start);
  const auto open = line.find_first_of("<\"", start);
  if (word == std::string::npos || open == std::string::npos || open < word) return {};
  const auto close = line.find_first_of(">\"", open + 1);
  return line.substr(open, close - open);
}

void check_own(const header& from, const std::string& target, const std::set<std::string>& known, sentences& found) {
  if (known.count(target) == 0) return found.push_back(from.path + " includes meshloom/" + target + ", which does not exist");
  const std::string to = folder_of(target);
  const auto here = floors.find(folder_of(from.path)), there = floors.find(to);
  if (here == floors.end() || there == floors.end() || here->first == to) return;
  if (there->second >= here->second) found.push_back(from.path + " includes meshloom/" + target + ", which is not on a lower floor");
}

void check_foreign(const header& from, const std::string& name, sentences& found) {
  const auto here = floors.find(folder_of(from.path));
  const bool light = here != floors.end() && here->second <= highest_light_floor;
  if (light && heavy.count(name) != 0) found.push_back(from.path + " includes <" + name + ">, too heavy for its floor");
  if (name.starts_with("fmt/")) found.push_back(from.path + " includes <" + name + ">; the library does not need fmt");
}

/// The names that the include lines of a header give, with their opening bracket.
std::vector<std::string> includes_of(const header& from) {
  std::vector<std::string> names;
  for (const std::string& line : lines_of(from.text)) {
    if (const std::string name = included_by(line); !name.empty()) names.push_back(name);
  }
  return names;
}

/// A header and the bodies that it includes are one unit, named after the header: the unit of each file.
std::map<std::string, std::string> ownership(const std::vector<header>& headers, sentences& found) {
  std::map<std::string, std::string> unit;
  for (const header& each : headers) {
    if (!each.path.ends_with(".inl")) unit[each.path] = stem_of(each.path);
  }
  for (const header& each : headers) {
    for (const std::string& name : includes_of(each)) {
      const bool bodies = name.starts_with(own) && name.ends_with(".inl");
      if (bodies && !each.path.ends_with(".inl")) unit.emplace(name.substr(own.size()), stem_of(each.path));
    }
  }
  for (const header& each : headers) {
    const bool owned = !unit.emplace(each.path, stem_of(each.path)).second;
    if (!owned) found.push_back(each.path + " is included by no header");
  }
  return unit;
}

std::map<std::string, unit> units_of(const std::vector<header>& headers, sentences& found) {
  std::set<std::string> known;
  for (const header& each : headers) known.insert(each.path);
  const auto unit_of = ownership(headers, found);
  std::map<std::string, unit> units;
  for (const header& each : headers) {
    unit& here = units[unit_of.at(each.path)];
    for (const std::string& name : includes_of(each)) {
      const std::string target = name.substr(name.starts_with(own) ? own.size() : 1);
      if (name[0] == '"') {
        found.push_back(each.path + " includes \"" + target + "\"; write <meshloom/...>");
      } else if (name.starts_with(own)) {
        check_own(each, target, known, found);
        if (known.count(target) != 0 && unit_of.at(target) != unit_of.at(each.path)) here.units.insert(unit_of.at(target));
      } else {
        check_foreign(each, target, found);
        if (target.find_first_of("./") != std::string::npos) here.vendors.insert(target);
      }
    }
  }
  return units;
}

/// Everything that `from` includes, directly or not; holds `from` itself only if it lies on a cycle.
std::set<std::string> closure(const std::map<std::string, unit>& units, const std::string& from) {
  std::set<std::string> reached;
  std::vector<std::string> open{from};
  while (!open.empty()) {
    const auto at = units.find(open.back());
    open.pop_back();
    if (at == units.end()) continue;
    for (const std::string& next : at->second.units) {
      if (reached.insert(next).second) open.push_back(next);
    }
  }
  return reached;
}

}  // namespace

void check_includes(const std::vector<header>& headers, sentences& found) {
  for (const header& each : headers) {
    if (floors.count(folder_of(each.path)) == 0) found.push_back(each.path + " is in a folder that has no floor");
  }
  const auto units = units_of(headers, found);
  std::map<std::string, std::string> owner;
  for (const auto& [name, unit] : units) {
    const auto reached = closure(units, name);
    if (reached.count(name) != 0) found.push_back(name + " includes itself, in a cycle");
    for (const std::string& other : reached) {
      if (plain_folders.count(folder_of(name)) != 0 && typed_folders.count(folder_of(other)) != 0) {
        found.push_back(name + " sees " + other + ": cost, plan and program never see models or kernels");
      }
      if (name == "meshloom" && !units.at(other).vendors.empty()) {
        found.push_back("the umbrella includes " + other + ", which needs <" + *units.at(other).vendors.begin() + ">");
      }
    }
    for (const std::string& vendor : unit.vendors) {
      const auto [first, fresh] = owner.emplace(vendor, name);
      if (!fresh) found.push_back(name + " includes <" + vendor + ">, which belongs to " + first->second + " alone");
    }
  }
}

}  // namespace house
