// SPDX-License-Identifier: Apache-2.0
// The bodies of iopddl.hpp.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/planner/iopddl.hpp>

#include <algorithm>
#include <limits>

namespace meshloom {

MESHLOOM_INLINE packed_costs::packed_costs(const vector<std::int64_t>& costs) {
  std::int64_t largest = 0;
  for (const std::int64_t each : costs) largest = std::max(largest, each < iopddl_infinity ? each : 0);
  while (width_ < 8 && largest >= (std::int64_t{1} << (8 * width_)) - 1) width_ = static_cast<std::uint8_t>(2 * width_);
  bytes_.reserve(costs.size() * width_);
  for (const std::int64_t each : costs) {
    auto left = each < iopddl_infinity ? static_cast<std::uint64_t>(each) : ~std::uint64_t{0};
    for (int b = 0; b < width_; ++b, left >>= 8) bytes_.push_back(static_cast<std::uint8_t>(left & 255));
  }
}

MESHLOOM_INLINE std::int64_t packed_costs::operator[](std::size_t number) const {
  const std::uint8_t* const first = bytes_.data() + number * width_;
  std::uint64_t value = 0;
  for (int b = width_; b-- > 0;) value = value << 8 | first[b];
  const std::uint64_t infinite = ~std::uint64_t{0} >> (64 - 8 * width_);
  return value == infinite ? iopddl_infinity : static_cast<std::int64_t>(value);
}

MESHLOOM_INLINE vector<std::int64_t> packed_costs::unpacked() const {
  vector<std::int64_t> costs(size());
  for (std::size_t n = 0; n < costs.size(); ++n) costs[n] = (*this)[n];
  return costs;
}

MESHLOOM_INLINE iopddl_price evaluate(const iopddl_problem& posed, const vector<std::int32_t>& strategies) {
  iopddl_price total;
  const auto refuse = [&](const std::string& why) {
    if (total.fault.empty()) total.fault = why;
  };
  const auto pay = [&](std::int64_t cost, const char* what, std::size_t number) {
    if (cost >= iopddl_infinity) return refuse(what + std::to_string(number) + " costs infinity");
    total.cost += cost;
  };
  if (strategies.size() != posed.nodes.size()) refuse("there is not one strategy per node");
  for (std::size_t n = 0; total.fault.empty() && n < posed.nodes.size(); ++n) {
    const bool known = strategies[n] >= 0 && static_cast<std::size_t>(strategies[n]) < posed.nodes[n].costs.size();
    if (!known) refuse("node " + std::to_string(n) + " has no strategy " + std::to_string(strategies[n]));
  }
  if (!total.fault.empty()) return total;
  vector<std::pair<std::int64_t, std::int64_t>> changes;  // time, usage
  for (std::size_t n = 0; n < posed.nodes.size(); ++n) {
    const iopddl_problem::node& each = posed.nodes[n];
    const auto chosen = static_cast<std::size_t>(strategies[n]);
    pay(each.costs[chosen], "node ", n);
    if (each.lower == each.upper) continue;
    changes.emplace_back(each.lower, each.usages[chosen]);
    changes.emplace_back(each.upper, -each.usages[chosen]);
  }
  for (std::size_t e = 0; e < posed.edges.size(); ++e) {
    const auto left = static_cast<std::size_t>(posed.edges[e].left),
               right = static_cast<std::size_t>(posed.edges[e].right);
    const auto row = static_cast<std::size_t>(strategies[left]), column = static_cast<std::size_t>(strategies[right]);
    pay(posed.edges[e].costs[row * posed.nodes[right].costs.size() + column], "edge ", e);
  }
  std::sort(changes.begin(), changes.end());  // at one time what ends comes before what begins
  wide_integer used = 0;
  for (const auto& [time, usage] : changes) {
    used += usage;
    if (used > total.peak) total.peak = used, total.when = time;
  }
  if (total.peak > posed.usage_limit) refuse("the usage limit is exceeded at time " + std::to_string(total.when));
  total.possible = total.fault.empty();
  return total;
}

namespace detail {

/// The least shift that brings a sum below 2^58.
inline int shift_for(wide_integer sum) {
  int shift = 0;
  while (sum >> shift >= wide_integer{1} << 58) ++shift;
  return shift;
}

/// What all options may cost together, each table's dearest finite one.
MESHLOOM_INLINE wide_integer dearest(const iopddl_problem& posed) {
  wide_integer sum = 0;
  const auto add = [&](const auto& costs) {
    std::int64_t most = 0;
    for (std::size_t k = 0; k < costs.size(); ++k) most = std::max(most, costs[k] < iopddl_infinity ? costs[k] : 0);
    sum += most;
  };
  for (const auto& each : posed.nodes) add(each.costs);
  for (const auto& each : posed.edges) add(each.costs);
  return sum;
}

/// The numbers of the times at which nodes begin or end, in order.
MESHLOOM_INLINE vector<std::int64_t> times_of(const iopddl_problem& posed) {
  vector<std::int64_t> times;
  for (const auto& each : posed.nodes) times.push_back(each.lower), times.push_back(each.upper);
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());
  return times;
}

/// The reader of the format: a position in the text, and one function per thing that can stand there.
class iopddl_reader {
 public:
  explicit iopddl_reader(const text_source& text) : text_(text), buffer_(std::size_t{1} << 20) {}
  iopddl_problem read();

 private:
  using numbers = vector<std::int64_t>;

  [[noreturn]] void fail(const std::string& expected) const;
  int peek();
  void next() { ++at_; }
  int token();
  void expect(char wanted);
  std::string text();
  std::int64_t number();
  void skip(int depth);
  void skip_word();
  template <class Each>
  void object(const Each& each);
  template <class Each>
  void array(const Each& each);
  void fill(numbers& into);
  void pair(const char* what, std::int64_t& first, std::int64_t& second);
  void once(std::uint32_t& seen, std::uint32_t bit, const std::string& key);
  void read_problem();
  void read_nodes();
  void read_edges();
  void assemble();
  void check_nodes() const;

  const text_source& text_;
  vector<char> buffer_;
  std::size_t at_ = 0, end_ = 0;
  std::int64_t before_ = 0, line_ = 1, line_begin_ = 0;  ///< bytes before the buffer, and where the line began
  bool over_ = false;
  iopddl_problem made_;
  vector<std::pair<std::int64_t, std::int64_t>> intervals_, ends_;
  vector<numbers> costs_, usages_;
  vector<packed_costs> tables_;
  std::uint32_t seen_ = 0, seen_in_nodes_ = 0, seen_in_edges_ = 0;
};

MESHLOOM_INLINE void iopddl_reader::fail(const std::string& expected) const {
  const std::int64_t byte = before_ + static_cast<std::int64_t>(at_);
  throw error("line " + std::to_string(line_) + ", column " + std::to_string(byte - line_begin_ + 1) + " (byte " +
              std::to_string(byte) + "): " + expected);
}

/// The next byte, or -1 at the end.
MESHLOOM_INLINE int iopddl_reader::peek() {
  if (at_ == end_ && !over_) {
    before_ += static_cast<std::int64_t>(end_);
    at_ = 0;
    end_ = text_(buffer_.data(), buffer_.size());
    over_ = end_ == 0;
  }
  return over_ ? -1 : static_cast<unsigned char>(buffer_[at_]);
}

/// The next byte that is not blank.
MESHLOOM_INLINE int iopddl_reader::token() {
  for (;; next()) {
    const int c = peek();
    if (c == '\n') ++line_, line_begin_ = before_ + static_cast<std::int64_t>(at_) + 1;
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c;
  }
}

MESHLOOM_INLINE void iopddl_reader::expect(char wanted) {
  if (token() != wanted) fail(std::string("expected '") + wanted + "'" + (over_ ? ", but the text ends" : ""));
  next();
}

/// A string; escapes are kept as they are, none of the keys has any.
MESHLOOM_INLINE std::string iopddl_reader::text() {
  expect('"');
  std::string found;
  for (int c = peek(); c != '"'; c = peek()) {
    if (c < ' ') fail("a string is not closed");
    found += static_cast<char>(c);
    next();
    if (c != '\\') continue;
    if (peek() < ' ') fail("a string is not closed");
    found += static_cast<char>(peek());
    next();
  }
  next();
  return found;
}

MESHLOOM_INLINE std::int64_t iopddl_reader::number() {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  int c = token();
  if (c == '-') fail("a negative number; all numbers are 0 or more");
  if (c < '0' || c > '9') fail(over_ ? "expected a number, but the text ends" : "expected a number");
  const bool zero = c == '0';
  std::int64_t value = 0;
  int digits = 0;
  for (; c >= '0' && c <= '9'; c = peek(), ++digits) {
    if (value > (most - (c - '0')) / 10) fail("a number does not fit in 64 bits");
    value = 10 * value + (c - '0');
    next();
  }
  if (zero && digits > 1) fail("a number begins with a superfluous zero");
  if (c == '.' || c == 'e' || c == 'E') fail("a number is not whole");
  return value;
}

MESHLOOM_INLINE void iopddl_reader::skip_word() {
  std::string word;
  for (int c = token();
       (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '.' || c == '-' || c == '+'; c = peek()) {
    word += static_cast<char>(c);
    next();
    if (word.size() > 400) break;
  }
  const bool number = !word.empty() && (word[0] == '-' || (word[0] >= '0' && word[0] <= '9'));
  if (!number && word != "true" && word != "false" && word != "null") fail("expected a value");
}

/// Passes over a value of any kind.
MESHLOOM_INLINE void iopddl_reader::skip(int depth) {
  if (depth > 100) fail("values are nested more than 100 deep");
  const int c = token();
  if (c == '{') return object([&](const std::string&) { skip(depth + 1); });
  if (c == '[') return array([&] { skip(depth + 1); });
  if (c == '"') return void(text());
  skip_word();
}

template <class Each>
void iopddl_reader::object(const Each& each) {
  expect('{');
  if (token() == '}') return next();
  for (;; next()) {
    const std::string key = text();
    expect(':');
    each(key);
    if (token() == '}') return next();
    if (token() != ',') fail(std::string("expected ',' or '}'") + (over_ ? ", but the text ends" : ""));
  }
}

template <class Each>
void iopddl_reader::array(const Each& each) {
  expect('[');
  if (token() == ']') return next();
  for (;; next()) {
    each();
    if (token() == ']') return next();
    if (token() != ',') fail(std::string("expected ',' or ']'") + (over_ ? ", but the text ends" : ""));
  }
}

MESHLOOM_INLINE void iopddl_reader::fill(numbers& into) {
  into.clear();
  array([&] { into.push_back(number()); });
}

MESHLOOM_INLINE void iopddl_reader::pair(const char* what, std::int64_t& first, std::int64_t& second) {
  int count = 0;
  array([&] {
    const std::int64_t value = number();
    (count == 0 ? first : second) = value;
    if (++count > 2) fail(std::string(what) + ": there must be two numbers");
  });
  if (count < 2) fail(std::string(what) + ": there must be two numbers");
}

MESHLOOM_INLINE void iopddl_reader::once(std::uint32_t& seen, std::uint32_t bit, const std::string& key) {
  if ((seen & bit) != 0) fail("\"" + key + "\" is there twice");
  seen |= bit;
}

MESHLOOM_INLINE iopddl_problem iopddl_reader::read() {
  bool found = false;
  object([&](const std::string& key) {
    if (key != "problem") return skip(0);
    if (found) fail("\"problem\" is there twice");
    found = true;
    read_problem();
  });
  if (token() != -1) fail("something follows after the end of the problem");
  if (!found) fail("there is no \"problem\"");
  assemble();
  return std::move(made_);
}

MESHLOOM_INLINE void iopddl_reader::read_problem() {
  object([&](const std::string& key) {
    if (key == "name") return once(seen_, 1, key), void(made_.name = text());
    if (key == "nodes") return once(seen_, 2, key), read_nodes();
    if (key == "edges") return once(seen_, 4, key), read_edges();
    if (key == "usage_limit") return once(seen_, 8, key), void(made_.usage_limit = number());
    skip(0);
  });
  if ((seen_ & 2) == 0) fail("the problem has no \"nodes\"");
  if ((seen_ & 4) == 0) fail("the problem has no \"edges\"");
  if ((seen_ & 8) == 0) fail("the problem has no \"usage_limit\"");
}

MESHLOOM_INLINE void iopddl_reader::read_nodes() {
  const auto fill_all = [&](vector<numbers>& into) { array([&] { fill(into.emplace_back()); }); };
  object([&](const std::string& key) {
    if (key == "costs") return once(seen_in_nodes_, 1, key), fill_all(costs_);
    if (key == "usages") return once(seen_in_nodes_, 2, key), fill_all(usages_);
    if (key != "intervals") return skip(0);
    once(seen_in_nodes_, 4, key);
    array([&] {
      auto& [lower, upper] = intervals_.emplace_back();
      pair("an interval", lower, upper);
      if (lower > upper) fail("an interval ends before it begins");
    });
  });
  if (seen_in_nodes_ != 7) fail("the nodes need \"costs\", \"usages\" and \"intervals\"");
}

MESHLOOM_INLINE void iopddl_reader::read_edges() {
  numbers costs;
  object([&](const std::string& key) {
    if (key == "costs") {
      once(seen_in_edges_, 1, key);
      return array([&] { fill(costs), tables_.emplace_back(costs); });
    }
    if (key != "nodes") return skip(0);
    once(seen_in_edges_, 2, key);
    array([&] {
      auto& [left, right] = ends_.emplace_back();
      pair("the nodes of an edge", left, right);
    });
  });
  if (seen_in_edges_ != 3) fail("the edges need \"nodes\" and \"costs\"");
}

MESHLOOM_INLINE void iopddl_reader::check_nodes() const {
  const auto differ = [](const std::string& what, std::size_t some, std::size_t others) {
    throw error(what + ": there are " + std::to_string(some) + " of the one and " + std::to_string(others) +
                " of the other");
  };
  if (costs_.size() != intervals_.size()) differ("costs and intervals of nodes", costs_.size(), intervals_.size());
  if (costs_.size() != usages_.size()) differ("costs and usages of nodes", costs_.size(), usages_.size());
  if (ends_.size() != tables_.size()) differ("nodes and costs of edges", ends_.size(), tables_.size());
  for (std::size_t n = 0; n < costs_.size(); ++n) {
    const std::string node = "node " + std::to_string(n);
    if (costs_[n].empty()) throw error(node + " has no strategy");
    if (costs_[n].size() != usages_[n].size())
      differ("costs and usages of " + node, costs_[n].size(), usages_[n].size());
  }
}

MESHLOOM_INLINE void iopddl_reader::assemble() {
  check_nodes();
  for (std::size_t n = 0; n < costs_.size(); ++n) {
    made_.nodes.push_back({intervals_[n].first, intervals_[n].second, std::move(costs_[n]), std::move(usages_[n])});
  }
  const auto count = static_cast<std::int64_t>(made_.nodes.size());
  for (std::size_t e = 0; e < ends_.size(); ++e) {
    const auto [left, right] = ends_[e];
    const std::string edge = "edge " + std::to_string(e);
    for (const std::int64_t node : {left, right}) {
      if (node >= count)
        throw error(edge + " names node " + std::to_string(node) + "; there are " + std::to_string(count));
    }
    const std::size_t pairs = made_.nodes[static_cast<std::size_t>(left)].costs.size() *
                              made_.nodes[static_cast<std::size_t>(right)].costs.size();
    if (tables_[e].size() != pairs) {
      throw error(edge + " has " + std::to_string(tables_[e].size()) + " costs; the strategies of its nodes need " +
                  std::to_string(pairs));
    }
    made_.edges.push_back({static_cast<std::int32_t>(left), static_cast<std::int32_t>(right), std::move(tables_[e])});
  }
}

}  // namespace detail

MESHLOOM_INLINE scaled_intra intra_of(const iopddl_problem& posed) {
  scaled_intra made;
  made.cost_shift = detail::shift_for(detail::dearest(posed));
  wide_integer largest = 0;
  for (const auto& each : posed.nodes) {
    largest += std::min(*std::max_element(each.usages.begin(), each.usages.end()), posed.usage_limit);
  }
  const int shift = detail::shift_for(largest);
  const std::int64_t unit = std::int64_t{1} << shift;
  const auto cost_of = [&](std::int64_t cost) {
    return cost < iopddl_infinity ? picoseconds{cost >> made.cost_shift} : forbidden;
  };
  const vector<std::int64_t> times = detail::times_of(posed);
  const auto moment = [&](std::int64_t time) {
    return static_cast<std::int32_t>(std::lower_bound(times.begin(), times.end(), time) - times.begin());
  };
  for (const auto& each : posed.nodes) {
    intra_choice next{{}, {}, moment(each.lower), moment(each.upper)};
    for (std::size_t k = 0; k < each.costs.size(); ++k) {
      const bool fits = each.lower == each.upper || each.usages[k] <= posed.usage_limit;
      const std::int64_t usage = fits ? each.usages[k] : 0;  // alone too much: cannot be
      made.exact_usages = made.exact_usages && usage % unit == 0;
      next.cost.push_back(fits ? cost_of(each.costs[k]) : forbidden);
      next.size.push_back({(usage >> shift) + (usage % unit != 0)});
    }
    if (each.lower == each.upper) std::fill(next.size.begin(), next.size.end(), bytes{});
    made.posed.choices.push_back(std::move(next));
  }
  for (const auto& each : posed.edges) {
    intra_coupling next{each.left, each.right, {}};
    next.cost.reserve(each.costs.size());
    for (std::size_t k = 0; k < each.costs.size(); ++k) next.cost.push_back(cost_of(each.costs[k]));
    made.posed.couplings.push_back(std::move(next));
  }
  made.posed.limit = bytes{posed.usage_limit >> shift};
  made.posed.end = static_cast<std::int32_t>(times.size());
  return made;
}

MESHLOOM_INLINE iopddl_problem read_iopddl(const text_source& text) { return detail::iopddl_reader(text).read(); }

MESHLOOM_INLINE iopddl_problem read_iopddl(std::string_view text) {
  return read_iopddl([&](char* buffer, std::size_t most) {
    const std::size_t count = text.copy(buffer, most);
    text.remove_prefix(count);
    return count;
  });
}

}  // namespace meshloom
