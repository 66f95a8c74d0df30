// SPDX-License-Identifier: Apache-2.0
// The options that all examples share, and how a command line is read.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/base/vector.hpp>

#include <charconv>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

struct run_options {
  std::int32_t ranks = 1;
  std::int32_t micro_batches = 0;  ///< 0: as the planner likes, and 1 under a plan that is not automatic
  std::int64_t batch = 16, steps = 300;
  std::uint64_t seed = 1;
  double rate = 1e-3;
  std::string cluster;  ///< empty: local:RANKS
  std::string backend = "host";
  std::string plan = "auto";
  std::string save_plan, trace;
  bool recompute = false;  ///< repeated blocks keep nothing for the backward
  bool explain = false;    ///< print the plan and stop
  bool json = false;
};

inline constexpr std::string_view run_usage =
    "  [--batch N] [--micro-batches N] [--steps N] [--rate X] [--seed N] [--ranks N] [--backend host|simulate]\n"
    "  [--cluster here|local:N|p3.16xlarge:N|p4d.24xlarge:N|dgx_a100:N|dgx_h100:N|gb200_nvl72:N|FILE]\n"
    "  [--plan auto|data|tensor|pipeline|gpipe|zero1|zero2|zero3|\"data=2,tensor=2,pipeline=2\"|FILE]\n"
    "  [--recompute] [--save-plan FILE] [--explain] [--trace FILE] [--json]\n";

/// The options of one program by name, and where their values go.
class command_line {
 public:
  explicit command_line(run_options& into) {
    number("--batch", into.batch, 1);
    number("--micro-batches", into.micro_batches, 1);
    number("--steps", into.steps, 1);
    number("--rate", into.rate, 0);
    number("--seed", into.seed, 0);
    number("--ranks", into.ranks, 1);
    text("--cluster", into.cluster);
    built_in("--backend", into.backend, {"host", "simulate"});
    text("--plan", into.plan);
    text("--save-plan", into.save_plan);
    text("--trace", into.trace);
    flag("--recompute", into.recompute);
    flag("--explain", into.explain);
    flag("--json", into.json);
  }

  template <class Number>
  void number(std::string_view name, Number& into, int least) {
    options_.push_back({name, [name, &into, least](std::string_view value) {
                          const char* const end = value.data() + value.size();
                          const auto read = std::from_chars(value.data(), end, into);
                          if (read.ec == std::errc() && read.ptr == end && into >= static_cast<Number>(least)) return;
                          refuse(name, value, "not possible", "a number of " + std::to_string(least) + " or more");
                        }});
  }

  void text(std::string_view name, std::string& into) {
    options_.push_back({name, [&into](std::string_view value) { into = value; }});
  }

  /// One of several things that may be in a binary, of which this one has these.
  void built_in(std::string_view name, std::string& into, meshloom::vector<std::string_view> these) {
    options_.push_back({name, [name, &into, these](std::string_view value) {
                          std::string choices;
                          for (const std::string_view each : these) {
                            if (each == value) return void(into = value);
                            choices += (choices.empty() ? "" : " or ") + std::string(each);
                          }
                          refuse(name, value, "not in this binary", choices);
                        }});
  }

  void flag(std::string_view name, bool& into) { flags_.push_back({name, &into}); }

  /// Throws meshloom::error naming the option that is unknown, lacks its value, or has one that is not possible.
  void read(int count, char** words) const {
    for (int at = 1; at < count; ++at) {
      const std::string_view name = words[at];
      if (set_flag(name)) continue;
      if (!knows(name)) {
        throw meshloom::error("option " + std::string(name) + " is unknown; run with --help for the options");
      }
      if (at + 1 >= count) throw meshloom::error("option " + std::string(name) + " needs a value after it");
      const std::string_view value = words[++at];
      for (const option& each : options_) {
        if (each.name == name) each.take(value);
      }
    }
  }

 private:
  struct option {
    std::string_view name;
    std::function<void(std::string_view)> take;
  };
  struct switched {
    std::string_view name;
    bool* into;
  };

  [[noreturn]] static void refuse(std::string_view name, std::string_view value, std::string_view why,
                                  const std::string& wanted) {
    throw meshloom::error("option " + std::string(name) + ": '" + std::string(value) + "' is " + std::string(why) +
                          "; give " + wanted);
  }
  bool set_flag(std::string_view name) const {
    for (const switched& each : flags_) {
      if (each.name == name) return *each.into = true;
    }
    return false;
  }
  bool knows(std::string_view name) const {
    for (const option& each : options_) {
      if (each.name == name) return true;
    }
    return false;
  }

  meshloom::vector<option> options_;
  meshloom::vector<switched> flags_;
};
