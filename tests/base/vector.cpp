// SPDX-License-Identifier: Apache-2.0
// Laws of base/vector.hpp: whatever is done to one, it holds what a std::vector would hold; every element that begins
// to live ends, whatever is thrown; and what is put in may lie in the vector itself.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <random>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace meshloom;

namespace {

/// Counts the lives that began and have not ended, and throws where a copy is the last that it may make.
struct counted {
  static inline int alive = 0;
  static inline int copies_left = -1;  ///< negative: any number

  int value;
  std::unique_ptr<int> own = std::make_unique<int>(0);  ///< so that a life that ends twice, or never, is seen

  counted(int of = 0) : value(of) { ++alive; }
  counted(const counted& other) : value(other.value) {
    if (copies_left == 0) throw std::runtime_error("no more copies");
    if (copies_left > 0) --copies_left;
    ++alive;
  }
  counted(counted&& other) noexcept : value(other.value), own(std::move(other.own)) { ++alive; }
  counted& operator=(const counted& other) {
    value = other.value;
    return *this;
  }
  counted& operator=(counted&& other) noexcept = default;
  ~counted() { --alive; }

  auto operator<=>(const counted& other) const { return value <=> other.value; }
  bool operator==(const counted& other) const { return value == other.value; }
};

std::int64_t element(std::int64_t n, std::int64_t) { return n; }
std::string element(std::int64_t n, const std::string&) { return std::string(static_cast<std::size_t>(n % 40), 'x'); }
counted element(std::int64_t n, const counted&) { return counted(static_cast<int>(n)); }
vector<int> element(std::int64_t n, const vector<int>&) {
  return vector<int>(static_cast<std::size_t>(n % 5), static_cast<int>(n));
}
bool element(std::int64_t n, bool) { return n % 3 == 0; }

template <class Element>
bool same(const vector<Element>& one, const std::vector<Element>& other) {
  return one.size() == other.size() && one.empty() == other.empty() && one.capacity() >= one.size() &&
         std::equal(one.begin(), one.end(), other.begin()) && std::equal(one.rbegin(), one.rend(), other.rbegin());
}

/// A place in both, and what may be put there.
template <class Element>
struct change {
  std::size_t at, count;
  Element value;
  std::vector<Element> row = std::vector<Element>(count, value);
  std::list<Element> linked = std::list<Element>(count, value);

  void put(vector<Element>& one, std::vector<Element>& other, std::size_t how) const {
    const auto place = other.begin() + static_cast<std::ptrdiff_t>(at);
    const Element* made = nullptr;
    switch (how) {
      case 0:
        one.push_back(value), other.push_back(value);
        break;
      case 1:
        one.emplace_back(Element(value)), other.emplace_back(Element(value));
        break;
      case 2:
        made = one.insert(one.begin() + at, value), other.insert(place, value);
        break;
      case 3:
        made = one.insert(one.begin() + at, count, value), other.insert(place, count, value);
        break;
      case 4:
        made = one.insert(one.begin() + at, row.begin(), row.end()), other.insert(place, row.begin(), row.end());
        break;
      case 5:
        made = one.insert(one.begin() + at, linked.begin(), linked.end());
        other.insert(place, linked.begin(), linked.end());
        break;
      default:
        made = one.insert(one.begin() + at, {value, value}), other.insert(place, {value, value});
    }
    if (made != nullptr) CHECK(made == one.begin() + at);
  }

  void set(vector<Element>& one, std::vector<Element>& other, std::size_t how) const {
    switch (how) {
      case 0:
        one.resize(at + count), other.resize(at + count);
        break;
      case 1:
        one.resize(at + count, value), other.resize(at + count, value);
        break;
      case 2:
        one.reserve(at + 10 * count), other.reserve(at + 10 * count);
        break;
      case 3:
        one.assign(linked.begin(), linked.end()), other.assign(linked.begin(), linked.end());
        break;
      default:
        one.assign(at, value), other.assign(at, value);
    }
  }

  void remove(vector<Element>& one, std::vector<Element>& other, std::size_t how) const {
    const auto place = other.begin() + static_cast<std::ptrdiff_t>(at);
    const std::size_t gone = std::min(count, other.size() - at);
    switch (how) {
      case 0:
        CHECK(erase(one, value) == static_cast<std::size_t>(std::erase(other, value)));
        break;
      case 1:
        if (!other.empty()) one.pop_back(), other.pop_back();
        break;
      default:
        const Element* const after = one.erase(one.begin() + at, one.begin() + at + gone);
        CHECK(after == one.begin() + at);
        other.erase(place, place + static_cast<std::ptrdiff_t>(gone));
    }
  }
};

/// One random operation on both.
template <class Element>
void change_both(vector<Element>& one, std::vector<Element>& other, std::mt19937& random) {
  const auto below = [&](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
  };
  const std::size_t how = below(15);
  const change<Element> next{below(other.size() + 1), below(5),
                             element(static_cast<std::int64_t>(below(1000)), Element{})};
  if (how < 7)
    next.put(one, other, how);
  else if (how < 12)
    next.set(one, other, how - 7);
  else
    next.remove(one, other, how - 12);
}

/// A tree holds trees: a vector may be of a type that is not yet complete.
struct tree {
  vector<tree> branches;
};

struct base {
  int one = 1;
};
struct derived : base {
  int two = 2;
};

// Only of elements of the very type, whose size is the same.
static_assert(std::is_convertible_v<std::vector<base>, vector<base>>);
static_assert(!std::is_constructible_v<vector<base>, std::vector<derived>>);
static_assert(!std::is_constructible_v<vector<base>, vector<derived>>);

}  // namespace

TEST_CASE_TEMPLATE("what is done to a vector and to a std::vector makes them hold the same", Element, std::int64_t,
                   std::string, counted, vector<int>, bool) {
  std::mt19937 random(11);
  for (int round = 0; round < 20; ++round) {
    vector<Element> one, before;
    std::vector<Element> other, known;
    for (int step = 0; step < 200; ++step) {
      change_both(one, other, random);
      REQUIRE(same(one, other));
      const bool larger = std::lexicographical_compare(known.begin(), known.end(), other.begin(), other.end());
      CHECK((before < one) == larger);
      CHECK((before == one) == (known == other));
      if (step % 7 == 0) {
        before = one;
        known = other;
      }
      if (step % 50 == 0) one = vector<Element>(before);
      if (step % 50 == 0) other = known;
    }
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("what is put in may be an element of the vector itself") {
  const auto text = [](std::size_t n) { return "longer than what a string keeps within itself, " + std::to_string(n); };
  for (std::size_t size = 1; size < 20; ++size) {
    vector<std::string> names;
    std::vector<std::string> known;
    for (std::size_t n = 0; n < size; ++n) names.push_back(text(n)), known.push_back(text(n));
    names.push_back(names[0]), known.push_back(text(0));
    names.push_back(std::move(names[0])), known.push_back(text(0));
    names[0] = known[0];
    names.emplace_back(names[size / 2]), known.push_back(text(size / 2));
    names.insert(names.begin(), names[size / 2]), known.insert(known.begin(), text(size / 2));
    names.insert(names.begin() + 1, 3, names[1]), known.insert(known.begin() + 1, 3, text(0));
    CHECK(same(names, known));
    const std::size_t all = 2 * names.capacity();
    names.resize(all, names[1]), known.resize(all, text(0));
    CHECK(same(names, known));
    names = *&names;
    names = std::move(*&names);
    CHECK(same(names, known));
    names.assign(5, names.back());
    CHECK(names == vector<std::string>(5, text(0)));
  }
}

TEST_CASE("what is assigned may lie in an element of the vector") {
  const auto grown = [] {
    tree root;
    root.branches.resize(3);
    root.branches[1].branches.resize(2);
    root.branches[1].branches[0].branches.resize(4);
    return root;
  };
  tree root = grown();
  root.branches = root.branches[1].branches;
  CHECK((root.branches.size() == 2 && root.branches[0].branches.size() == 4));
  root = grown();
  root.branches = std::move(root.branches[1].branches);
  CHECK((root.branches.size() == 2 && root.branches[0].branches.size() == 4));
  root = grown();
  root = std::move(root.branches[1]);
  CHECK((root.branches.size() == 2 && root.branches[0].branches.size() == 4));
}

TEST_CASE("moving a vector moves no element, and leaves none") {
  vector<counted> from(3, counted(7));
  const counted* const first = from.data();
  vector<counted> to = std::move(from);
  CHECK(to.data() == first);
  CHECK((from.empty() && from.capacity() == 0));
  vector<counted> third(5);
  third = std::move(to);
  CHECK((third.data() == first && to.empty() && counted::alive == 3));
  third.swap(to);
  CHECK((to.data() == first && third.empty()));
  third = vector<counted>{};
  to = vector<counted>{};
  CHECK(counted::alive == 0);
}

TEST_CASE("where a copy throws, every element that lived ends") {
  counted::copies_left = -1;
  {
    const vector<counted> source(10, counted(3));
    vector<counted> kept(2, counted(1));
    kept.reserve(20);
    counted::copies_left = 4;
    CHECK_THROWS_AS(vector<counted>{source}, std::runtime_error);
    CHECK(counted::alive == 12);
    counted::copies_left = 4;
    CHECK_THROWS_AS(kept.insert(kept.end(), source.begin(), source.end()), std::runtime_error);
    CHECK((kept.size() == 6 && kept.front() == counted(1) && kept.back() == counted(3)));
    counted::copies_left = 0;
    CHECK_THROWS_AS(kept.push_back(source[0]), std::runtime_error);
    kept.resize(kept.capacity());
    CHECK_THROWS_AS(kept.push_back(source[0]), std::runtime_error);
    CHECK_THROWS_AS(kept.resize(100, source[0]), std::runtime_error);
    CHECK_THROWS_AS((vector<counted>(3, source[0])), std::runtime_error);
    CHECK((kept.size() == kept.capacity() && kept.front() == counted(1)));
    counted::copies_left = 3;
    CHECK_THROWS_AS(kept = source, std::runtime_error);
    CHECK((kept.size() == kept.capacity() && kept.front() == counted(1)));
    counted::copies_left = 3;
    vector<counted> middle(1);
    middle.emplace_back(5);
    CHECK_THROWS_AS(middle.insert(middle.begin() + 1, source.begin(), source.end()), std::runtime_error);
    CHECK((middle.size() == 5 && middle[1] == counted(5) && middle[2] == counted(3)));
  }
  counted::copies_left = -1;
  CHECK(counted::alive == 0);
}

TEST_CASE("more than there is memory for throws, and leaves the vector as it was") {
  vector<std::int64_t> numbers{1, 2, 3};
  CHECK_THROWS_AS(numbers.reserve(PTRDIFF_MAX), std::bad_alloc);
  CHECK_THROWS_AS(numbers.resize(SIZE_MAX / 8 + 2), std::bad_alloc);
  numbers.reserve(8);
  CHECK_THROWS_AS(numbers.insert(numbers.end(), SIZE_MAX - 1, 7), std::bad_alloc);
  CHECK_THROWS_AS(vector<bool>(SIZE_MAX), std::bad_alloc);
  CHECK(numbers == vector<std::int64_t>{1, 2, 3});
}

TEST_CASE("`at` refuses an index that is none") {
  vector<int> numbers{1, 2, 3};
  CHECK((numbers.at(2) == 3 && std::as_const(numbers).at(0) == 1));
  CHECK_THROWS_WITH_AS(numbers.at(3), "meshloom::vector: there is no element 3 of 3", std::out_of_range);
  CHECK_THROWS_AS(std::as_const(numbers).at(3), std::out_of_range);
}

TEST_CASE("elements that are only moved, are not complete, or are bools") {
  vector<std::unique_ptr<int>> pointers;
  for (int n = 0; n < 100; ++n) pointers.insert(pointers.begin(), std::make_unique<int>(n));
  CHECK((*pointers.front() == 99 && *pointers.back() == 0));
  CHECK(erase_if(pointers, [](const auto& each) { return *each % 2 == 0; }) == 50);
  tree root;
  root.branches.resize(3);
  root.branches[1].branches.resize(2);
  const tree copy = root;
  CHECK(copy.branches[1].branches.size() == 2);
  vector<bool> flags(3, false);
  bool& second = flags[1];
  second = true;
  CHECK(flags == vector<bool>{false, true, false});
}

TEST_CASE("a vector is made of what lies in a row elsewhere, or comes one by one") {
  const std::vector<int> standard{1, 2, 3};
  const std::array<int, 3> fixed{1, 2, 3};
  const vector<int> one = standard, two = fixed, three = std::span<const int>(standard);
  CHECK((one == two && two == three && three == vector{1, 2, 3}));
  const vector<derived> several(3);
  const vector<base> parts(several.begin(), several.end());
  CHECK((parts.size() == 3 && parts[1].one == 1));
  std::istringstream text("1 2 3");
  CHECK(vector<int>(std::istream_iterator<int>(text), std::istream_iterator<int>()) == one);
  CHECK(std::vector<int>(one.begin(), one.end()) == standard);
  CHECK(std::span<const int>(one).size() == 3);
}

TEST_CASE("room doubles, so that putting elements in one by one moves each a few times at most") {
  vector<std::int64_t> numbers;
  int moves = 0;
  const std::int64_t* first = nullptr;
  for (int n = 0; n < 100'000; ++n) {
    if (n % 2 == 0)
      numbers.push_back(n);
    else
      numbers.resize(numbers.size() + 1);
    moves += numbers.data() != first;
    first = numbers.data();
  }
  CHECK(moves <= 18);
  numbers = {};
  numbers.reserve(200'000);
  first = numbers.data();
  for (int n = 0; n < 200'000; ++n) numbers.push_back(n);
  CHECK(numbers.data() == first);
}

TEST_CASE("one element is taken out, and iterators go from the first to behind the last") {
  vector<int> numbers{1, 2, 3, 4};
  CHECK(*numbers.erase(numbers.begin() + 1) == 3);
  CHECK(numbers == vector<int>{1, 3, 4});
  CHECK((numbers.cend() - numbers.cbegin() == 3 && *numbers.cbegin() == 1));
  numbers = {7, 8};
  CHECK((numbers.front() == 7 && numbers.back() == 8 && numbers.size() == 2));
}
