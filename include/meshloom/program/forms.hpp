// SPDX-License-Identifier: Apache-2.0
// The forms of values that exist while a stage is lowered: which instance, in which spec, in which buffer, made when.
// Law: within one pass a form is made once, however many operators read it.
#pragma once

#include <meshloom/graph/instance_table.hpp>
#include <meshloom/plan/known_paths.hpp>
#include <meshloom/plan/recomputation.hpp>
#include <meshloom/program/program.hpp>

namespace meshloom {

/// When a form can be read: forms of `always` lie in the fixed region; forms of a pass are read in that pass, forms of
/// forward also in backward (and are then kept), unless their block recomputes them.
struct form {
  spec layout;
  buffer_id buffer = buffer_id::none;
  pass made_in = pass::forward;
  bool always = false;
};

class form_table {
 public:
  void add(const instance& what, const form& made) {
    chain& its = chains_[what];
    const auto number = static_cast<std::int32_t>(entries_.size());
    (its.first < 0 ? its.first : entries_[static_cast<std::size_t>(its.last)].next) = number;
    its.last = number;
    entries_.push_back({made, -1});
  }

  /// Calls `visit(form)` for every form of an instance that can be read in pass `when`, in the order of their making.
  template <class Visit>
  void for_each(const instance& what, pass when, bool keep_forward, const Visit& visit) const {
    const chain* its = chains_.find(what);
    for (std::int32_t at = its == nullptr ? -1 : its->first; at >= 0;) {
      const auto& [made, next] = entries_[static_cast<std::size_t>(at)];
      const bool kept = keep_forward && when == pass::backward && made.made_in == pass::forward;
      if (made.always || made.made_in == when || kept) visit(made);
      at = next;
    }
  }

 private:
  struct entry {
    form made;
    std::int32_t next;  ///< of the same instance; −1: none
  };
  struct chain {
    std::int32_t first = -1, last = -1;
  };
  instance_table<chain> chains_;
  vector<entry> entries_;
};

/// Makes forms for one stage: knows which there are, and adds to the body of the current pass the collectives that turn
/// one into another.
class form_maker {
 public:
  /// `paths` are those of the stage. Names take longer than all the rest: who only counts bytes does without.
  form_maker(const graph& whole, const plan& made, const stage_plan& stage, known_paths& paths, bool named = true);

  /// The buffer with `what` in spec `layout`, made from the cheapest form there is.
  buffer_id need(const instance& what, const spec& layout);
  /// A new buffer for `what` in spec `layout`, to be written by whoever asks.
  buffer_id add_form(const instance& what, const spec& layout, memory where);
  buffer_id add_buffer(std::string name, std::span<const std::int64_t> extents, dtype type, const spec& layout,
                       memory where, const block& of);
  /// One step of a reshard, from buffer to buffer; returns `to`.
  buffer_id emit_reshard(const instance& what, buffer_id from, const reshard_step& step, buffer_id to);
  /// A buffer of this pass with what is in `from` and the halo around it.
  buffer_id widen(const instance& what, buffer_id from, const halo& lacked);
  /// Places of this pass for visiting blocks of what is in `home`.
  void let_visit(buffer_id home, int places, vector<buffer_id>& visiting);
  /// The first spec in which a value exists here, with pending reductions done.
  spec without_partial(const instance& what) const;
  /// "blocks[3].residual.linear.weight"; empty if nothing is named.
  std::string name_of_instance(const instance& what) const;
  /// The name of a node; of one that has copies, that of what it makes here.
  std::string name_of_node(const node& at, const block& here) const;

  vector<instruction>& body() { return out.bodies[static_cast<std::size_t>(now)]; }

  stage_program out;
  table<buffer_id, block> blocks;  ///< to which each buffer belongs
  form_table forms;
  recomputation recomputed;  ///< what backward does not find of forward, and what it runs again
  pass now = pass::forward;  ///< what is being lowered

 private:
  /// The form of a value in pass `now` from which `layout` is cheapest, and the way.
  struct source {
    form best;
    const reshard_path* path = nullptr;
  };
  source cheapest(const instance& what, const spec& layout) const;
  buffer_id load(const instance& what, const spec& layout);

  const graph& whole_;
  const stage_plan& stage_;
  known_paths& paths_;
  size_table sizes_;
  bool named_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/forms.inl>
#endif
