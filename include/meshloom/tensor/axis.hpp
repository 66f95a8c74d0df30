// SPDX-License-Identifier: Apache-2.0
// Axes are tag types, never strings: a misspelt axis is an undeclared identifier. An incomplete type is enough.
// The printed name is the last component of the type's name, the same under every compiler: it is what plan files use.
// Law: two axes are the same if and only if their types are; two axes of one model never share a printed name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace meshloom {

/// Standard axes. A model may use its own: `struct width;`.
namespace axis {
struct batch;
struct high;
struct wide;
struct channels;
struct seq;
struct embed;
struct heads;
struct share;
struct head;
struct mlp;
struct vocab;
struct expert;
struct slots;
struct expert_mlp;
struct classes;
}  // namespace axis

/// Standard mesh axes.
namespace mesh {
struct data;
struct tensor;
struct expert;
struct space;
struct context;
}  // namespace mesh

/// The same axis read a second time: in attention, scores have a `seq` of queries and a `keys<seq>`.
template <class Axis>
struct keys;

/// Axes of sizes that follow from others: see `strided` and `taps`.
template <class Axis, int Stride>
struct every;
template <class Axis, int Count>
struct taps;

namespace detail {

template <class Axis>
constexpr std::string_view type_name() {
  const std::string_view text =
      __PRETTY_FUNCTION__;  // "... [with Axis = meshloom::axis::batch; ...]" or "[Axis = ...]"
  const std::size_t equals = text.find('=', text.find("Axis"));
  std::size_t begin = equals + 1;
  while (text[begin] == ' ') ++begin;
  const std::size_t end = text.find_first_of(";]", begin);
  const std::string_view full = text.substr(begin, end - begin);
  const std::size_t colon = full.rfind(':');
  return colon == std::string_view::npos ? full : full.substr(colon + 1);
}

template <class Axis>
struct printed {
  static constexpr std::string_view name = type_name<Axis>();
};

template <class Axis>
struct printed<keys<Axis>> {
  static constexpr std::string_view base = printed<Axis>::name;
  struct text {
    char letters[base.size() + 6] = {};
    constexpr text() {
      std::size_t at = 0;
      for (const char letter : base) letters[at++] = letter;
      for (const char letter : std::string_view("_keys")) letters[at++] = letter;
    }
  };
  static constexpr text made{};
  static constexpr std::string_view name{made.letters, base.size() + 5};
};

/// "base", a word and a number.
template <class Axis, int Number>
struct printed_with_number {
  static constexpr std::string_view base = printed<Axis>::name;
  struct text {
    char letters[base.size() + 24] = {};
    std::size_t size = 0;
    constexpr void add(std::string_view more) {
      for (const char letter : more) letters[size++] = letter;
    }
    constexpr explicit text(std::string_view word) {
      add(base);
      add(word);
      int scale = 1;
      while (Number / scale >= 10) scale *= 10;
      for (; scale > 0; scale /= 10) letters[size++] = static_cast<char>('0' + Number / scale % 10);
    }
  };
};

template <class Axis, int Stride>
struct printed<every<Axis, Stride>> : printed_with_number<Axis, Stride> {
  static constexpr typename printed_with_number<Axis, Stride>::text made{"_by_"};
  static constexpr std::string_view name{made.letters, made.size};
};

template <class Axis, int Count>
struct printed<taps<Axis, Count>> : printed_with_number<Axis, Count> {
  static constexpr typename printed_with_number<Axis, Count>::text made{"_taps_"};
  static constexpr std::string_view name{made.letters, made.size};
};

/// Tags that differ in a number, like the channels of the stages of a network: `template <int Stage> struct inner;`
/// prints as "inner_2".
template <template <int> class Tag, int Number>
struct printed<Tag<Number>> {
  static constexpr std::string_view full = type_name<Tag<Number>>();
  static constexpr std::string_view base = full.substr(0, full.find('<'));
  static constexpr std::string_view digits = full.substr(base.size() + 1, full.size() - base.size() - 2);
  struct text {
    char letters[base.size() + digits.size() + 1] = {};
    constexpr text() {
      std::size_t at = 0;
      for (const char letter : base) letters[at++] = letter;
      letters[at++] = '_';
      for (const char letter : digits) letters[at++] = letter;
    }
  };
  static constexpr text made{};
  static constexpr std::string_view name{made.letters, base.size() + digits.size() + 1};
};

template <class Axis>
struct stripped {
  using type = Axis;
};
template <class Axis>
struct stripped<keys<Axis>> : stripped<Axis> {};

/// Every `Stride`-th element of every n-th is every (Stride·n)-th: ⌈⌈n/a⌉/b⌉ = ⌈n/ab⌉.
template <class Axis, int Stride>
struct strided_axis {
  using type = every<Axis, Stride>;
};
template <class Axis>
struct strided_axis<Axis, 1> {
  using type = Axis;
};
template <class Axis, int Before, int Stride>
  requires(Stride > 1)
struct strided_axis<every<Axis, Before>, Stride> {
  using type = every<Axis, Before * Stride>;
};

/// The axis whose size is bound, and the size that follows from it.
template <class Axis>
struct derived {
  using base = Axis;
  static constexpr std::int64_t extent(std::int64_t bound) { return bound; }
};
template <class Axis>
struct derived<keys<Axis>> : derived<Axis> {};
template <class Axis, int Stride>
struct derived<every<Axis, Stride>> {
  using base = typename derived<Axis>::base;
  static constexpr std::int64_t extent(std::int64_t bound) {
    return (derived<Axis>::extent(bound) + Stride - 1) / Stride;
  }
};
template <class Axis, int Count>
struct derived<taps<Axis, Count>> {
  using base = typename derived<Axis>::base;
  static constexpr std::int64_t extent(std::int64_t) { return Count; }
};

}  // namespace detail

/// Every `Stride`-th element of an axis, the first included: what a window of stride `Stride`, padded so that a stride
/// of 1 keeps the size, leaves of an image. Its size is ⌈n / Stride⌉, and it prints as "high_by_2".
template <class Axis, int Stride>
using strided = typename detail::strided_axis<Axis, Stride>::type;

// `taps<Axis, Count>` are the Count elements of a kernel that moves along Axis; it prints as "high_taps_3".

/// The printed name of an axis or mesh axis.
template <class Axis>
constexpr std::string_view name_of() {
  return detail::printed<Axis>::name;
}

/// The axis whose size this one has: `Axis` itself, or `Axis` for `keys<Axis>`.
template <class Axis>
using sized_as = typename detail::stripped<Axis>::type;

/// A list of axes.
template <class... Axis>
struct axes {
  static constexpr int count = sizeof...(Axis);
};

/// True if `List` contains `Axis`.
template <class List, class Axis>
inline constexpr bool has_axis = false;
template <class... Member, class Axis>
inline constexpr bool has_axis<axes<Member...>, Axis> = (std::is_same_v<Member, Axis> || ...);

/// True if no axis of `List` comes twice.
template <class List>
inline constexpr bool all_distinct = true;
template <class First, class... Rest>
inline constexpr bool all_distinct<axes<First, Rest...>> =
    !has_axis<axes<Rest...>, First> && all_distinct<axes<Rest...>>;

/// The position of `Axis` in `List`, or -1.
template <class Axis, class... Member>
constexpr int position_in(axes<Member...>) {
  int found = -1, at = 0;
  ((found = found < 0 && std::is_same_v<Member, Axis> ? at : found, ++at), ...);
  return found;
}

namespace detail {

template <class... List>
struct joined_lists;
template <>
struct joined_lists<> {
  using type = axes<>;
};
template <class... First>
struct joined_lists<axes<First...>> {
  using type = axes<First...>;
};
template <class... First, class... Second, class... Rest>
struct joined_lists<axes<First...>, axes<Second...>, Rest...> : joined_lists<axes<First..., Second...>, Rest...> {};

template <class List, class Removed>
struct difference;
template <class... Member, class Removed>
struct difference<axes<Member...>, Removed>
    : joined_lists<std::conditional_t<has_axis<Removed, Member>, axes<>, axes<Member>>...> {};

}  // namespace detail

/// Lists one after the other.
template <class... List>
using join = typename detail::joined_lists<List...>::type;

/// The members of `List` that are not in `Removed`, in order.
template <class List, class Removed>
using without = typename detail::difference<List, Removed>::type;

}  // namespace meshloom
