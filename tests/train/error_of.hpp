// SPDX-License-Identifier: Apache-2.0
// What an act says when it is refused.
#pragma once

#include <meshloom/base/error.hpp>

#include <functional>
#include <string>

inline std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const meshloom::error& why) {
    return why.what();
  }
  return "nothing was thrown";
}
