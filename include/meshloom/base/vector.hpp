// SPDX-License-Identifier: Apache-2.0
// The sequence that the library keeps its data in: std::vector's interface as far as it is used here. It exists for
// compile time: two of five functions that g++ made of a header-only program were std::vector's and what those call,
// made anew for every type of element. Here growth and memory are functions that are compiled once for all types. An
// iterator is a pointer, and `vector<bool>` holds bools that can be referred to.
#pragma once

#include <meshloom/base/config.hpp>

#include <algorithm>
#include <compare>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <new>
#include <type_traits>
#include <utility>

namespace meshloom {

namespace detail {

/// Moves `count` elements to memory without any, and ends those that they were moved from.
using relocation = void(void* from, void* to, std::size_t count) noexcept;

/// What of a vector does not depend on the type of its elements. Whoever holds it begins and ends their lives.
class element_storage {
 public:
  element_storage() = default;
  element_storage(element_storage&& other) noexcept
      : first(std::exchange(other.first, nullptr)),
        size(std::exchange(other.size, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  element_storage& operator=(element_storage&& other) noexcept;
  ~element_storage() { ::operator delete(first); }

  std::size_t capacity() const noexcept { return capacity_; }
  /// Makes room for `more` elements of `bytes` each behind the others; if there is none, for twice as many as before at
  /// least. Without a `relocation` elements are moved as bytes.
  void make_room(std::size_t more, std::size_t bytes, relocation* relocate);
  /// Puts `count` elements that are nothing but their bytes behind the others.
  void append(const void* from, std::size_t count, std::size_t bytes);
  /// The index itself, if there is such an element; otherwise throws std::out_of_range.
  std::size_t held(std::size_t index) const;

  void* first = nullptr;
  std::size_t size = 0;

 private:
  std::size_t capacity_ = 0;
};

/// Of the very type, whose size is the same.
template <class Row, class Element>
concept row_of = requires(const Row& row) {
  { *row.data() } -> std::same_as<const Element&>;
  { row.size() } -> std::convertible_to<std::size_t>;
};

}  // namespace detail

/// Elements in a row. Where memory runs out, std::bad_alloc is thrown. Whatever throws, the elements that were there
/// are as before, but that `assign` gives them up first; of a range that is inserted, what was made of it stays at the
/// end.
template <class Element>
class vector {
 public:
  using value_type = Element;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using reference = Element&;
  using const_reference = const Element&;
  using iterator = Element*;
  using const_iterator = const Element*;

  vector() noexcept = default;
  explicit vector(std::size_t count) : vector() { resize(count); }
  vector(std::size_t count, const Element& value) : vector() { append(count, value); }
  vector(std::initializer_list<Element> values) : vector() { append(values.begin(), values.size()); }
  template <std::input_iterator Iterator>
  vector(Iterator from, Iterator to) : vector() {
    insert(end(), from, to);
  }
  /// A copy of what lies in a row elsewhere: in a std::vector, std::array or std::span of such elements.
  template <detail::row_of<Element> Row>
    requires(!std::derived_from<Row, vector>)
  vector(const Row& row) : vector() { append(row.data(), row.size()); }
  vector(const vector& other) : vector() { append(other.data(), other.size()); }
  vector(vector&& other) noexcept = default;
  // What is assigned may lie in an element of this vector, which therefore lives until it is taken over.
  vector& operator=(const vector& other) {
    if constexpr (has_only_bytes) {
      if (this != &other && other.size() <= capacity()) {
        clear();
        append(other.data(), other.size());
        return *this;
      }
    }
    vector(other).swap(*this);
    return *this;
  }
  vector& operator=(vector&& other) noexcept {
    vector(std::move(other)).swap(*this);
    return *this;
  }
  vector& operator=(std::initializer_list<Element> values) {
    assign(values.begin(), values.end());
    return *this;
  }
  ~vector() {
    static_assert(alignof(Element) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                  "meshloom::vector: elements of a larger alignment than operator new has need a std::vector");
    clear();
  }

  Element* data() noexcept { return static_cast<Element*>(storage_.first); }
  const Element* data() const noexcept { return static_cast<const Element*>(storage_.first); }
  std::size_t size() const noexcept { return storage_.size; }
  std::size_t capacity() const noexcept { return storage_.capacity(); }
  bool empty() const noexcept { return storage_.size == 0; }

  // Each says where the memory is by itself: whatever calls another member costs as much again in every program.
  Element* begin() noexcept { return static_cast<Element*>(storage_.first); }
  const Element* begin() const noexcept { return static_cast<const Element*>(storage_.first); }
  const Element* cbegin() const noexcept { return static_cast<const Element*>(storage_.first); }
  Element* end() noexcept { return static_cast<Element*>(storage_.first) + storage_.size; }
  const Element* end() const noexcept { return static_cast<const Element*>(storage_.first) + storage_.size; }
  const Element* cend() const noexcept { return static_cast<const Element*>(storage_.first) + storage_.size; }
  auto rbegin() noexcept { return std::reverse_iterator<Element*>(end()); }
  auto rbegin() const noexcept { return std::reverse_iterator<const Element*>(end()); }
  auto rend() noexcept { return std::reverse_iterator<Element*>(begin()); }
  auto rend() const noexcept { return std::reverse_iterator<const Element*>(begin()); }

  Element& operator[](std::size_t index) noexcept { return static_cast<Element*>(storage_.first)[index]; }
  const Element& operator[](std::size_t index) const noexcept {
    return static_cast<const Element*>(storage_.first)[index];
  }
  /// Throws std::out_of_range if there is no such element.
  Element& at(std::size_t index) { return static_cast<Element*>(storage_.first)[storage_.held(index)]; }
  const Element& at(std::size_t index) const {
    return static_cast<const Element*>(storage_.first)[storage_.held(index)];
  }
  Element& front() noexcept { return *static_cast<Element*>(storage_.first); }
  const Element& front() const noexcept { return *static_cast<const Element*>(storage_.first); }
  Element& back() noexcept { return static_cast<Element*>(storage_.first)[storage_.size - 1]; }
  const Element& back() const noexcept { return static_cast<const Element*>(storage_.first)[storage_.size - 1]; }

  /// Makes room for that many elements; those that are there are as before.
  void reserve(std::size_t count) {
    if (count > storage_.capacity()) make_room(count - storage_.size);
  }
  void clear() noexcept { shrink(0); }
  /// Elements that are new are value-initialized, or copies of `value`.
  void resize(std::size_t count) {
    if (count <= storage_.size) return shrink(count);
    make_room(count - storage_.size);
    extend(count - storage_.size);
  }
  void resize(std::size_t count, const Element& value) {
    if (count <= storage_.size) return shrink(count);
    append(count - storage_.size, value);
  }
  void assign(std::size_t count, Element value) {
    clear();
    append(count, value);
  }
  template <std::input_iterator Iterator>
  void assign(Iterator from, Iterator to) {
    clear();
    insert(end(), from, to);
  }

  void push_back(const Element& value) { emplace_back(value); }
  void push_back(Element&& value) { emplace_back(std::move(value)); }
  template <class... Arguments>
  Element& emplace_back(Arguments&&... arguments) {
    if (storage_.size == storage_.capacity()) return emplace_in_larger(std::forward<Arguments>(arguments)...);
    Element* const made = ::new (end()) Element(std::forward<Arguments>(arguments)...);
    ++storage_.size;
    return *made;
  }
  void pop_back() noexcept { shrink(storage_.size - 1); }

  /// Puts an element, copies of one, or a range that is not of this vector, in front of `at`. Returns the first of
  /// them.
  Element* insert(const Element* at, Element value) {
    const std::ptrdiff_t index = at - begin();
    emplace_back(std::move(value));
    return turn_in(index, storage_.size - 1);
  }
  Element* insert(const Element* at, std::size_t count, const Element& value) {
    const std::ptrdiff_t index = at - begin();
    const std::size_t before = storage_.size;
    append(count, value);
    return turn_in(index, before);
  }
  template <std::input_iterator Iterator>
  Element* insert(const Element* at, Iterator from, Iterator to) {
    const std::ptrdiff_t index = at - begin();
    const std::size_t before = storage_.size;
    if constexpr (std::is_same_v<Iterator, Element*> || std::is_same_v<Iterator, const Element*>) {
      append(from, static_cast<std::size_t>(to - from));
    } else {
      if constexpr (std::forward_iterator<Iterator>)
        make_room(static_cast<std::size_t>(std::distance(from, to)));
      else if constexpr (std::sized_sentinel_for<Iterator, Iterator>)
        make_room(static_cast<std::size_t>(to - from));
      for (; from != to; ++from) put_behind(*from);
    }
    return turn_in(index, before);
  }
  Element* insert(const Element* at, std::initializer_list<Element> values) {
    return insert(at, values.begin(), values.end());
  }
  Element* erase(const Element* at) { return erase(at, at + 1); }
  Element* erase(const Element* from, const Element* to) {
    Element* const gap = begin() + (from - begin());
    if (from != to) shrink(static_cast<std::size_t>(std::move(gap + (to - from), end(), gap) - begin()));
    return gap;
  }

  void swap(vector& other) noexcept { std::swap(storage_, other.storage_); }

  friend bool operator==(const vector& one, const vector& other) {
    return one.size() == other.size() && std::equal(one.begin(), one.end(), other.begin());
  }
  friend auto operator<=>(const vector& one, const vector& other) requires std::three_way_comparable<Element> {
    return std::lexicographical_compare_three_way(one.begin(), one.end(), other.begin(), other.end());
  }

 private:
  /// Copying it is copying its bytes.
  static constexpr bool has_only_bytes = std::is_trivially_copyable_v<Element> && std::is_copy_constructible_v<Element>;

  detail::element_storage storage_;

  static void relocate(void* from, void* to, std::size_t count) noexcept {
    Element* const old = static_cast<Element*>(from);
    for (std::size_t n = 0; n < count; ++n) {
      ::new (static_cast<Element*>(to) + n) Element(std::move(old[n]));
      old[n].~Element();
    }
  }
  void make_room(std::size_t more) {
    static_assert(std::is_nothrow_move_constructible_v<Element>,
                  "meshloom::vector: elements are moved as it grows, which must not throw");
    if constexpr (std::is_trivially_copyable_v<Element>)
      storage_.make_room(more, sizeof(Element), nullptr);
    else
      storage_.make_room(more, sizeof(Element), &relocate);
  }
  /// The new element is made first: what it is made of may lie in the memory that is given up.
  template <class... Arguments>
  [[gnu::noinline]] Element& emplace_in_larger(Arguments&&... arguments) {
    Element made(std::forward<Arguments>(arguments)...);
    make_room(1);
    Element* const at = ::new (end()) Element(std::move(made));
    ++storage_.size;
    return *at;
  }
  /// Numbers are converted without a warning, as by std::vector.
  template <class Value>
  void put_behind(Value&& value) {
    if constexpr (std::is_arithmetic_v<Element>)
      emplace_back(static_cast<Element>(value));
    else
      emplace_back(std::forward<Value>(value));
  }
  void append(const Element* from, std::size_t count) {
    if constexpr (has_only_bytes)
      storage_.append(from, count, sizeof(Element));
    else
      append_copies(from, count);
  }
  [[gnu::noinline]] void append_copies(const Element* from, std::size_t count) {
    make_room(count);
    for (std::size_t n = 0; n < count; ++n, ++storage_.size) ::new (end()) Element(from[n]);
  }
  /// The value is kept first: it may lie in the memory that is given up.
  [[gnu::noinline]] void append(std::size_t count, const Element& value) {
    const Element kept = value;
    make_room(count);
    extend(count, kept);
  }
  template <class... Value>
  void extend(std::size_t count, const Value&... value) {
    if constexpr (std::is_nothrow_constructible_v<Element, const Value&...>) {
      Element* const from = end();
      for (std::size_t n = 0; n < count; ++n) ::new (from + n) Element(value...);
      storage_.size += count;
    } else {
      for (; count > 0; --count, ++storage_.size) ::new (end()) Element(value...);
    }
  }
  /// Turns the elements from `before` on in front of the one at `index`.
  Element* turn_in(std::ptrdiff_t index, std::size_t before) {
    Element* const at = begin() + index;
    if (at != begin() + before) std::rotate(at, begin() + before, end());
    return at;
  }
  void shrink(std::size_t count) noexcept {
    if constexpr (!std::is_trivially_destructible_v<Element>) end_lives(begin() + count, end());
    storage_.size = count;
  }
  [[gnu::noinline]] static void end_lives(Element* from, Element* to) noexcept {
    for (; from != to; ++from) from->~Element();
  }
};

template <std::input_iterator Iterator>
vector(Iterator, Iterator) -> vector<std::iter_value_t<Iterator>>;

/// Removes the elements for which `holds`, and says how many they were.
template <class Element, class Predicate>
std::size_t erase_if(vector<Element>& from, Predicate holds) {
  Element* const kept = std::remove_if(from.begin(), from.end(), std::move(holds));
  const auto removed = static_cast<std::size_t>(from.end() - kept);
  from.erase(kept, from.end());
  return removed;
}
template <class Element>
std::size_t erase(vector<Element>& from, const Element& value) {
  return erase_if(from, [kept = value](const Element& each) { return each == kept; });
}

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/base/vector.inl>
#endif
