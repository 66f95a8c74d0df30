// SPDX-License-Identifier: Apache-2.0
// The forms of values that exist while a stage is lowered: which instance, in which spec, in which buffer, made when.
// Law: within one pass a form is made once, however many operators read it.
#pragma once

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

/// Makes forms for one stage: knows which there are, and adds to the body of the current pass the collectives that turn
/// one into another.
class form_maker {
 public:
  form_maker(const graph& whole, const plan& made, const stage_plan& stage, const mesh_links& links);

  /// The buffer with `what` in spec `layout`, made from the cheapest form there is.
  buffer_id need(const instance& what, const spec& layout);
  /// A new buffer for `what` in spec `layout`, to be written by whoever asks.
  buffer_id add_form(const instance& what, const spec& layout, memory where);
  buffer_id add_buffer(const std::string& name, const std::vector<std::int64_t>& extents, dtype type,
                       const spec& layout, memory where);
  /// One step of a reshard, from buffer to buffer; returns `to`.
  buffer_id emit_reshard(const instance& what, buffer_id from, const reshard_step& step, buffer_id to);
  /// A buffer of this pass with what is in `from` and the halo around it.
  buffer_id widen(const instance& what, buffer_id from, const halo& lacked);
  /// Places of this pass for visiting blocks of what is in `home`.
  void let_visit(buffer_id home, int places, std::vector<buffer_id>& visiting);
  /// The first spec in which a value exists here, with pending reductions done.
  spec without_partial(const instance& what) const;
  /// "blocks[3].residual.linear.weight".
  std::string name_of_instance(const instance& what) const;

  std::vector<instruction>& body() { return out.bodies[static_cast<std::size_t>(now)]; }

  stage_program out;
  form_table forms;
  known_paths paths;
  recomputation recomputed;  ///< what backward does not find of forward, and what it runs again
  pass now = pass::forward;  ///< what is being lowered

 private:
  /// The form of a value in pass `now` from which `layout` is cheapest, and the way.
  struct source {
    form best;
    const reshard_path* path = nullptr;
  };
  source cheapest(const instance& what, const spec& layout);
  buffer_id load(const instance& what, const spec& layout);

  const graph& whole_;
  const stage_plan& stage_;
  size_table sizes_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/forms.inl>
#endif
