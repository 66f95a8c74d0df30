// SPDX-License-Identifier: Apache-2.0
// A vector indexed by an id type: `table<node_id, node>` takes node ids only. Law: ids are dense and stable, the n-th
// entry added has id n.
#pragma once

#include <meshloom/base/ids.hpp>
#include <meshloom/base/vector.hpp>

#include <utility>

namespace meshloom {

template <id Id, class Entry>
class table {
 public:
  table() = default;
  explicit table(std::size_t count, const Entry& entry = {}) : entries_(count, entry) {}

  Id add(Entry entry) {
    entries_.push_back(std::move(entry));
    return static_cast<Id>(entries_.size() - 1);
  }

  decltype(auto) operator[](Id which) { return entries_[index_of(which)]; }
  decltype(auto) operator[](Id which) const { return entries_[index_of(which)]; }

  bool holds(Id which) const { return which != Id::none && index_of(which) < entries_.size(); }
  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  Id next() const { return static_cast<Id>(entries_.size()); }

  auto begin() { return entries_.begin(); }
  auto end() { return entries_.end(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  bool operator==(const table&) const = default;

 private:
  vector<Entry> entries_;
};

}  // namespace meshloom
