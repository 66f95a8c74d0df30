// SPDX-License-Identifier: Apache-2.0
// How a header reads: its first lines, its length, the length of its functions, its macros and its words.
#include "rules.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

namespace house {
namespace {

constexpr std::size_t longest_header = 500;
constexpr std::size_t median_header = 150;
constexpr int longest_function = 40;
const std::set<std::string> macros{"MESHLOOM_VERSION", "MESHLOOM_COMPILED", "MESHLOOM_INLINE", "MESHLOOM_DEVICE"};
const std::set<std::string> empty_names{"util", "utils", "helper", "helpers", "manager", "handler", "context", "impl"};
constexpr std::array forbidden_words{"getenv", "std::cout", "std::cerr", "std::clog", "printf", "fprintf", "puts", "std::abort",
                                     "std::exit", "std::terminate", "std::signal", "enable_if", "enable_if_t"};
constexpr std::array unfinished{"TODO", "FIXME", "XXX"};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool has_word(const std::string& text, const std::string& word) {
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const auto end = at + word.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end]))) return true;
  }
  return false;
}

void check_head(const header& each, const std::vector<std::string>& lines, sentences& found) {
  if (lines.empty() || lines[0] != "// SPDX-License-Identifier: Apache-2.0") found.push_back(each.path + " does not begin with its SPDX line");
  if (!each.path.ends_with(".hpp")) return;
  if (lines.size() < 2 || !lines[1].starts_with("// ")) found.push_back(each.path + " has no comment that says what it holds");
  if (std::find(lines.begin(), lines.end(), "#pragma once") == lines.end()) found.push_back(each.path + " lacks #pragma once");
}

void check_macros(const header& each, const std::vector<std::string>& code, sentences& found) {
  for (const std::string& line : code) {
    const auto start = line.find_first_not_of(" \t");
    if (start == std::string::npos || line[start] != '#') continue;
    for (const std::string word : {"define", "undef"}) {
      const auto at = line.find(word, start);
      if (line.find_first_not_of(" \t", start + 1) != at || at == std::string::npos) continue;
      const auto name = line.find_first_not_of(" \t", at + word.size());
      const auto end = std::find_if_not(line.begin() + static_cast<std::ptrdiff_t>(name), line.end(), is_word);
      const std::string macro(line.begin() + static_cast<std::ptrdiff_t>(name), end);
      const bool ours = each.path == "base/config.hpp" && macros.count(macro) != 0;
      if (!ours) found.push_back(each.path + " has the macro " + macro);
    }
  }
}

std::string without_angles(const std::string& text) {
  std::string left;
  int depth = 0;
  for (const char c : text) {
    if (c == '<') ++depth;
    if (depth == 0) left += c;
    if (c == '>' && depth > 0) --depth;
  }
  return left;
}

bool is_access(const std::string& head) {
  return has_word(head, "public") || has_word(head, "private") || has_word(head, "protected");
}

/// Follows braces: a function is a block outside parentheses, in a namespace or a type, whose head has parentheses.
class function_lengths {
 public:
  explicit function_lengths(const std::string& path) : path_(path) {}

  void read(const std::vector<std::string>& code, sentences& found) {
    for (line_ = 1; static_cast<std::size_t>(line_) <= code.size(); ++line_) {
      const std::string& text = code[static_cast<std::size_t>(line_ - 1)];
      if (text.starts_with("#")) continue;
      for (const char c : text) step(c, found);
      head_ += ' ';
    }
  }

 private:
  enum class kind { outside, function, inside };
  struct block { kind what; int line; };

  void step(char c, sentences& found) {
    if (c == '(') ++parentheses_;
    if (c == ')') --parentheses_;
    if (c == ':' && is_access(head_)) return head_.clear();
    if (parentheses_ > 0 || (c != '{' && c != '}' && c != ';')) {
      if (head_.find_first_not_of(' ') == std::string::npos) head_line_ = line_;
      head_ += c;
      return;
    }
    if (c == '{') blocks_.push_back({kind_of_head(), head_line_});
    if (c == '}' && !blocks_.empty()) {
      const block closed = blocks_.back();
      blocks_.pop_back();
      const int length = line_ - closed.line + 1;
      if (closed.what == kind::function && length > longest_function) {
        found.push_back(path_ + ":" + std::to_string(closed.line) + " has a function of " + std::to_string(length) + " lines");
      }
    }
    head_.clear();
  }

  kind kind_of_head() const {
    if (!blocks_.empty() && blocks_.back().what != kind::outside) return kind::inside;
    const std::string head = without_angles(head_);
    const std::string name = head.substr(0, head.find('('));
    for (const char* word : {"namespace", "struct", "class", "union", "enum"}) {
      if (has_word(name, word)) return kind::outside;
    }
    return name.size() < head.size() ? kind::function : kind::inside;
  }

  std::string path_;
  std::string head_;
  std::vector<block> blocks_;
  int line_ = 1;
  int head_line_ = 1;
  int parentheses_ = 0;
};

void check_words(const header& each, const std::string& code, sentences& found) {
  for (const char* word : forbidden_words) {
    if (has_word(code, word)) found.push_back(each.path + " says " + word);
  }
  for (const char* word : unfinished) {
    if (has_word(each.text, word)) found.push_back(each.path + " says " + word);
  }
  const auto slash = each.path.rfind('/');
  const std::string file = each.path.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string noun = file.substr(0, file.find('.'));
  if (empty_names.count(noun) != 0) found.push_back(each.path + " is named " + noun + ", which says nothing");
}

}  // namespace

void check_texts(const std::vector<header>& headers, sentences& found) {
  std::vector<std::size_t> lengths;
  for (const header& each : headers) {
    const auto lines = lines_of(each.text);
    const std::string code = code_of(each.text);
    lengths.push_back(lines.size());
    if (lines.size() > longest_header) found.push_back(each.path + " has " + std::to_string(lines.size()) + " lines");
    check_head(each, lines, found);
    check_macros(each, lines_of(code), found);
    function_lengths(each.path).read(lines_of(code), found);
    check_words(each, code, found);
  }
  if (lengths.empty()) return;
  const auto middle = lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 2);
  std::nth_element(lengths.begin(), middle, lengths.end());
  if (*middle > median_header) found.push_back("the median header has " + std::to_string(*middle) + " lines");
}

}  // namespace house
