// SPDX-License-Identifier: Apache-2.0
#include <meshloom/report/text_table.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace meshloom {
namespace detail {

/// True for the first byte of a letter in UTF-8.
constexpr bool begins_letter(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

inline std::size_t letters_in(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_letter));
}

/// A cell in lines of at most `width` letters, broken behind a space, a dot or an underscore where there is one.
inline vector<std::string> wrapped(std::string_view cell, std::size_t width) {
  vector<std::string> lines;
  while (letters_in(cell) > width) {
    std::size_t end = 0;
    for (std::size_t letters = 0; letters < width || !begins_letter(cell[end]); ++end) {
      letters += begins_letter(cell[end]) ? 1 : 0;
    }
    const std::size_t gap = cell.find_last_of(" ._", end - 1);
    const std::size_t taken = gap == std::string_view::npos ? end : gap + 1;
    lines.emplace_back(cell.substr(0, taken));
    cell.remove_prefix(taken);
  }
  lines.emplace_back(cell);
  return lines;
}

inline std::string padded(const std::string& cell, std::size_t width, bool right) {
  const std::string space(width - letters_in(cell), ' ');
  return right ? space + cell : cell + space;
}

/// How wide each column is: as its widest cell, the widest columns less where the line would be too long.
inline vector<std::size_t> widths_of(const text_table& table) {
  vector<std::size_t> widths;
  for (const text_column& column : table.columns) widths.push_back(letters_in(column.heading));
  for (const auto& row : table.rows) {
    for (std::size_t k = 0; k < widths.size(); ++k) widths[k] = std::max(widths[k], letters_in(row[k]));
  }
  const auto line = [&] {
    std::size_t total = 0;
    for (const std::size_t width : widths) total += width + 2;
    return total;
  };
  while (line() > text_width) --*std::max_element(widths.begin(), widths.end());
  return widths;
}

}  // namespace detail

MESHLOOM_INLINE std::string render(const text_table& table) {
  const auto widths = detail::widths_of(table);
  std::string text;
  const auto add_row = [&](const auto& cell_of) {
    vector<vector<std::string>> cells;
    std::size_t lines = 1;
    for (std::size_t k = 0; k < widths.size(); ++k) {
      cells.push_back(detail::wrapped(cell_of(k), widths[k]));
      lines = std::max(lines, cells.back().size());
    }
    for (std::size_t n = 0; n < lines; ++n) {
      std::string line;
      for (std::size_t k = 0; k < widths.size(); ++k) {
        line += "  " + detail::padded(n < cells[k].size() ? cells[k][n] : "", widths[k], table.columns[k].right);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
  };
  add_row([&](std::size_t k) -> const std::string& { return table.columns[k].heading; });
  for (const auto& row : table.rows) add_row([&](std::size_t k) -> const std::string& { return row[k]; });
  return text;
}

namespace detail {

inline std::string with_decimal(std::int64_t tenths) {
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
}

}  // namespace detail

MESHLOOM_INLINE std::string describe_bytes(bytes size) {
  constexpr const char* units[] = {" KiB", " MiB", " GiB", " TiB"};
  if (size.count < 1024) return std::to_string(size.count) + " B";
  std::int64_t unit = 1024;
  std::size_t name = 0;
  while (name < 3 && size.count / 1024 >= unit) {
    unit *= 1024;
    ++name;
  }
  return detail::with_decimal(size.count / unit * 10 + size.count % unit * 10 / unit) + units[name];
}

MESHLOOM_INLINE std::string describe_share(double share) {
  const auto tenths = static_cast<std::int64_t>(std::min(std::abs(share), 1e12) * 1000 + 0.5);
  return (share < 0 && tenths > 0 ? "-" : "") + detail::with_decimal(tenths) + " %";
}

}  // namespace meshloom
