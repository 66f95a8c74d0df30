// SPDX-License-Identifier: Apache-2.0
// The trace, read back by a small strict JSON parser: every event is there, with its stage, rank, times and name.
#include <meshloom/report/timeline.hpp>

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <stdexcept>
#include <variant>

namespace {

namespace ml = meshloom;

struct json {
  std::variant<std::string, double, ml::vector<json>, std::map<std::string, json>> is;
  const std::string& text() const { return std::get<std::string>(is); }
  double number() const { return std::get<double>(is); }
  const ml::vector<json>& list() const { return std::get<ml::vector<json>>(is); }
  const json& operator[](const std::string& key) const { return std::get<std::map<std::string, json>>(is).at(key); }
};

/// RFC 8259 without literals, which a trace does not have; throws where the text is none.
class json_reader {
 public:
  explicit json_reader(std::string_view text) : text_(text) {}

  json read() {
    json whole = value();
    space();
    if (at_ != text_.size()) fail("text behind the end");
    return whole;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const { throw std::runtime_error(why + " at " + std::to_string(at_)); }
  void space() {
    while (at_ < text_.size() && std::string_view(" \n\r\t").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  char peek() {
    if (at_ == text_.size()) fail("the text ends");
    return text_[at_];
  }
  char next() {
    const char letter = peek();
    ++at_;
    return letter;
  }
  void expect(char wanted) {
    if (next() != wanted) fail(std::string("no ") + wanted);
  }
  json value() {
    space();
    if (peek() == '{') return {object()};
    if (peek() == '[') return {array()};
    if (peek() == '"') return {string()};
    return {number()};
  }
  std::map<std::string, json> object() {
    std::map<std::string, json> made;
    for (expect('{'), space(); peek() != '}'; space()) {
      if (!made.empty()) expect(',');
      space();
      const std::string key = string();
      space();
      expect(':');
      if (!made.emplace(key, value()).second) fail("a key twice");
    }
    expect('}');
    return made;
  }
  ml::vector<json> array() {
    ml::vector<json> made;
    for (expect('['), space(); peek() != ']'; space()) {
      if (!made.empty()) expect(',');
      made.push_back(value());
    }
    expect(']');
    return made;
  }
  std::string string() {
    std::string made;
    for (expect('"'); peek() != '"';) {
      const char letter = next();
      if (static_cast<unsigned char>(letter) < 0x20) fail("a control letter in a string");
      made += letter == '\\' ? escaped() : letter;
    }
    expect('"');
    return made;
  }
  char escaped() {
    const char letter = next();
    if (letter == '"' || letter == '\\' || letter == '/') return letter;
    if (letter != 'u') fail("an escape that is none");
    int code = 0;
    for (int digit = 0; digit < 4; ++digit) {
      const auto place = std::string_view("0123456789abcdef").find(next());
      if (place == std::string_view::npos) fail("no hex digit");
      code = code * 16 + static_cast<int>(place);
    }
    return static_cast<char>(code);
  }
  double number() {
    const std::size_t first = at_;
    if (peek() == '-') ++at_;
    const auto digits = [this] {
      const std::size_t begin = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
      if (at_ == begin) fail("no digit");
      return at_ - begin;
    };
    const std::size_t begin = at_;
    if (digits() > 1 && text_[begin] == '0') fail("a leading zero");
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      digits();
    }
    return std::stod(std::string(text_.substr(first, at_ - first)));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

json parsed(std::string_view text) { return json_reader(text).read(); }

/// Two stages, of two ranks and of one, and a message; names as nasty as they can be.
ml::program some_program() {
  ml::program whole;
  whole.ranks = 3;
  whole.micro_batches = 2;
  ml::stage_program first, second;
  first.mesh = {1, {2, 1, 1}};
  first.mesh_axes = {"da\"ta"};
  first.bodies[0] = {
      {.kind = ml::instruction::load, .name = "in\\put\n"},
      {.kind = ml::instruction::redistribute, .name = "tab\tle \x01", .how = ml::collective::all_gather}};
  first.bodies[1] = {{.name = "größe"}};
  second.first_rank = 2;
  second.bodies[0] = {{.name = "{\"last\":[1,2]}"}};
  second.bodies[1] = {{.name = "{\"last\":[1,2]}", .again = true}};
  whole.stages.add(first);
  whole.stages.add(second);
  whole.transfers.push_back({"acti\"vation", {0, ml::pass::forward, 1, ml::pass::backward}});
  return whole;
}

ml::vector<ml::event> random_events(std::mt19937& random, std::size_t count) {
  const auto below = [&random](int end) { return static_cast<std::int32_t>(random() % static_cast<unsigned>(end)); };
  ml::vector<ml::event> events;
  while (events.size() < count) {
    ml::event each{.rank = below(3), .kind = static_cast<ml::action::kind_type>(below(3)), .micro_batch = below(2)};
    if (each.kind == ml::action::run && each.rank < 2) each.index = below(2);
    if (each.kind == ml::action::run && each.rank < 2 && each.index == 0) each.instruction = below(2);
    each.begin = {static_cast<std::int64_t>(random()) * 1000 + below(1000)};
    each.end = each.begin + ml::picoseconds{below(2'000'000)};
    events.push_back(each);
  }
  return events;
}

}  // namespace

TEST_CASE("the parser is strict") {
  CHECK(parsed(R"({"a":[1,-2.50,"x\\\"\u000a"]})")["a"].list()[2].text() == "x\\\"\n");
  for (const char* wrong : {"", "{", "{\"a\":1,}", "[1 2]", "[01]", "[1.]", "\"\n\"", "\"\\x\"", "{\"a\":1}}",
                            "{\"a\":1,\"a\":2}", "nan"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(parsed(wrong), std::runtime_error);
  }
}

TEST_CASE("every event is a slice of its rank, in its stage, with its times") {
  const ml::program whole = some_program();
  std::mt19937 random(3);
  const auto events = random_events(random, 200);
  const json trace = parsed(ml::chrome_trace(whole, events));
  std::size_t seen = 0;
  for (const json& entry : trace["traceEvents"].list()) {
    if (entry["ph"].text() == "M") continue;
    REQUIRE(seen < events.size());
    const ml::event& each = events[seen++];
    CHECK(entry["ph"].text() == "X");
    CHECK(entry["name"].text() == name_of(whole, each));
    CHECK(entry["pid"].number() == (each.rank < 2 ? 0 : 1));
    CHECK(entry["tid"].number() == each.rank);
    CHECK(entry["ts"].number() * 1e6 == doctest::Approx(static_cast<double>(each.begin.count)));
    CHECK(entry["dur"].number() * 1e6 == doctest::Approx(static_cast<double>((each.end - each.begin).count)));
    CHECK(entry["args"]["micro-batch"].number() == each.micro_batch);
    const bool backward = each.kind == ml::action::receive || (each.kind == ml::action::run && each.index == 1);
    CHECK(entry["args"]["pass"].text() == (backward ? "backward" : "forward"));
  }
  CHECK(seen == events.size());
}

TEST_CASE("stages and ranks have names, instructions categories") {
  const ml::program whole = some_program();
  const ml::vector<ml::event> events{
      {.rank = 0, .instruction = 0}, {.rank = 0, .instruction = 1},         {.rank = 2},
      {.rank = 2, .index = 1},       {.rank = 1, .kind = ml::action::send}, {.rank = 2, .kind = ml::action::receive}};
  const json trace = parsed(ml::chrome_trace(whole, events));
  ml::vector<std::string> names, categories;
  for (const json& entry : trace["traceEvents"].list()) {
    if (entry["ph"].text() == "M")
      names.push_back(entry["name"].text() + ": " + entry["args"]["name"].text());
    else
      categories.push_back(entry["cat"].text());
  }
  CHECK(names == ml::vector<std::string>{"process_name: stage 0 (da\"ta=2)", "thread_name: rank 0",
                                         "thread_name: rank 1", "process_name: stage 1", "thread_name: rank 2"});
  CHECK(categories == ml::vector<std::string>{"load", "all_gather", "compute", "recompute", "send", "receive"});
}

TEST_CASE("times are exact to the picosecond, and an empty trace is one") {
  const ml::program whole = some_program();
  const ml::vector<ml::event> events{{.rank = 0, .begin = {1'000'001}, .end = {123'456'789'012'345}}};
  const std::string text = ml::chrome_trace(whole, events);
  CHECK(text.find("\"ts\":1.000001,\"dur\":123456788.012344,") != std::string::npos);
  CHECK(parsed(ml::chrome_trace(whole, {}))["traceEvents"].list().size() == 5);
}
