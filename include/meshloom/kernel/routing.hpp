// SPDX-License-Identifier: Apache-2.0
// The kernels of mixtures of experts. Routing: a team per row, whose members take a token or an expert each. The way to
// the slots and back: a team copies whole rows of features, each read and written once.
// Law: slots and experts are counted in the whole tensor, so a shard of the buffers takes what lies in it.
#pragma once

#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/routing.hpp>

namespace meshloom {

/// One row [token, expert] of a tensor [rows…, token, expert].
template <class Element>
struct token_table {
  Element* data;
  std::int64_t step;  ///< from one token to the next

  MESHLOOM_DEVICE Element* of(std::int64_t token) const { return data + token * step; }
  /// From a token and an expert on.
  MESHLOOM_DEVICE token_table from(std::int64_t token, std::int64_t expert) const { return {of(token) + expert, step}; }
};

/// How the tokens of a row compete: in groups of `size`, for `capacity` slots of each of the experts.
struct competition {
  std::int64_t tokens, experts, size, capacity;

  MESHLOOM_DEVICE competition(const call& with, const view& shares)
      : tokens(shares.extent[shares.rank - 2]),
        experts(shares.extent[shares.rank - 1]),
        size(static_cast<std::int64_t>(with.attribute[0])),
        capacity(static_cast<std::int64_t>(with.attribute[1])) {
    if (size < 1) size = tokens;
  }
  MESHLOOM_DEVICE std::int64_t groups() const { return size == 0 ? 0 : tokens / size; }

  /// What the sum over a row's groups and experts of tokens that choose an expert first, times the shares that it got,
  /// is multiplied by.
  template <class Element>
  MESHLOOM_DEVICE Element balance_scale() const {
    return tokens == 0 ? Element(0)
                       : static_cast<Element>(experts) / (static_cast<Element>(size) * static_cast<Element>(tokens));
  }
};

namespace detail {

/// The rows of a tensor [rows…, token, expert] as a tensor [rows…, token].
MESHLOOM_DEVICE inline view without_experts(const view& shares) {
  view made = shares;
  --made.rank;
  return made;
}

template <class Element>
MESHLOOM_DEVICE token_table<Element> table_in(const view& shard, const row_index& row) {
  return {row.template in<Element>(shard), shard.stride[shard.rank - 2]};
}

/// The expert of the largest share, of equal ones the first, `taken` left out; −1 if there is none.
template <class Element>
MESHLOOM_DEVICE std::int64_t largest_share(const Element* share, std::int64_t experts, std::int64_t taken = -1) {
  std::int64_t best = -1;
  for (std::int64_t e = 0; e < experts; ++e) {
    if (e != taken && (best < 0 || share[e] > share[best])) best = e;
  }
  return best;
}

}  // namespace detail

template <int Choices>
struct route_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(detail::without_experts(with.operand[0]));
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const row_index row(detail::without_experts(with.operand[0]), which);
    const auto shares = detail::table_in<const Element>(with.operand[0], row);
    const auto weight = detail::table_in<Element>(with.result[0], row);
    const auto slot = detail::table_in<std::int32_t>(with.result[1], row);
    const competition all(with, with.operand[0]);

    team.for_each_scalar(all.tokens, [=](std::int64_t t) { mark_choices(shares.of(t), slot.of(t), all.experts); });
    team.sync();
    Element balance = 0;
    for (std::int64_t group = 0; group < all.groups(); ++group) {
      const std::int64_t first = group * all.size, offset = group * all.capacity;
      balance += team.template reduce<Element>(all.experts, 0, addition{}, [=](std::int64_t e) {
        return fill_buffer(all, shares.from(first, e), slot.from(first, e), offset);
      });
    }
    team.sync();
    team.for_each_scalar(all.tokens,
                         [=](std::int64_t t) { weigh(shares.of(t), slot.of(t), weight.of(t), all.experts); });
    write_once(team, row.template in<Element>(with.result[2]), balance * all.balance_scale<Element>());
  }

 private:
  static constexpr std::int32_t no_slot = -1, first_choice = -2, second_choice = -3;

  template <class Element>
  MESHLOOM_DEVICE static void mark_choices(const Element* share, std::int32_t* slot, std::int64_t experts) {
    for (std::int64_t e = 0; e < experts; ++e) slot[e] = no_slot;
    const std::int64_t first = detail::largest_share(share, experts);
    if (first >= 0) slot[first] = first_choice;
    const std::int64_t second = Choices == 2 && first >= 0 ? detail::largest_share(share, experts, first) : -1;
    if (second >= 0) slot[second] = second_choice;
  }

  /// Gives slots to the tokens of a group that chose one expert; `shares` and `slot` begin at that expert. Returns the
  /// number of first choices, dropped ones as well, times the sum of shares.
  template <class Element>
  MESHLOOM_DEVICE static Element fill_buffer(const competition& all, const token_table<const Element>& shares,
                                             const token_table<std::int32_t>& slot, std::int64_t offset) {
    std::int64_t firsts = 0, next = 0;
    Element sum = 0;
    const auto take = [&](std::int32_t& mark) {
      mark = next < all.capacity ? static_cast<std::int32_t>(offset + next++) : no_slot;
    };
    for (std::int64_t t = 0; t < all.size; ++t) {
      sum += *shares.of(t);
      if (*slot.of(t) != first_choice) continue;
      ++firsts;
      take(*slot.of(t));
    }
    for (std::int64_t t = 0; Choices == 2 && t < all.size; ++t) {
      if (*slot.of(t) == second_choice) take(*slot.of(t));
    }
    return static_cast<Element>(firsts) * sum;
  }

  /// A sum of kept shares that underflowed weighs nothing.
  template <class Element>
  MESHLOOM_DEVICE static void weigh(const Element* share, const std::int32_t* slot, Element* weight,
                                    std::int64_t experts) {
    Element sum = Choices == 1 ? 1 : 0;
    for (std::int64_t e = 0; Choices == 2 && e < experts; ++e) sum += slot[e] >= 0 ? share[e] : 0;
    for (std::int64_t e = 0; e < experts; ++e) weight[e] = slot[e] >= 0 && sum > 0 ? share[e] / sum : 0;
  }
};

/// dshare = (dweight − Σ dweight · weight) / Σ share over the kept choices of two, dweight of the kept choice of one;
/// and everywhere dbalance times what the expert's share counts in the balance.
template <int Choices, bool Balanced>
struct route_gradient_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(detail::without_experts(with.operand[0]));
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    constexpr int given = Balanced ? 2 : 1;
    const view& shard = with.operand[given];
    const row_index row(detail::without_experts(shard), which);
    const auto slopes = detail::table_in<const Element>(with.operand[0], row);
    const auto shares = detail::table_in<const Element>(shard, row);
    const auto slot = detail::table_in<const std::int32_t>(with.operand[given + 1], row);
    const auto made = detail::table_in<Element>(with.result[0], row);
    const competition all(with, shard);
    if constexpr (Balanced) {
      const Element slope = *row.template in<const Element>(with.operand[1]) * all.balance_scale<Element>();
      add_balance(team, all, shares, made, slope);
    }
    team.for_each_scalar(all.tokens, [=](std::int64_t t) {
      add_weights(slopes.of(t), shares.of(t), slot.of(t), made.of(t), all.experts);
    });
  }

 private:
  /// Marks first choices, and counts them expert by expert.
  template <class Element, class Team>
  MESHLOOM_DEVICE static void add_balance(Team team, const competition& all, token_table<const Element> shares,
                                          token_table<Element> made, Element slope) {
    team.for_each_scalar(all.tokens, [=](std::int64_t t) {
      for (std::int64_t e = 0; e < all.experts; ++e) made.of(t)[e] = 0;
      const std::int64_t first = detail::largest_share(shares.of(t), all.experts);
      if (first >= 0) made.of(t)[first] = 1;
    });
    team.sync();
    team.for_each_scalar(all.groups() * all.experts, [=](std::int64_t at) {
      const auto column = made.from(at / all.experts * all.size, at % all.experts);
      Element firsts = 0;
      for (std::int64_t t = 0; t < all.size; ++t) firsts += *column.of(t);
      for (std::int64_t t = 0; t < all.size; ++t) *column.of(t) = slope * firsts;
    });
    team.sync();
  }

  template <class Element>
  MESHLOOM_DEVICE static void add_weights(const Element* slope, const Element* share, const std::int32_t* slot,
                                          Element* made, std::int64_t experts) {
    Element sum = Choices == 1 ? 1 : 0, mean = 0;
    for (std::int64_t e = 0; Choices == 2 && e < experts; ++e) {
      sum += slot[e] >= 0 ? share[e] : 0;
      mean += slot[e] >= 0 ? slope[e] * share[e] : 0;
    }
    if (Choices == 2) mean = sum > 0 ? mean / sum : 0;
    for (std::int64_t e = 0; e < experts; ++e) {
      const Element through = slot[e] >= 0 && sum > 0 ? (slope[e] - mean) / sum : 0;
      made[e] = Balanced ? made[e] + through : through;
    }
  }
};

/// A team fills some slots of one expert's buffer of one row.
template <bool Weighted>
struct dispatch_kernel {
  static constexpr std::int64_t slots = 64;  ///< of one task

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(rows_of(with)) * blocks(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const view& made = with.result[0];
    const view& x = with.operand[Weighted ? 2 : 1];
    const int slot_axis = made.rank - 2;
    const row_index buffer(rows_of(with), which / blocks(made));
    const std::int64_t first = which % blocks(made) * slots, left = made.extent[slot_axis] - first;
    const std::int64_t n = left < slots ? left : slots, tokens = x.extent[x.rank - 2],
                       width = made.extent[made.rank - 1];
    if (width == 0) return;

    // The first element of every slot says which token takes it, until the token is there.
    const std::int64_t step = made.stride[slot_axis], origin = made.origin[slot_axis] + first;
    Element* const to = buffer.template in<Element>(made) + first * step;
    const auto slot = choice_of<const std::int32_t>(with.operand[Weighted ? 1 : 0], buffer);
    team.for_each(n, [=](std::int64_t s) { note(to[s * step], -1); });
    team.sync();
    team.for_each_scalar(tokens, [=](std::int64_t t) {
      const std::int64_t s = *slot.of(t) - origin;
      if (s >= 0 && s < n) note(to[s * step], t);
    });
    team.sync();
    const token_table<const Element> from{x.template as<const Element>() + row_offset(x, buffer), x.stride[x.rank - 2]};
    for (std::int64_t s = 0; s < n; ++s) {
      const std::int64_t token = noted(to[s * step], slot, origin + s, tokens);
      team.sync();
      Element* const y = to + s * step;
      if (token < 0) {
        team.for_each(width, [=](std::int64_t i) { y[i] = 0; });
      } else if constexpr (Weighted) {
        using number = computed<Element>;
        const number weight = *choice_of<const number>(with.operand[0], buffer).of(token);
        team.for_each(width, [=, row = from.of(token)](std::int64_t i) { y[i] = weight * row[i]; });
      } else {
        team.for_each(width, [=, row = from.of(token)](std::int64_t i) { y[i] = row[i]; });
      }
    }
  }

 private:
  /// Notes a token, or −1, in an element: exact below 2²⁴ tokens, in 16 bits the lowest 16 of its own.
  template <class Element>
  MESHLOOM_DEVICE static void note(Element& in, std::int64_t token) {
    if constexpr (half_type<Element>)
      in.bits = static_cast<std::uint16_t>(token);
    else
      in = static_cast<Element>(token);
  }

  /// The token that is noted in an element as the one that takes `wanted` of the slots `slot`; else none, −1.
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t noted(Element in, const token_table<const std::int32_t>& slot,
                                            std::int64_t wanted, std::int64_t tokens) {
    if constexpr (!half_type<Element>)
      return static_cast<std::int64_t>(in);
    else {
      std::int64_t token = in.bits;
      while (token < tokens && *slot.of(token) != wanted) token += 1 << 16;
      return token < tokens ? token : -1;
    }
  }

  /// The buffers as a tensor [expert, rows…, slot].
  MESHLOOM_DEVICE static view rows_of(const call& with) {
    view made = with.result[0];
    --made.rank;
    return made;
  }
  MESHLOOM_DEVICE static std::int64_t blocks(const view& made) {
    return (made.extent[made.rank - 2] + slots - 1) / slots;
  }
  /// Where the row of a buffer begins in a tensor [rows…, …].
  MESHLOOM_DEVICE static std::int64_t row_offset(const view& shard, const row_index& buffer) {
    std::int64_t offset = 0;
    for (int axis = 1; axis < buffer.axes; ++axis) offset += buffer.at[axis] * shard.stride[axis - 1];
    return offset;
  }
  /// What a tensor [rows…, token, expert] has for the expert of a buffer, token by token.
  template <class Element>
  MESHLOOM_DEVICE static token_table<Element> choice_of(const view& shard, const row_index& buffer) {
    return {shard.as<Element>() + row_offset(shard, buffer) + buffer.at[0] * shard.stride[shard.rank - 1],
            shard.stride[shard.rank - 2]};
  }
};

namespace detail {

/// The slots of one token in buffers [expert, rows…, slot, feature].
template <class Element>
struct slots_of_token {
  const std::int32_t* slot;
  std::int64_t stride, origin, extent, expert_step, slot_step;
  const Element* row;

  MESHLOOM_DEVICE slots_of_token(const view& slots, const view& buffers, const row_index& token)
      : slot(token.in<const std::int32_t>(slots)),
        stride(slots.stride[slots.rank - 1]),
        origin(buffers.origin[buffers.rank - 2]),
        extent(buffers.extent[buffers.rank - 2]),
        expert_step(buffers.stride[0]),
        slot_step(buffers.stride[buffers.rank - 2]),
        row(buffers.as<const Element>()) {
    for (int axis = 0; axis + 1 < token.axes; ++axis) row += token.at[axis] * buffers.stride[axis + 1];
  }

  /// What lies in the token's slot of an expert; null if it has none here.
  MESHLOOM_DEVICE const Element* of(std::int64_t expert) const {
    const std::int64_t at = slot[expert * stride] - origin;
    return at >= 0 && at < extent ? row + expert * expert_step + at * slot_step : nullptr;
  }
};

}  // namespace detail

/// A team per token, whose row is written, and rounded, once. Loops are for up to two experts, as `route` gives them.
template <bool Weighted>
struct combine_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const view& made = with.result[0];
    const view& buffers = with.operand[Weighted ? 2 : 1];
    const row_index token(made, which);
    const detail::slots_of_token<Element> slots(with.operand[Weighted ? 1 : 0], buffers, token);
    const std::int64_t width = made.extent[made.rank - 1], experts = buffers.extent[0];
    Element* const y = token.template in<Element>(made);
    const auto next = [&](std::int64_t expert) {
      while (expert < experts && slots.of(expert) == nullptr) ++expert;
      return expert;
    };
    const auto share_of = [&](std::int64_t expert) {
      return share<Element>{slots.of(expert), weight<computed<Element>>(with, token, expert)};
    };
    const std::int64_t first = next(0), second = next(first + 1);
    if (first >= experts) return team.for_each(width, [=](std::int64_t i) { y[i] = 0; });
    const share<Element> one = share_of(first);
    if (second >= experts) return team.for_each(width, [=](std::int64_t i) { y[i] = one.at(i); });
    const share<Element> other = share_of(second);
    if (next(second + 1) >= experts)
      return team.for_each(width, [=](std::int64_t i) { y[i] = one.at(i) + other.at(i); });
    team.for_each_scalar(width, [=](std::int64_t i) {
      computed<Element> sum = one.at(i) + other.at(i);
      for (std::int64_t e = next(second + 1); e < experts; e = next(e + 1)) sum += share_of(e).at(i);
      y[i] = sum;
    });
  }

 private:
  /// What one expert gives to a token.
  template <class Element>
  struct share {
    const Element* x;
    computed<Element> weight;

    MESHLOOM_DEVICE computed<Element> at(std::int64_t i) const { return weight * x[i]; }
  };

  template <class Number>
  MESHLOOM_DEVICE static Number weight(const call& with, const row_index& token, std::int64_t expert) {
    if constexpr (!Weighted) return 1;
    const view& weights = with.operand[0];
    return token.in<const Number>(weights)[expert * weights.stride[weights.rank - 1]];
  }
};

/// A team per token.
struct combine_gradient_weight_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const view& slopes = with.operand[0];
    const view& made = with.result[0];
    const row_index token(made, which);
    const detail::slots_of_token<Element> slots(with.operand[1], with.operand[2], token);
    const Element* const dy = token.template in<const Element>(slopes);
    using number = computed<Element>;
    number* const dweight = token.template in<number>(made);
    for (std::int64_t e = 0; e < made.extent[made.rank - 1]; ++e) {
      const Element* const x = slots.of(e);
      const number sum = x == nullptr ? number(0)
                                      : team.template reduce<number>(slopes.extent[slopes.rank - 1], 0, addition{},
                                                                     [=](std::int64_t i) { return dy[i] * x[i]; });
      write_once(team, dweight + e, sum);
    }
  }
};

template <int Rows, int Choices>
struct kernel_of<op::route<Rows, Choices>> : route_kernel<Choices> {};
template <int Rows, int Choices, bool Balanced>
struct kernel_of<op::route_gradient<Rows, Choices, Balanced>> : route_gradient_kernel<Choices, Balanced> {};
template <int Rows, bool Weighted>
struct kernel_of<op::dispatch<Rows, Weighted>> : dispatch_kernel<Weighted> {};
template <int Rows, bool Weighted>
struct kernel_of<op::combine<Rows, Weighted>> : combine_kernel<Weighted> {};
template <int Rows>
struct kernel_of<op::combine_gradient_weight<Rows>> : combine_gradient_weight_kernel {};

}  // namespace meshloom
