// SPDX-License-Identifier: Apache-2.0
// Reading a tree, and the rules that look at all of it: the map, the examples, the top level.
#include "rules.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <set>
#include <sstream>

namespace house {
namespace {

const std::string include_folder = "include/meshloom/";
const std::set<std::string> top_level{"include", "examples", "tests", "bench", "CMakeLists.txt", "README.md", "LICENSE"};

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// What cannot begin a sentence: `et al. 2016` goes on.
bool goes_on(char c) { return std::islower(static_cast<unsigned char>(c)) != 0 || std::isdigit(static_cast<unsigned char>(c)) != 0; }

/// The first sentence of the comment that opens a header.
std::string noun_of(const std::string& text) {
  std::string comment;
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with("// SPDX")) continue;
    if (!line.starts_with("// ")) break;
    comment += (comment.empty() ? "" : " ") + line.substr(3);
  }
  auto end = comment.find(". ");
  while (end != std::string::npos && goes_on(comment[end + 2])) end = comment.find(". ", end + 1);
  return comment.substr(0, end == std::string::npos ? end : end + 1);
}

std::string cell(const std::string& text) {
  std::string made;
  for (const char c : text) made += c == '|' ? "\\|" : std::string(1, c);
  return made;
}

void check_top_level(const tree& files, sentences& found) {
  for (const auto& [path, text] : files) {
    const std::string entry = path.substr(0, path.find('/'));
    if (!entry.starts_with(".") && top_level.count(entry) == 0) found.push_back(entry + " does not belong in the top level");
  }
}

void check_examples(const tree& files, sentences& found) {
  for (const auto& [path, text] : files) {
    const bool example = path.starts_with("examples/");
    if (example && code_of(text).find("detail::") != std::string::npos) found.push_back(path + " uses detail::, which is not public");
  }
}

void check_map(const tree& files, sentences& found) {
  const auto map = files.find(map_path);
  if (map == files.end() || map->second != map_of(files)) {
    found.push_back(map_path + " does not list the headers as they are; make it anew: cmake --build build/tests --target map");
  }
}

/// The names that git is told to ignore at the top level.
std::set<std::string> ignored_by(const std::filesystem::path& top) {
  std::set<std::string> names;
  for (std::string line : lines_of(text_of(top / ".gitignore") + "\n" + text_of(top / ".git/info/exclude"))) {
    if (line.starts_with("/")) line.erase(0, 1);
    if (line.ends_with("/")) line.pop_back();
    names.insert(line);
  }
  return names;
}

}  // namespace

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string code_of(std::string_view text) {
  std::string code;
  const auto blank = [&](std::size_t begin, std::size_t end) {
    for (std::size_t at = begin; at < end && at < text.size(); ++at) code += text[at] == '\n' ? '\n' : ' ';
    return end;
  };
  const auto past = [&](std::string_view mark, std::size_t from) {
    const auto end = text.find(mark, from);
    return end == std::string_view::npos ? text.size() : end + mark.size();
  };
  const auto quoted = [&](std::size_t at) {
    const char mark = text[at];
    for (++at; at < text.size() && text[at] != mark && text[at] != '\n'; ++at) {
      if (text[at] == '\\') ++at;
    }
    return at + 1;
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const bool digits = rest[0] == '\'' && at > 0 && std::isalnum(static_cast<unsigned char>(text[at - 1])) != 0;
    if (rest.starts_with("//")) at = blank(at, std::min(text.find('\n', at), text.size()));
    else if (rest.starts_with("/*")) at = blank(at, past("*/", at + 2));
    else if (rest.starts_with("R\"(")) at = blank(at, past(")\"", at + 3));
    else if (rest[0] == '"' || (rest[0] == '\'' && !digits)) at = blank(at, quoted(at));
    else code += text[at++];
  }
  return code;
}

tree read(const std::filesystem::path& top) {
  tree files;
  const auto ignored = ignored_by(top);
  for (const auto& entry : std::filesystem::directory_iterator(top)) {
    const std::string name = entry.path().filename();
    if (ignored.count(name) == 0 && !entry.is_directory()) files[name] = "";
    if (ignored.count(name) != 0 || !entry.is_directory()) continue;
    files[name + "/"] = "";
    if (name != "include" && name != "examples") continue;
    for (const auto& file : std::filesystem::recursive_directory_iterator(entry)) {
      if (file.is_regular_file()) files[file.path().lexically_relative(top)] = text_of(file.path());
    }
  }
  return files;
}

std::vector<header> headers_of(const tree& files) {
  std::vector<header> headers;
  for (const auto& [path, text] : files) {
    const bool named = path.ends_with(".hpp") || path.ends_with(".inl") || path.ends_with(".cuh");
    if (named && path.starts_with(include_folder)) headers.push_back({path.substr(include_folder.size()), text});
  }
  return headers;
}

std::string map_of(const tree& files) {
  const std::string table = "| header | what it holds |\n|---|---|\n";
  const auto map = files.find(map_path);
  const std::string text = map == files.end() ? "" : map->second;
  std::string made = text.substr(0, text.find(table)) + table;
  for (const header& each : headers_of(files)) {
    if (each.path.ends_with(".inl")) continue;
    made += "| [`" + each.path + "`](" + each.path + ") | " + cell(noun_of(each.text)) + " |\n";
  }
  return made;
}

sentences faults(const tree& files) {
  sentences found;
  const auto headers = headers_of(files);
  check_includes(headers, found);
  check_texts(headers, found);
  check_examples(files, found);
  check_top_level(files, found);
  check_map(files, found);
  return found;
}

}  // namespace house
