// SPDX-License-Identifier: Apache-2.0
// The decisions of one pipeline stage as an intra-operator problem, and back. A choice each per operator (its
// strategy), parameter (the specs in which it is stored and updated), gradient (the spec in which it is summed over
// micro-batches) and value with several readers (the forms of it that are held, and the one that is kept for backward).
// All copies of a repeated layer choose alike. Costs are those of a whole step: of every micro-batch, and of the
// update. Which blocks recompute is given: what they drop is not kept, and what runs again costs once more and reads
// once more. Laws: no assignment stands for a plan that cannot be lowered; on a stage alone the cheapest one costs what
// `prices_of` says of its plan. (Others cost about that: `lower` makes forms in the order in which they are read, and
// what a sender pays to meet the receiver's form is known only when both are.)
#pragma once

#include <meshloom/planner/intra_priced.hpp>
#include <meshloom/planner/stage_tables.hpp>

#include <span>

namespace meshloom {

/// What a stage costs: for a micro-batch forward and backward, and once per step; and what it holds.
struct stage_cost {
  picoseconds time, once;
  bytes fixed;          ///< parameters, optimizer state, gradients summed over micro-batches
  bytes slot;           ///< activations of every micro-batch in flight
  bytes transient;      ///< the most at any time besides
  picoseconds extra{};  ///< how much longer messages of a micro-batch take than if every rank were sent another part
  bool operator==(const stage_cost&) const = default;
};

/// What a stage costs if of `copies` copies of a layer so many recompute, by the same strategies: on the line between
/// what it costs where `none` and where `all` of them do; transient is that of those that need more. Law: what the
/// stage's own problem says, but for one copy of what is carried from copy to copy, of which another form may be kept.
stage_cost cost_between(const stage_cost& none, const stage_cost& all, std::int64_t recomputing, std::int64_t copies);

/// What is left of a price: part / whole of it.
struct price_share {
  std::int64_t part = 1, whole = 1;
};

/// What lies around the blocks of a problem.
enum class surroundings : std::uint8_t {
  other_stages,  ///< which send what the blocks read, and receive what they make
  anything,  ///< nothing is said: what comes and goes is free, and so are parameters of other regions. No stage with
             ///< these blocks in it spends less on them
};

class stage_choices {
 public:
  /// `stage` says which blocks, ranks and mesh, and which blocks recompute; what is to be chosen is ignored. `slots`
  /// micro-batches keep activations at a time. Without a limit memory does not matter. `tables` are those of the
  /// stage's mesh and of as many micro-batches.
  stage_choices(const problem& posed, const stage_plan& stage, std::int32_t micro_batches, std::int32_t slots,
                std::optional<bytes> limit, std::shared_ptr<stage_tables> tables = nullptr,
                surroundings around = surroundings::other_stages);

  const intra_problem& made() const { return made_; }

  /// What takes too long to be reckoned with is not in the problem: no assignment left out costs less.
  picoseconds left_out() const { return left_out_; }

  /// An operator that no strategy is allowed for; empty if all have one.
  const std::string& stuck() const { return stuck_; }

  /// Bytes that may be paid for, by choice and option: what lies there all the time, `slots` times what is kept for a
  /// micro-batch in flight, and, if there are any, half of what else is alive at the time `when`: at least that is
  /// there, where results take the place of operands.
  vector<vector<bytes>> paid_for(std::int32_t slots, std::int32_t when) const;

  /// The problem with these bytes paid for instead of limited. Prices are rounded down.
  intra_problem paying(const byte_price& each, std::int32_t slots, std::int32_t when) const;

  /// The problem with a share of what is paid once per step, rounded down: in a pipeline that delays only the slowest
  /// stage, while what a micro-batch takes is also on everyone's way. The share is at most 1.
  intra_problem discounting(const price_share& of) const;

  /// The problem with what messages take longer than if every rank were sent another part priced as well: it delays
  /// others, though the stage need not wait.
  intra_problem receiving() const;

  /// What an assignment costs; micro-batches · time + once is its cost in the problem.
  stage_cost cost_of(std::span<const std::int32_t> options) const;

  /// True of the choices that say how a stage is run; the others follow.
  vector<bool> decisions() const;

  /// The forms in which a stage that decides so takes and sends messages, as numbers.
  vector<std::int32_t> messages_of(std::span<const std::int32_t> options) const;

  /// The cheapest assignment that decides so; other choices may be open (−1).
  vector<std::int32_t> completed(vector<std::int32_t> options) const;

  /// The stage with everything chosen.
  stage_plan plan_of(std::span<const std::int32_t> options) const;

  /// The cheapest assignment that stands for what `chosen` chooses, whichever blocks recompute in it: so a stage is
  /// priced anew where other blocks do. None where a choice is not among the options, or where readers of a value want
  /// more than two forms of it at a time; where fewer blocks recompute, no more are wanted.
  std::optional<vector<std::int32_t>> options_of(const stage_plan& chosen) const;

 private:
  struct operator_choice {
    std::int32_t number = -1;
    std::int32_t copies = 0;
    std::int32_t again = 0;                   ///< copies in which it runs again in backward
    std::int32_t when = 0, again_when = -1;   ///< its places in the timeline
    const operator_options* table = nullptr;  ///< of its options
  };
  struct parameter_choice {
    std::int32_t number = -1;
    const parameter_options* table = nullptr;
    vector<std::int32_t> sums;  ///< per gradient, the number of its choice, or −1
  };
  /// Where forms come from: a choice, and what each of its options has; or (−1) another stage.
  struct origin {
    std::int32_t choice = -1;
    form_list has;
  };

  /// What other stages see of a choice.
  struct message_form {
    std::int32_t choice = -1;
    const form_list* forms = nullptr;
  };

  std::int32_t add_choice(vector<picoseconds> cost);
  /// Adds bytes that count in [first, end) to a choice.
  void add_size(std::int32_t choice, vector<bytes> size, std::int32_t first, std::int32_t end);
  /// Adds the prices that two choices have for their forms.
  template <class Price>
  void couple(std::int32_t left, const form_list& lefts, std::int32_t right, const form_list& rights,
              const Price& price);

  /// Says when every operator runs, and how often.
  void place_operators(const recomputation& recomputed);
  void add_operators();
  void add_operator(node_id id);
  /// When an operator runs in a pass; −1: it does not.
  std::int32_t time_in(phase pass, node_id id) const;
  /// When the last operator of the same pass has read what this one makes in it.
  std::int32_t last_read(phase pass, node_id id) const;
  void add_parameters();
  void add_sums(std::size_t p);
  /// True if a parameter is not one of the blocks that alone matter.
  bool is_around(value_id id) const;
  /// How many copies of a parameter the stage keeps.
  std::int64_t copies_of(value_id id) const;

  void connect(const read_value& each);
  void note_messages(const read_value& each);
  void keep(const read_value& each, const origin& from, std::int64_t times);
  /// Messages, and results that leave part by part, carry no pending sum; other results are reduced once per step.
  void price_leaving(const read_value& each, const origin& from, std::int64_t times);
  /// One reader takes what it wants from where it is; several share the forms that are held.
  void hold(const read_value& each, const origin& from, const vector<reading>& readers, std::int64_t times);
  /// Prices what it takes to make the forms that `choice` holds. Another stage sends the first form that is wanted.
  void make_forms(const read_value& each, const origin& from, std::int32_t choice, const form_list& held,
                  std::int64_t times);
  void add_messages(const read_value& each, std::int32_t choice, const form_list& held);
  void read_forms(const vector<reading>& readers, std::int32_t choice, const form_list& held);
  form_list wanted_by(const vector<reading>& readers) const;
  static form_list forms_of(const form_list& wanted);
  origin origin_of(const read_value& each) const;
  picoseconds price_of(value_id id, const forms& from, const forms& to) const;

  /// The form of a value under each strategy of the operator that makes it, or reads it.
  const form_list& forms_made(value_id id) const;
  const form_list& forms_wanted(const reading& by) const;

  const graph& whole_;
  stage_plan stage_;
  std::int32_t micro_batches_, slots_;
  surroundings around_;
  std::shared_ptr<stage_tables> tables_;
  intra_problem made_;
  picoseconds left_out_ = forbidden;
  std::string stuck_;
  table<node_id, operator_choice> operators_;
  vector<parameter_choice> parameters_;
  vector<std::int32_t> kept_;      ///< choices whose bytes are those of all slots
  vector<std::size_t> paid_once_;  ///< couplings priced per step
  /// By option of a choice, how much longer messages take to each form of what another stage sends than if every rank
  /// were sent another part of it.
  vector<std::pair<std::int32_t, vector<picoseconds>>> extra_;
  vector<message_form> messages_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/stage_assignments.inl>
#include <meshloom/planner/stage_choices.inl>
#endif
