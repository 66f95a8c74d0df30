// SPDX-License-Identifier: Apache-2.0
// Laws of train/text.hpp: nothing of a text is lost or learnt and held out at once; a target is the byte after each;
// samples are rows of one part, decided by seed, step and row alone; texts that do not do are refused by a sentence.
#include <meshloom/train/text.hpp>

#include "error_of.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <set>

namespace {

namespace ml = meshloom;

/// Random bytes, of all values below `vocab`: any ten of them come but once.
std::string some_bytes(std::size_t count, unsigned vocab = 256) {
  std::mt19937 dice(static_cast<unsigned>(count));
  std::string content(count, ' ');
  for (char& each : content) each = static_cast<char>(dice() % vocab);
  return content;
}

/// A row of a sample as bytes: its inputs, and the last target.
std::string row_of(const ml::text_sample& sample, std::int64_t row, std::int64_t seq) {
  std::string bytes;
  for (std::int64_t at = row * seq; at < (row + 1) * seq; ++at)
    bytes += static_cast<char>(sample.input[static_cast<std::size_t>(at)]);
  return bytes + static_cast<char>(sample.target[static_cast<std::size_t>((row + 1) * seq - 1)]);
}

/// What is wrong with a sample of rows from `part`, or nothing.
std::string fault(const ml::text_sample& sample, std::string_view part, std::int64_t batch, std::int64_t seq) {
  const auto count = static_cast<std::size_t>(batch * seq);
  if (sample.input.size() != count || sample.target.size() != count) return "another size";
  for (std::size_t at = 0; at < count; ++at) {
    const bool last = (at + 1) % static_cast<std::size_t>(seq) == 0;
    for (const std::int32_t token : {sample.input[at], sample.target[at]}) {
      if (token < 0 || token > 255) return "no byte";
    }
    if (!last && sample.target[at] != sample.input[at + 1]) return "a target is not the byte after";
  }
  for (std::int64_t row = 0; row < batch; ++row) {
    if (part.find(row_of(sample, row, seq)) == std::string_view::npos) return "a row is not in the text";
  }
  return "";
}

/// A folder that goes with the test.
struct folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("meshloom_texts_" + std::to_string(std::random_device{}()));
  folder() { std::filesystem::create_directory(path); }
  ~folder() { std::filesystem::remove_all(path); }

  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(path / name, std::ios::binary) << content;
    return (path / name).string();
  }
};

}  // namespace

TEST_CASE("the last tenth is held out, nothing is lost") {
  for (const std::size_t count : {1000u, 1001u, 1009u, 1010u, 4567u}) {
    const std::string content = some_bytes(count);
    const ml::text text(content);
    CHECK(std::string(text.learning()) + std::string(text.held_out()) == content);
    CHECK(text.held_out().size() == count / 10);
  }
}

TEST_CASE("a file is read to the byte") {
  const folder here;
  const std::string content = some_bytes(5000);  // zeros, line ends and all
  const ml::text text = ml::text::read(here.file("all.txt", content));
  CHECK(std::string(text.learning()) + std::string(text.held_out()) == content);
}

TEST_CASE("samples are rows of the learning part, with the byte after each as target") {
  const ml::text text(some_bytes(3000));
  ml::text_sample sample;
  for (const auto& [batch, seq] : {std::pair<std::int64_t, std::int64_t>{1, 12}, {4, 10}, {3, 64}, {16, 12}}) {
    for (std::uint64_t step = 0; step < 50; ++step) {
      text.fill(sample, batch, seq, 9, step);
      CHECK(fault(sample, text.learning(), batch, seq) == "");
    }
  }
}

TEST_CASE("the checker of samples rejects other targets and rows") {
  const ml::text text(some_bytes(3000));
  ml::text_sample right;
  text.fill(right, 4, 12, 0, 0);
  REQUIRE(fault(right, text.learning(), 4, 12) == "");
  for (std::size_t at = 0; at < right.input.size(); ++at) {
    auto wrong = right;
    wrong.target[at] ^= 1;
    CHECK(fault(wrong, text.learning(), 4, 12) != "");
    wrong = right;
    wrong.input[at] -= 256;
    CHECK(fault(wrong, text.learning(), 4, 12) != "");
  }
  CHECK(fault(right, text.held_out(), 4, 12) == "a row is not in the text");
  CHECK(fault(right, text.learning(), 3, 12) == "another size");
}

TEST_CASE("rows begin everywhere in the learning part, first and last place included") {
  const ml::text text(some_bytes(1000));
  constexpr std::int64_t batch = 8, seq = 850;
  std::set<std::size_t> begins;
  ml::text_sample sample;
  for (std::uint64_t step = 0; step < 100; ++step) {
    text.fill(sample, batch, seq, 1, step);
    for (std::int64_t row = 0; row < batch; ++row) begins.insert(text.learning().find(row_of(sample, row, seq)));
  }
  CHECK(begins.size() == text.learning().size() - seq);
  CHECK(*begins.begin() == 0);
  CHECK(*begins.rbegin() + seq + 1 == text.learning().size());
}

TEST_CASE("seed, step and row decide, the batch does not") {
  const std::string content = some_bytes(20000);
  const ml::text text(content), again(content);
  ml::text_sample one, other;
  std::set<std::string> rows;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    for (std::uint64_t step = 0; step < 5; ++step) {
      text.fill(one, 8, 32, seed, step);
      again.fill(other, 3, 32, seed, step);
      for (std::int64_t row = 0; row < 3; ++row) CHECK(row_of(one, row, 32) == row_of(other, row, 32));
      for (std::int64_t row = 0; row < 8; ++row) rows.insert(row_of(one, row, 32));
    }
  }
  CHECK(rows.size() > 190);  // of 200: a few meet by chance
}

TEST_CASE("held-out samples are the held-out part from its beginning, each byte once") {
  for (const auto& [batch, seq] : {std::pair<std::int64_t, std::int64_t>{1, 10}, {3, 7}, {2, 50}, {5, 20}}) {
    const ml::text text(some_bytes(5000));
    ml::text_sample sample;
    std::string seen;
    std::int64_t number = 0;
    for (; text.fill_held_out(sample, batch, seq, number); ++number) {
      CHECK(fault(sample, text.held_out(), batch, seq) == "");
      for (const std::int32_t token : sample.input) seen += static_cast<char>(token);
    }
    CHECK(text.held_out().substr(0, seen.size()) == seen);
    const auto left = static_cast<std::int64_t>(text.held_out().size() - seen.size());
    CHECK(left > 0);
    CHECK(left <= batch * seq);  // the byte after the last one is a target
    const auto before = sample;
    CHECK_FALSE(text.fill_held_out(sample, batch, seq, number));
    CHECK(sample.input == before.input);
  }
}

TEST_CASE("texts that cannot be read, or are too short, are refused by name") {
  const folder here;
  const std::string missing = (here.path / "none.txt").string(), empty = here.file("empty.txt", "");
  CHECK(error_of([&] { ml::text::read(missing); }) ==
        "text: cannot read '" + missing + "'; give the path of a readable text file");
  CHECK(error_of([&] { ml::text::read(empty); }) ==
        "text: '" + empty + "' is empty or cannot be read; give a text file of 1000 bytes or more");
  CHECK(error_of([&] { ml::text::read(here.path.string()); }) ==
        "text: '" + here.path.string() + "' is empty or cannot be read; give a text file of 1000 bytes or more");
  const std::string brief = here.file("short.txt", some_bytes(999));
  CHECK(error_of([&] { ml::text::read(brief); }) ==
        "text: '" + brief + "' has 999 bytes, too few to learn from; give a text of 1000 bytes or more");
  CHECK(error_of([&] { ml::text(std::string()); }) ==
        "text: the text has 0 bytes, too few to learn from; give a text of 1000 bytes or more");
}

TEST_CASE("a text without a sample, or with bytes beyond the vocabulary, is refused with the cure") {
  const ml::text text(some_bytes(2000, 200) + static_cast<char>(200));
  text.require(201, 4, 49);  // 200 bytes are held out: 4 × 49 tokens and one more byte
  text.require(256, 199, 1);
  CHECK(error_of([&] { text.require(200, 4, 49); }) ==
        "text: it has bytes up to 200, but the vocabulary has 200 entries; use 201 or more (256 takes any text)");
  CHECK(error_of([&] { text.require(256, 4, 50); }) ==
        "text: its held-out tenth has 200 bytes, too few for one sample of 4 sequences of 50; give a longer text, "
        "shorter sequences or a smaller batch");
  ml::text_sample sample;
  CHECK(text.fill_held_out(sample, 199, 1, 0));
  CHECK_FALSE(text.fill_held_out(sample, 200, 1, 0));
}
