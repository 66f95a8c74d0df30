// SPDX-License-Identifier: Apache-2.0
// What to train on where only the time of a step matters: one value per element of every input of a graph, the same on
// every machine. Integers are spread over the classes (the axis `vocab` or `classes`), numbers over −1 … 1.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/exec/host_rank.hpp>
#include <meshloom/graph/graph.hpp>

#include <variant>

class samples {
 public:
  explicit samples(const meshloom::graph& of) {
    const std::int64_t classes = classes_of(of);
    for (const meshloom::value_id input : of.inputs) {
      const meshloom::value& port = of.values[input];
      std::int64_t count = 1;
      for (const std::int64_t extent : extents_of(of.sizes, port.axes)) count *= extent;
      if (port.type == meshloom::dtype::i32)
        ports_.emplace_back(integers(count, primes[ports_.size() % 2], classes));
      else
        ports_.emplace_back(numbers(count));
    }
  }

  /// An input, by its number in the graph.
  meshloom::port_data port(std::size_t number) const {
    return std::visit([](const auto& values) { return meshloom::port_data(values); }, ports_.at(number));
  }

 private:
  static constexpr std::int64_t primes[] = {7919, 104729};

  static std::int64_t classes_of(const meshloom::graph& of) {
    for (const char* name : {"vocab", "classes"}) {
      const meshloom::axis_id axis = find_axis(of.sizes, name);
      if (axis != meshloom::axis_id::none) return of.sizes[axis].extent;
    }
    throw meshloom::error("samples: the graph has neither an axis vocab nor an axis classes");
  }

  static meshloom::vector<std::int32_t> integers(std::int64_t count, std::int64_t prime, std::int64_t below) {
    meshloom::vector<std::int32_t> made;
    for (std::int64_t at = 0; at < count; ++at) made.push_back(static_cast<std::int32_t>(at * prime % below));
    return made;
  }

  static meshloom::vector<float> numbers(std::int64_t count) {
    meshloom::vector<float> made;
    for (std::int64_t at = 0; at < count; ++at) made.push_back(static_cast<float>(at * primes[0] % 2001) / 1000 - 1);
    return made;
  }

  meshloom::vector<std::variant<meshloom::vector<std::int32_t>, meshloom::vector<float>>> ports_;
};
