// SPDX-License-Identifier: Apache-2.0
// Tables: aligned, never too wide, and all the text is there.
#include <meshloom/report/text_table.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string_view>

namespace {

namespace ml = meshloom;

ml::vector<std::string> lines_of(std::string_view text) {
  ml::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::size_t letters_in(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string random_name(std::mt19937& random, int longest) {
  std::string name;
  for (int length = 1 + static_cast<int>(random() % static_cast<unsigned>(longest)); length > 0; --length) {
    name += "abcdefgh._"[random() % 10];
  }
  return name;
}

/// What stands below a heading, row by row: a row begins where its first cell does.
ml::vector<std::string> read_column(const ml::vector<std::string>& lines, std::size_t first, std::size_t end) {
  ml::vector<std::string> cells;
  for (std::size_t n = 1; n < lines.size(); ++n) {
    const bool begins = lines[n].size() > 2 && lines[n][2] == '|';
    std::string piece = lines[n].size() > first ? lines[n].substr(first, end - first) : "";
    piece.erase(piece.find_last_not_of(' ') + 1);
    if (begins) cells.emplace_back();
    cells.back() += piece;
  }
  return cells;
}

}  // namespace

TEST_CASE("random tables are aligned, narrow enough and complete") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const std::size_t columns = 2 + random() % 4;
    ml::text_table table{{{"|"}}, {}};
    for (std::size_t k = 1; k < columns; ++k) table.columns.push_back({"#" + std::to_string(k)});
    for (int r = 0; r < 8; ++r) {
      table.rows.push_back({"|"});
      for (std::size_t k = 1; k < columns; ++k) {
        table.rows.back().push_back(random_name(random, round % 2 == 0 ? 12 : 90));
      }
    }
    const auto lines = lines_of(ml::render(table));
    for (const std::string& line : lines) {
      REQUIRE(line.size() <= ml::text_width);
      CHECK((line.empty() || line.back() != ' '));
    }
    for (std::size_t k = 1; k < columns; ++k) {
      const std::size_t first = lines[0].find("#" + std::to_string(k));
      REQUIRE(first != std::string::npos);
      const std::size_t next = k + 1 < columns ? lines[0].find("#" + std::to_string(k + 1)) : ml::text_width;
      const auto cells = read_column(lines, first, next);
      REQUIRE(cells.size() == table.rows.size());
      for (std::size_t r = 0; r < cells.size(); ++r) CHECK(cells[r] == table.rows[r][k]);
    }
  }
}

TEST_CASE("numbers are aligned to the right, and letters beyond ASCII count once") {
  const ml::text_table table{{{"name"}, {"bytes", true}, {"unit"}}, {{"übung", "7", "B"}, {"a", "1024", "KiB"}}};
  CHECK(ml::render(table) == "  name   bytes  unit\n  übung      7  B\n  a       1024  KiB\n");
  std::string umlauts;
  for (int k = 0; k < 200; ++k) umlauts += "ü";
  std::string together;
  for (const std::string& line : lines_of(ml::render({{{"x"}}, {{umlauts}}}))) {
    CHECK(letters_in(line) <= ml::text_width);
    if (line != "  x") together += line.substr(2);
  }
  CHECK(together == umlauts);
}

TEST_CASE("sizes and shares in words") {
  CHECK(ml::describe_bytes({0}) == "0 B");
  CHECK(ml::describe_bytes({1023}) == "1023 B");
  CHECK(ml::describe_bytes({1024}) == "1.0 KiB");
  CHECK(ml::describe_bytes({1024 * 1024 - 1}) == "1023.9 KiB");
  CHECK(ml::describe_bytes({3 * 1024 * 1024 / 2}) == "1.5 MiB");
  CHECK(ml::describe_bytes({std::int64_t{5} << 30}) == "5.0 GiB");
  CHECK(ml::describe_bytes({std::int64_t{5000} << 40}) == "5000.0 TiB");
  CHECK(ml::describe_share(0) == "0.0 %");
  CHECK(ml::describe_share(0.9734) == "97.3 %");
  CHECK(ml::describe_share(1) == "100.0 %");
  CHECK(ml::describe_share(-0.0123) == "-1.2 %");
  CHECK(ml::describe_share(-0.0001) == "0.0 %");
  CHECK(ml::describe_share(1e300) == "100000000000000.0 %");
}
