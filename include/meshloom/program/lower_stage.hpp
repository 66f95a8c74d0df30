// SPDX-License-Identifier: Apache-2.0
// Lowers one stage, straight through its passes: parameters get their places, operators of every block in order,
// results and messages, memory. Law: every buffer is written before it is read, in every pass that can reach it.
#pragma once

#include <meshloom/plan/crossing.hpp>
#include <meshloom/program/arena.hpp>
#include <meshloom/program/forms.hpp>

#include <optional>

namespace meshloom {

/// A lowered stage that has no places in memory yet, and which of its parts belongs to which block.
struct stage_draft {
  /// Instructions of a block, up to the next part.
  struct part {
    block of;
    std::int32_t begin;
  };
  stage_program made;
  table<buffer_id, block> blocks;  ///< to which each buffer belongs
  std::array<vector<part>, pass_count> parts = {};
  sent_buffers sent = {};
};

class stage_lowering {
 public:
  /// `transfers` has one entry per crossing; those that begin or end in this stage get their buffers.
  stage_lowering(const graph& whole, const plan& made, stage_id which, const sorted_nodes& nodes, known_paths& paths,
                 const vector<crossing>& crossings, vector<transfer>& transfers, bool named = true);

  /// The lowered stage; results made here get their stage and buffer.
  stage_program run(vector<port>& results);
  stage_draft draft(vector<port>& results);

 private:
  /// A gradient that is summed over micro-batches.
  struct accumulator {
    instance gradient;
    buffer_id buffer;
    bool alone;  ///< no backward operator reads the gradient
    bool done = false;
  };
  /// In which specs a node reads and makes, in all its copies.
  struct node_specs {
    vector<spec> operands, results;
  };

  void begin(pass what);
  /// What comes next belongs to a block; to none: to the stage.
  void begin_part(const block& of);
  /// In backward a block first makes again what it recomputes.
  void lower_blocks(phase when);

  /// The copies of a region's values that this stage has.
  vector<std::int32_t> copies_here(region_id area) const;
  template <class Visit>
  void for_each_parameter(const Visit& visit) {
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      if (!plan_.parameters[p].used) continue;
      for (const std::int32_t copy : copies_here(whole_.values[whole_.parameters[p].value].region)) visit(p, copy);
    }
  }
  /// Parameters first, then states, then accumulators: programs of one plan agree on where parameters lie.
  void place_parameters();
  /// Gives parameter `p`, or a state of it, a place. What starts with drawn numbers draws those of the parameter.
  void place(std::size_t p, value_id id, std::int32_t copy, const spec& layout);
  void place_accumulators(std::size_t p, std::int32_t copy);
  /// Which values are read in backward.
  table<value_id, bool> find_read_in_backward() const;
  bool is_made_here(const instance& what) const;
  /// The first accumulator of a gradient; null if there is none.
  accumulator* accumulator_of(const instance& what);

  const node_specs& specs_of(node_id id);
  void lower_node(node_id id, const block& here);
  /// True if the kernel may add to the accumulators itself: it can, and nobody else needs what this micro-batch adds.
  bool accumulates_directly(node_id id, const block& here);
  buffer_id result_buffer(node_id id, const block& here, std::size_t k, const instruction& next);
  /// Gives visiting blocks their places, if the node's strategy lets blocks go around.
  void let_rotate(node_id id, instruction& next);
  /// One instruction, or one per part with the exchanges of statistics between them.
  void emit_parts(node_id id, instruction next);
  buffer_id statistic_buffer(node_id id, int k, const std::string& name);
  void accumulate(accumulator& into);
  void accumulate_rest();
  /// Stores an updated value where it is kept, if the update ran on a part of it.
  void write_back(const node& at, const block& here);
  void lower_updates();
  /// Adds up the parts of the total that no earlier stage has, with those of all other stages.
  void lower_total();

  void receive();
  void send();
  transfer& transfer_of(const crossing& each);
  /// A result with the micro-batched axis is stored part by part; any other is summed over micro-batches.
  void lower_results(vector<port>& results);
  /// Makes summed results whole on every rank of the stage, in the fixed region.
  void finish_results(vector<port>& results);

  const graph& whole_;
  const plan& made_;
  const stage_plan& plan_;
  stage_id which_;
  const sorted_nodes& nodes_;
  known_paths& paths_;
  const vector<crossing>& crossings_;
  vector<transfer>& transfers_;
  size_table sizes_;
  form_maker make_;
  table<value_id, bool> read_in_backward_;
  vector<accumulator> accumulators_;
  instance_table<std::optional<std::size_t>> accumulator_of_;  ///< the number of the first
  table<node_id, node_specs> specs_;                           ///< of those that were lowered
  std::array<vector<stage_draft::part>, pass_count> parts_;
  sent_buffers sent_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/lower_stage.inl>
#endif
