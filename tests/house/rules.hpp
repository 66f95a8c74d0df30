// SPDX-License-Identifier: Apache-2.0
// The rules of the house: functions from a tree of files to the sentences that say what breaks a rule. A tree is plain
// data, so that a faulty one can be planted in a test.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace house {

/// The text of each file, by its path from the top of the repository.
using tree = std::map<std::string, std::string>;
using sentences = std::vector<std::string>;

/// The files of include/ and examples/, and an empty text for every other entry of the top level.
tree read(const std::filesystem::path& top);

/// Everything that breaks a rule.
sentences faults(const tree& files);

/// The map of the code with its table made anew: one line per header, the first sentence of its comment.
std::string map_of(const tree& files);

inline const std::string map_path = "include/meshloom/README.md";

// The rules, by theme. Paths: a header is named from its folder, as it is included ("planner/inter.hpp").
struct header {
  std::string path;  ///< "planner/inter.hpp"
  std::string text;
};
std::vector<header> headers_of(const tree& files);  ///< .hpp, .inl and .cuh below include/meshloom

void check_includes(const std::vector<header>& headers, sentences& found);
void check_texts(const std::vector<header>& headers, sentences& found);

/// The same text with comments and literals blanked out, line for line.
std::string code_of(std::string_view text);

/// The lines of a text.
std::vector<std::string> lines_of(std::string_view text);

}  // namespace house
