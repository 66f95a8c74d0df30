// SPDX-License-Identifier: Apache-2.0
// The house keeps its rules, and the rules are worth something: each planted fault is found, by its own sentence.
#include "rules.hpp"

#include <doctest/doctest.h>

namespace {

const std::string head = "// SPDX-License-Identifier: Apache-2.0\n// A noun. Its law.\n#pragma once\n";

/// A small house without a fault; its map is made when it is checked.
house::tree sound_house() {
  const std::string include = "include/meshloom/";
  return {{include + "base/ids.hpp", head + "#include <compare>\nstruct id {};\n"},
          {include + "op/dot.hpp", head + "#include <meshloom/base/ids.hpp>\n#include <meshloom/op/sum.hpp>\n"},
          {include + "op/sum.hpp", head + "#include <meshloom/base/ids.hpp>\n"},
          {include + "kernel/gemm.hpp", head + "#include <meshloom/op/dot.hpp>\n"},
          {include + "cost/price.hpp", head + "#include <meshloom/op/dot.hpp>\n"},
          {include + "plan/solve.hpp", head + "#include <meshloom/cost/price.hpp>\n#include <meshloom/plan/solve.inl>\n"},
          {include + "plan/solve.inl", "// SPDX-License-Identifier: Apache-2.0\n#include <meshloom/plan/solve.hpp>\n"},
          {include + "exec/mpi.hpp", head + "#include <meshloom/plan/solve.hpp>\n#include <mpi.h>\n"},
          {include + "train/data.hpp", head + "#include <meshloom/base/ids.hpp>\n"},
          {include + "meshloom.hpp", head + "#include <meshloom/plan/solve.hpp>\n"},
          {"examples/gpt.cpp", "// no detail:: here\n#include <meshloom/meshloom.hpp>\n"},
          {"CMakeLists.txt", ""},
          {".gitignore", ""}};
}

house::sentences faults_of(house::tree files) {
  files[house::map_path] = house::map_of(files);
  return house::faults(files);
}

/// The only fault of the sound house after `text` is added to the file at `path`.
void check_only_fault(const std::string& path, const std::string& text, const std::string& sentence) {
  house::tree files = sound_house();
  files[path] += text;
  const auto found = faults_of(files);
  CAPTURE(path);
  CAPTURE(text);
  REQUIRE(found.size() == 1);
  CHECK(found[0].find(sentence) != std::string::npos);
}

std::string function_of(int lines) {
  std::string text = "template <class A>\nstruct s {\n public:\n  void f(int x = {}) {\n";
  for (int line = 2; line < lines; ++line) text += "    if (x) { /* } */ g(\"}\"); }\n";
  return text + "  }\n};\n";
}

}  // namespace

TEST_CASE("this repository keeps the rules of the house") {
  const auto files = house::read(HOUSE_TOP);
  CHECK(house::headers_of(files).size() > 20);
  for (const std::string& sentence : house::faults(files)) FAIL_CHECK(sentence);
}

TEST_CASE("a sound house has no fault") {
  for (const std::string& sentence : faults_of(sound_house())) FAIL_CHECK(sentence);
}

TEST_CASE("includes that break a rule are found") {
  const std::string include = "include/meshloom/";
  check_only_fault(include + "base/ids.hpp", "#include <meshloom/nothing.hpp>\n", "does not exist");
  check_only_fault(include + "kernel/gemm.hpp", "#include <meshloom/plan/solve.hpp>\n", "not on a lower floor");
  check_only_fault(include + "plan/solve.inl", "#include <meshloom/train/data.hpp>\n", "not on a lower floor");
  check_only_fault(include + "loft/x.hpp", head, "no floor");
  check_only_fault(include + "op/dot.hpp", "# include <thread>\n", "too heavy");
  check_only_fault(include + "exec/mpi.hpp", "#include <fmt/format.h>\n", "does not need fmt");
  check_only_fault(include + "exec/host.hpp", head + "#include <mpi.h>\n", "belongs to");
  check_only_fault(include + "op/dot.hpp", "#include \"sum.hpp\"\n", "write <meshloom/...>");
  check_only_fault(include + "meshloom.hpp", "#include <meshloom/exec/mpi.hpp>\n", "the umbrella includes exec/mpi");
}

TEST_CASE("a floor's neighbour is not lower, and a cycle has two members") {
  house::tree files = sound_house();
  files["include/meshloom/kernel/gemm.hpp"] += "#include <meshloom/graph/node.hpp>\n";
  files["include/meshloom/graph/node.hpp"] = head;
  REQUIRE(faults_of(files).size() == 1);
  CHECK(faults_of(files)[0].find("not on a lower floor") != std::string::npos);

  files = sound_house();
  files["include/meshloom/op/sum.hpp"] += "#include <meshloom/op/dot.hpp>\n";
  REQUIRE(faults_of(files).size() == 2);
  CHECK(faults_of(files)[0] == "op/dot includes itself, in a cycle");
  CHECK(faults_of(files)[1] == "op/sum includes itself, in a cycle");
}

TEST_CASE("bodies may be cut in two files: both belong to the header that includes them") {
  house::tree files = sound_house();
  files["include/meshloom/plan/solve.hpp"] += "#include <meshloom/plan/search.inl>\n";
  files["include/meshloom/plan/search.inl"] = files["include/meshloom/plan/solve.inl"];
  CHECK(faults_of(files).empty());

  files["include/meshloom/cost/price.hpp"] += "#include <meshloom/plan/search.inl>\n";
  CHECK(!faults_of(files).empty());

  files = sound_house();
  files["include/meshloom/plan/search.inl"] = files["include/meshloom/plan/solve.inl"];
  REQUIRE(faults_of(files).size() == 1);
  CHECK(faults_of(files)[0] == "plan/search.inl is included by no header");
}

TEST_CASE("a plain folder does not see a kernel, however far away") {
  house::tree files = sound_house();
  files["include/meshloom/plan/far.hpp"] = head + "#include <meshloom/kernel/gemm.hpp>\n";
  files["include/meshloom/program/lower.hpp"] = head + "#include <meshloom/plan/far.hpp>\n";
  const auto found = faults_of(files);
  REQUIRE(found.size() == 2);
  CHECK(found[0].find("plan/far sees kernel/gemm") != std::string::npos);
  CHECK(found[1].find("program/lower sees kernel/gemm") != std::string::npos);
}

TEST_CASE("texts that break a rule are found") {
  const std::string sum = "include/meshloom/op/sum.hpp";
  check_only_fault(sum, "#define MESHLOOM_LOUD 1\n", "has the macro MESHLOOM_LOUD");
  check_only_fault(sum, "#  define MESHLOOM_VERSION 1\n", "has the macro MESHLOOM_VERSION");
  check_only_fault(sum, "#undef small\n", "has the macro small");
  check_only_fault(sum, std::string(500, '\n'), "lines");
  check_only_fault(sum, "const char* home = std::getenv(name);\n", "says getenv");
  check_only_fault(sum, "void f() { std::printf(\"x\"); }\n", "says printf");
  check_only_fault(sum, "// TODO\n", "says TODO");
  check_only_fault("include/meshloom/op/util.hpp", head, "says nothing");
  check_only_fault("include/meshloom/op/bare.hpp", "// SPDX-License-Identifier: Apache-2.0\n#pragma once\n", "no comment");
  check_only_fault("include/meshloom/op/free.hpp", "// A noun.\n// Its law.\n#pragma once\n", "SPDX");
  check_only_fault("include/meshloom/op/often.hpp", "// SPDX-License-Identifier: Apache-2.0\n// A noun.\n", "#pragma once");
  check_only_fault("examples/gpt.cpp", "int x = meshloom::detail::y;\n", "uses detail::");
  check_only_fault("notes.txt", "", "top level");
  check_only_fault("cmake/", "", "top level");
}

TEST_CASE("a word inside a comment, a literal or another word is no fault") {
  house::tree files = sound_house();
  files["include/meshloom/op/sum.hpp"] += "// getenv\n/* printf( */ auto s = \"std::cout\"; int my_getenv = 1'000;\n";
  CHECK(faults_of(files).empty());
}

TEST_CASE("functions are at most 40 lines long") {
  house::tree files = sound_house();
  files["include/meshloom/op/sum.hpp"] += function_of(40);
  CHECK(faults_of(files).empty());
  check_only_fault("include/meshloom/op/sum.hpp", function_of(41), "has a function of 41 lines");
}

TEST_CASE("the median header is short") {
  house::tree files = sound_house();
  for (auto& [path, text] : files) text += path.ends_with(".hpp") ? std::string(150, '\n') : "";
  REQUIRE(faults_of(files).size() == 1);
  CHECK(faults_of(files)[0].find("median") != std::string::npos);
}

TEST_CASE("the map lists exactly the headers there are") {
  house::tree files = sound_house();
  files[house::map_path] = "Some prose.\n";
  files[house::map_path] = house::map_of(files);
  CHECK(files[house::map_path].starts_with("Some prose.\n| header |"));
  CHECK(files[house::map_path].find("(op/dot.hpp) | A noun. |\n") != std::string::npos);
  CHECK(files[house::map_path].find("solve.inl") == std::string::npos);
  CHECK(house::faults(files).empty());

  house::tree added = files, removed = files, reworded = files;
  added["include/meshloom/op/new.hpp"] = head;
  removed.erase("include/meshloom/exec/mpi.hpp");
  reworded["include/meshloom/op/sum.hpp"].replace(head.find("A noun"), 6, "A verb");
  for (const house::tree& stale : {added, removed, reworded}) {
    REQUIRE(house::faults(stale).size() == 1);
    CHECK(house::faults(stale)[0].find("does not list the headers") != std::string::npos);
  }
}
