// SPDX-License-Identifier: Apache-2.0
// Laws of plan/words.hpp: words are names, one to one; rows and orders of one table have different words.
#include <meshloom/plan/words.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

#include <random>
#include <set>

namespace ml = meshloom;

TEST_CASE("a name and its word are one to one") {
  CHECK(ml::word_of("repeat.residual_2[3]") == "repeat.residual_2[3]");
  CHECK(ml::word_of("a b\\") == "a\\20b\\5c");
  CHECK(ml::word_of("\xc3\xa9") == "\xc3\xa9");
  std::mt19937_64 bits(3);
  for (int round = 0; round < 2000; ++round) {
    std::string name(1 + bits() % 6, ' ');
    for (char& letter : name) letter = static_cast<char>(bits() % 256);
    const std::string word = ml::word_of(name);
    CHECK(ml::name_of_word(word) == name);
    CHECK(word.find_first_of(" \t\r\n#=:;|>@,()") == std::string::npos);
  }
  for (const char* none : {"", "\\", "\\2", "\\2g", "\\41", "a b", "\\5C"}) CHECK(!ml::name_of_word(none));
}

TEST_CASE("a text and its line are one to one") {
  CHECK(ml::line_of("2 stages, 1f1b") == "2 stages, 1f1b");
  CHECK(ml::line_of(" a#\\\n\xc3\xa9 ") == "\\20a\\23\\5c\\0a\xc3\xa9\\20");
  std::mt19937_64 bits(5);
  for (int round = 0; round < 2000; ++round) {
    std::string text(bits() % 7, ' ');
    for (char& letter : text) letter = static_cast<char>(bits() % 3 == 0 ? ' ' : bits() % 256);
    const std::string line = ml::line_of(text);
    CHECK(ml::text_of_line(line) == text);
    CHECK(line.find_first_of("\t\r\n#") == std::string::npos);
    CHECK((line.empty() || (line.front() != ' ' && line.back() != ' ')));
  }
  for (const char* none : {"\\", "\\2", "\\2g", "\\41", " a", "a ", "a#", "\t", "\\5C"}) CHECK(!ml::text_of_line(none));
}

TEST_CASE("a time is said in its largest unit, a hash in sixteen digits") {
  CHECK(ml::describe_time({0}) == "0 ps");
  CHECK(ml::describe_time({999}) == "999 ps");
  CHECK(ml::describe_time({1'000}) == "1.0 ns");
  CHECK(ml::describe_time({12'345'678}) == "12.3 us");
  CHECK(ml::describe_time({12'399'999'999}) == "12.3 ms");
  CHECK(ml::describe_time({INT64_MAX}) == "9223372.0 s");
  CHECK(ml::hex_word(0) == "0000000000000000");
  CHECK(ml::hex_word(0x0123456789abcdefu) == "0123456789abcdef");
}

TEST_CASE("the rows of every operator differ in their words") {
  for (const auto& [name, graph] : models::all()) {
    for (const ml::node& at : graph.nodes) {
      std::set<std::string> rows;
      for (int row = 0; row < at.op->choices.count; ++row) {
        rows.insert(ml::describe_row(graph, at, at.op->choices.rows[static_cast<std::size_t>(row)]));
      }
      CHECK_MESSAGE(rows.size() == static_cast<std::size_t>(at.op->choices.count), at.name);
    }
  }
}

TEST_CASE("the strategies of a table differ in rows or in the words of their order") {
  const ml::graph& graph = models::all()[2].graph;
  const ml::node& at = graph.nodes[models::node_named(graph, "loss.sum")];
  for (int rank = 0; rank <= ml::max_mesh_rank; ++rank) {
    ml::stage_plan stage;
    stage.mesh = {rank, {2, 2, 2}};
    for (int axis = 0; axis < rank; ++axis) stage.mesh_axes.push_back(std::string(1, static_cast<char>('a' + axis)));
    std::set<std::pair<decltype(ml::strategy::row), std::string>> said;
    int count = 0;
    ml::for_each_strategy(at.op->choices, rank, [&](const ml::strategy& how) {
      said.insert({how.row, ml::describe_order(at, stage, how)});
      ++count;
    });
    CHECK(said.size() == static_cast<std::size_t>(count));
    // No order of the same rows says anything else.
    const auto known = said;
    for (const auto& [row, words] : known) {
      for (std::uint8_t order = 0; order < ml::cut_orders.size(); ++order) {
        said.insert({row, ml::describe_order(at, stage, {row, order})});
      }
    }
    CHECK(said == known);
  }
}

TEST_CASE("parts of a model with one name are ambiguous") {
  ml::graph whole = models::all()[0].graph;
  CHECK(ml::ambiguity_of(whole).empty());
  whole.values[whole.parameters[1].value].name = whole.values[whole.parameters[0].value].name;
  CHECK(ml::ambiguity_of(whole) == "the model has two of parameter embedding.table; rename one");
  whole = models::all()[0].graph;
  whole.regions[ml::region_id{1}].name = "embedding";
  CHECK(ml::ambiguity_of(whole) == "the model has two of block embedding; rename one");
}
