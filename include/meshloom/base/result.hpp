// SPDX-License-Identifier: Apache-2.0
// A value, or the sentence that says why there is none. `solve` and `load` return results: no plan is an answer, not an
// accident. Law: exactly one of value and error exists.
#pragma once

#include <meshloom/base/error.hpp>

#include <optional>
#include <string>
#include <utility>

namespace meshloom {

/// Why there is no value: what, where, and the nearest cure.
struct failure {
  std::string sentence;
};

template <class Value>
class result {
 public:
  result(Value value) : value_(std::move(value)) {}
  result(failure why) : why_(std::move(why)) {}

  explicit operator bool() const { return value_.has_value(); }

  /// The value; throws `meshloom::error` with the sentence of the failure if there is none.
  const Value& value() const& {
    require();
    return *value_;
  }
  Value&& value() && {
    require();
    return std::move(*value_);
  }

  /// The sentence of the failure; empty if there is a value.
  const std::string& error() const { return why_.sentence; }

 private:
  void require() const {
    if (!value_) throw meshloom::error(why_.sentence);
  }

  std::optional<Value> value_;
  failure why_;
};

}  // namespace meshloom
