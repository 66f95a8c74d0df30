// SPDX-License-Identifier: Apache-2.0
// The exception of the library: one sentence that says what is wrong, where, and the cure. Thrown for bad input, I/O
// and failures of a running program; the library never prints, exits or aborts.
#pragma once

#include <stdexcept>
#include <string>

namespace meshloom {

class error : public std::runtime_error {
 public:
  explicit error(const std::string& sentence) : std::runtime_error(sentence) {}
};

}  // namespace meshloom
