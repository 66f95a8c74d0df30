// SPDX-License-Identifier: Apache-2.0
// A model that has a name, behind one type for all families: each family is compiled once per precision, from a file of
// its own, and the benches see graphs and programs.
#pragma once

#include "../arithmetic.hpp"

#include <meshloom/base/vector.hpp>

#include <functional>
#include <memory>
#include <string>

struct named_model {
  meshloom::graph graph;  ///< of one training step
  std::function<std::unique_ptr<meshloom::host_run>(meshloom::program)> start;
};

/// The model of a training in the precision, with parameters drawn from one seed.
template <class Precision, class Training>
named_model named_model_of(const Training& of) {
  const meshloom::training task{of.model, of.loss,   of.optimizer,     of.sizes,
                                of.input, of.target, of.micro_batched, Precision{}};
  return {meshloom::trace(task), [task](meshloom::program made) {
            using meshloom::host, meshloom::host_run, meshloom::start;
            return std::unique_ptr<host_run>(new host_run(start(host<arithmetic>{}, std::move(made), task, 1)));
          }};
}

/// Models of one type or of a few. `make` is called with one of the names; with `layers` = 0 the depth is the model's.
struct model_family {
  meshloom::vector<std::string> names;
  named_model (*make)(const std::string& name, std::int32_t layers);
};

/// Of the trainings in float, bf16 or f16, each made where the file of the family is compiled with that
/// MODEL_PRECISION.
template <class Precision>
model_family gpts();
template <class Precision>
model_family moes();
template <class Precision>
model_family llamas();
template <class Precision>
model_family mixtrals();
template <class Precision>
model_family wide_resnets();

/// In f32, bf16 or f16; with other than 0 `layers` in the place of as many as it has. Throws meshloom::error that lists
/// all names if there is no such model.
named_model find_model(const std::string& name, meshloom::dtype precision, std::int32_t layers = 0);
