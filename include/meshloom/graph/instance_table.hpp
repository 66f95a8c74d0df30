// SPDX-License-Identifier: Apache-2.0
// A table from instances to entries that begin empty: what whoever walks through the copies of a graph knows of each
// value that he has met. Law: an entry is that of its instance alone, and stays until the table goes.
#pragma once

#include <meshloom/graph/unroll.hpp>

#include <utility>

namespace meshloom {

template <class Entry>
class instance_table {
 public:
  /// The entry of an instance. The reference is good until the next instance is met.
  Entry& operator[](const instance& what) {
    if (2 * entries_.size() >= slots_.size()) grow();
    std::int32_t& slot = slots_[place_of(what)];
    if (slot < 0) {
      slot = static_cast<std::int32_t>(entries_.size());
      entries_.push_back({what, {}});
    }
    return entries_[static_cast<std::size_t>(slot)].second;
  }

  /// The entry of an instance that was met; null for any other.
  const Entry* find(const instance& what) const {
    if (slots_.empty()) return nullptr;
    const std::int32_t slot = slots_[place_of(what)];
    return slot < 0 ? nullptr : &entries_[static_cast<std::size_t>(slot)].second;
  }

 private:
  /// The slot with the number of its entry, or the empty one where it belongs: they are tried one after the other.
  std::size_t place_of(const instance& what) const {
    const std::uint64_t key = std::uint64_t{index_of(what.value)} << 32 ^ static_cast<std::uint32_t>(what.copy);
    std::size_t at = static_cast<std::size_t>(key * 0x9e3779b97f4a7c15u >> 32) & (slots_.size() - 1);
    while (slots_[at] >= 0 && entries_[static_cast<std::size_t>(slots_[at])].first != what)
      at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  void grow() {
    slots_.assign(slots_.empty() ? 256 : 2 * slots_.size(), -1);
    for (std::size_t n = 0; n < entries_.size(); ++n)
      slots_[place_of(entries_[n].first)] = static_cast<std::int32_t>(n);
  }

  vector<std::pair<instance, Entry>> entries_;
  vector<std::int32_t> slots_;  ///< a power of two of them, at most half of them taken
};

}  // namespace meshloom
