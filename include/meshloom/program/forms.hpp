// SPDX-License-Identifier: Apache-2.0
// The forms of values that exist while a stage is lowered: which instance, in which spec, in which buffer, made when.
// Law: within one pass a form is made once, however many operators read it.
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// When a form can be read: forms of `always` lie in the fixed region; forms of a pass are read in that pass, forms of
/// forward also in backward (and are then kept).
struct form {
  spec layout;
  buffer_id buffer = buffer_id::none;
  pass made_in = pass::forward;
  bool always = false;
};

class form_table {
 public:
  void add(const instance& what, const form& made) { bucket(what).push_back({what, made}); }

  /// Calls `visit(form)` for every form of an instance that can be read in pass `when`.
  template <class Visit>
  void for_each(const instance& what, pass when, bool keep_forward, const Visit& visit) const {
    if (buckets_.empty()) return;
    for (const entry& each : buckets_[hash(what)]) {
      const bool kept = keep_forward && when == pass::backward && each.made.made_in == pass::forward;
      if (each.what == what && (each.made.always || each.made.made_in == when || kept)) visit(each.made);
    }
  }

 private:
  struct entry {
    instance what;
    form made;
  };
  std::vector<entry>& bucket(const instance& what) {
    if (buckets_.empty()) buckets_.resize(4096);
    return buckets_[hash(what)];
  }
  static std::size_t hash(const instance& what) {
    return (index_of(what.value) * 31 + static_cast<std::size_t>(what.copy)) % 4096;
  }
  std::vector<std::vector<entry>> buckets_;
};

}  // namespace meshloom
