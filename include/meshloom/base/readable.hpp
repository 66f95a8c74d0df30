// SPDX-License-Identifier: Apache-2.0
// A sentence fit to be read, whatever the file that it quotes is made of: one line of printable UTF-8, never long.
// Errors are shown in terminals and logs, where a control character in a broken file would do as it pleases.
// Law: readable(readable(s)) = readable(s), and a short line of printable characters stays as it is.
#pragma once

#include <string>
#include <string_view>

namespace meshloom {

/// Each byte that belongs to no printable character becomes \ and two hex digits; what then exceeds 1000 bytes loses
/// its middle, as it begins with what is wrong and ends with the cure.
std::string readable(std::string_view sentence);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/base/readable.inl>
#endif
