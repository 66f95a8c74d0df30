// SPDX-License-Identifier: Apache-2.0
// A model that has a name, behind one type for all families: each family is compiled once, in a file of its own, and
// the benches see graphs and programs.
#pragma once

#include "../arithmetic.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

struct named_model {
  meshloom::graph graph;  ///< of one training step
  std::function<std::unique_ptr<meshloom::host_run>(meshloom::program)> start;
};

/// The model of a training, with parameters drawn from one seed.
template <class Training>
named_model named_model_of(const Training& task) {
  return {meshloom::trace(task), [task](meshloom::program made) {
            using meshloom::host, meshloom::host_run, meshloom::start;
            return std::unique_ptr<host_run>(new host_run(start(host<arithmetic>{}, std::move(made), task, 1)));
          }};
}

/// Models of one type or of a few. `make` is called with one of the names.
struct model_family {
  std::vector<std::string> names;
  named_model (*make)(const std::string& name);
};

model_family gpts();
model_family moes();
model_family llamas();
model_family wide_resnets();

/// Throws meshloom::error that lists all names if there is no such model.
named_model find_model(const std::string& name);
