// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/config.hpp>
#include <meshloom/base/sentence.hpp>

namespace meshloom {

MESHLOOM_INLINE void word::add_to(std::string& text) const {
  if (text_ != nullptr)
    text.append(text_, static_cast<std::size_t>(value_));
  else
    text += std::to_string(value_);
}

MESHLOOM_INLINE std::string sentence(std::initializer_list<word> words) {
  std::string text;
  for (const word& each : words) each.add_to(text);
  return text;
}

}  // namespace meshloom
