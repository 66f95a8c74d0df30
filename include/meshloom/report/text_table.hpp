// SPDX-License-Identifier: Apache-2.0
// A table of text: cells in rows under headings, aligned.
// Law: no line of a rendered table is wider than `text_width`, columns begin at the same place in all, no text is lost.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/units.hpp>
#include <meshloom/base/vector.hpp>

#include <cstddef>
#include <string>

namespace meshloom {

inline constexpr std::size_t text_width = 120;

struct text_column {
  std::string heading;
  bool right = false;  ///< aligned to the right: numbers
};

struct text_table {
  vector<text_column> columns;
  vector<vector<std::string>> rows;  ///< as many cells each as there are columns
};

/// Headings, then the rows, indented by two. Where the table is too wide, cells of its widest columns go on in a line
/// below.
std::string render(const text_table& table);

/// "640 B", "1.5 MiB": the largest unit of which it is one or more, with one decimal.
std::string describe_bytes(bytes size);

/// "97.3 %", "-0.4 %"
std::string describe_share(double share);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/text_table.inl>
#endif
