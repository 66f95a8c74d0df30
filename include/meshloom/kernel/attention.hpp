// SPDX-License-Identifier: Apache-2.0
// Attention and its gradient, block by block of queries and keys. The scores of one block at a time are made, used and
// forgotten, and a query's shares are those of the keys so far until it has met them all (online softmax: Milakov and
// Gimelshein 2018; Dao et al. 2022). With a causal mask, blocks that no query sees cost nothing.
// Law: elements of a head are contiguous. Keys that lie before or after those of the shard are left out: a query that
// sees none gets out = 0 and logsum = −infinity, so that any window of the keys is computed alone, and windows merge:
// in a round after the first, results go on from those of the keys before. Numbers of 16 bits meet in products, with
// shares rounded to them; scores, shares' sums and all results but one are float, and that one, out, is rounded once.
#pragma once

#include <meshloom/kernel/contraction.hpp>
#include <meshloom/kernel/math.hpp>
#include <meshloom/op/attention.hpp>

namespace meshloom {

namespace detail {

/// A block is low, so that little is computed beyond the diagonal of a mask, and wide, so that most queries meet all
/// their keys at once. An arithmetic has scratch for four of them.
inline constexpr std::int64_t queries_at_once = 64, keys_at_once = 256;

/// One head of a tensor: a row for every position, or its element in a tensor of one number each.
template <class Element>
struct head_rows {
  Element* data = nullptr;
  std::int64_t step = 0;

  Element* operator[](std::int64_t position) const { return data + position * step; }
  void clear(std::int64_t first, std::int64_t count, std::int64_t width) const {
    for (std::int64_t i = first; i < first + count; ++i) std::fill_n((*this)[i], width, Element{});
  }
};

template <class Element>
void round_row(const float* from, Element* to, std::int64_t n) {
  host_team{}.for_each(n, [=](std::int64_t i) { to[i] = from[i]; });
}

/// A block of numbers as operands of products: rounded to Element in memory of its own, or where it is.
template <class Element>
Element* as_operand(computed<Element>* block, Element* room, std::int64_t tall, std::int64_t wide) {
  if constexpr (half_type<Element>) {
    for (std::int64_t i = 0; i < tall; ++i) round_row(block + i * keys_at_once, room + i * keys_at_once, wide);
    return room;
  } else {
    return block;
  }
}

/// A head of keys, and the heads of queries that share it, in the tensors of a call.
template <int Rows, bool Grouped>
class head_group {
 public:
  static std::int64_t count(const view& keys) {
    std::int64_t product = keys.extent[Rows + 1];
    for (int axis = 0; axis < Rows; ++axis) product *= keys.extent[axis];
    return product;
  }
  static std::int64_t shares(const view& queries) { return Grouped ? queries.extent[Rows + 2] : 1; }

  head_group(const view& keys, std::int64_t which) : head_(which % keys.extent[Rows + 1]) {
    which /= keys.extent[Rows + 1];
    for (int axis = Rows - 1; axis >= 0; --axis) {
      row_[axis] = which % keys.extent[axis];
      which /= keys.extent[axis];
    }
  }

  /// Of keys, values and their gradients.
  template <class Element>
  head_rows<Element> keys(const view& of) const {
    return {first<Element>(of, Rows + 1), of.stride[Rows]};
  }
  /// Of queries, results and their gradients.
  template <class Element>
  head_rows<Element> queries(const view& of, std::int64_t share) const {
    return {first<Element>(of, Rows + 1) + (Grouped ? share * of.stride[Rows + 2] : 0), of.stride[Rows]};
  }
  template <class Element>
  head_rows<Element> logsum(const view& of, std::int64_t share) const {
    return {first<Element>(of, Rows) + (Grouped ? share * of.stride[Rows + 1] : 0), of.stride[of.rank - 1]};
  }

 private:
  template <class Element>
  Element* first(const view& of, int head_axis) const {
    std::int64_t offset = head_ * of.stride[head_axis];
    for (int axis = 0; axis < Rows; ++axis) offset += row_[axis] * of.stride[axis];
    return of.as<Element>() + offset;
  }

  std::int64_t head_;
  std::int64_t row_[Rows + 1] = {};
};

/// How much there is in a head, and what its queries see.
template <int Rows, bool Causal>
struct head_shape {
  std::int64_t queries, keys, head;
  std::int64_t ahead;  ///< how far the first query is ahead of the first key

  head_shape(const view& q, const view& k)
      : queries(q.extent[Rows]),
        keys(k.extent[Rows]),
        head(k.extent[Rows + 2]),
        ahead(q.origin[Rows] - k.origin[Rows]) {}

  /// The number of keys that a query sees, of `wide` from `key` on: the leading ones.
  std::int64_t seen(std::int64_t query, std::int64_t key, std::int64_t wide) const {
    if constexpr (!Causal) return wide;
    return std::clamp<std::int64_t>(query + 1 + ahead - key, 0, wide);
  }
};

}  // namespace detail

template <int Rows, bool Causal, bool Grouped>
struct attention_kernel {
  using products = void;
  using group = detail::head_group<Rows, Grouped>;
  using shape = detail::head_shape<Rows, Causal>;

  template <class Element, arithmetic<Element> Arithmetic>
  static void run(Arithmetic& how, const call& with) {
    const view &q = with.operand[0], &k = with.operand[1];
    const shape all(q, k);
    for (std::int64_t which = 0; which < group::count(k); ++which) {
      const group heads(k, which);
      for (std::int64_t share = 0; share < group::shares(q); ++share) {
        const tensors<Element> at{.q = heads.template queries<const Element>(q, share),
                                  .k = heads.template keys<const Element>(k),
                                  .v = heads.template keys<const Element>(with.operand[2]),
                                  .out = heads.template queries<Element>(with.result[0], share),
                                  .logsum = heads.template logsum<computed<Element>>(with.result[1], share),
                                  .scale = static_cast<computed<Element>>(with.attribute[0]),
                                  .merges = with.round > 0};
        for (std::int64_t first = 0; first < all.queries; first += tallest) attend(how, all, at, first);
      }
    }
  }

 private:
  static constexpr std::int64_t tallest = detail::queries_at_once, widest = detail::keys_at_once;

  /// One head of queries with its keys.
  template <class Element>
  struct tensors {
    detail::head_rows<const Element> q, k, v;
    detail::head_rows<Element> out;
    detail::head_rows<computed<Element>> logsum;
    computed<Element> scale;
    bool merges;  ///< out and logsum hold what other keys have made
  };

  /// Rows of the result while they are summed: beside it where it has fewer bits.
  template <class Element>
  static detail::head_rows<computed<Element>> begin_sums(const tensors<Element>& at, std::int64_t first,
                                                         std::int64_t tall, std::int64_t head,
                                                         [[maybe_unused]] computed<Element>* room) {
    if (!at.merges) at.out.clear(first, tall, head);
    if constexpr (half_type<Element>) {
      for (std::int64_t i = 0; i < tall; ++i) std::copy_n(at.out[first + i], head, room + i * head);
      return {room, head};
    } else {
      return {at.out[first], at.out.step};
    }
  }

  /// The block of queries from `first` on.
  template <class Element, class Arithmetic>
  static void attend(Arithmetic& how, const shape& all, const tensors<Element>& at, std::int64_t first) {
    using number = computed<Element>;
    const std::int64_t tall = std::min(tallest, all.queries - first), keys = all.seen(first + tall - 1, 0, all.keys);
    number* const scores = how.template scratch<number>().data();
    auto* const room = reinterpret_cast<Element*>(scores + tallest * widest);
    if (at.merges && keys == 0) return;
    number top[tallest], sum[tallest];
    for (std::int64_t i = 0; i < tall; ++i) {  // of keys met before: their sum, in units of itself
      const number before = at.merges ? *at.logsum[first + i] : -math::float_format<number>::infinity;
      const bool any = before > -math::float_format<number>::infinity;
      top[i] = any ? before : math::float_format<number>::lowest;
      sum[i] = any ? number(1) : number(0);
    }
    const auto out = begin_sums(at, first, tall, all.head, scores + 2 * tallest * widest);
    for (std::int64_t key = 0; key < keys; key += widest) {
      const std::int64_t wide = std::min(widest, keys - key);
      how.template gemm<Element>(tall, wide, all.head, at.q[first], at.q.step, 1, at.k[key], 1, at.k.step, false,
                                 scores, widest, 1);
      for (std::int64_t i = 0; i < tall; ++i) {
        number* const score = scores + i * widest;
        const number kept = meet(score, all.seen(first + i, key, wide), wide, at.scale, top[i], sum[i]);
        if (key > 0 || at.merges) scale_by(kept, out[i], all.head);
      }
      const Element* const shares = detail::as_operand(scores, room, tall, wide);
      how.template gemm<Element>(tall, all.head, wide, shares, widest, 1, at.v[key], at.v.step, 1, true, out[0],
                                 out.step, 1);
    }
    for (std::int64_t i = 0; i < tall; ++i) {
      scale_by(sum[i] > 0 ? 1 / sum[i] : number(0), out[i], all.head);
      if constexpr (half_type<Element>) detail::round_row(out[i], at.out[first + i], all.head);
      *at.logsum[first + i] = sum[i] > 0 ? top[i] + math::log(sum[i]) : -math::float_format<number>::infinity;
    }
  }

  /// One query's scores become shares, in units of e^top. `top` is the largest score so far, `sum` that of all shares;
  /// returns what is left of shares in the units before.
  template <class Element>
  static Element meet(Element* score, std::int64_t seen, std::int64_t wide, Element scale, Element& top, Element& sum) {
    const host_team team;
    const Element before = top;
    team.for_each(wide, [=](std::int64_t i) { score[i] *= scale; });
    std::fill(score + seen, score + wide, -math::float_format<Element>::infinity);
    const Element now = team.reduce<Element>(wide, before, maximum{}, [=](std::int64_t i) { return score[i]; });
    const Element here =
        team.reduce<Element>(wide, 0, addition{}, [=](std::int64_t i) { return score[i] = math::exp(score[i] - now); });
    const Element kept = math::exp(before - now);
    top = now;
    sum = sum * kept + here;
    return kept;
  }

  template <class Element>
  static void scale_by(Element factor, Element* row, std::int64_t n) {
    host_team{}.for_each(n, [=](std::int64_t i) { row[i] *= factor; });
  }
};

/// With p the shares, found again from logsum, and ds = scale · p · (dout·vᵀ − Σ dout·out):
/// dq = ds·k, dk = dsᵀ·q, dv = pᵀ·dout.
template <int Rows, bool Causal, bool Grouped>
struct attention_gradient_kernel {
  using products = void;
  using group = detail::head_group<Rows, Grouped>;
  using shape = detail::head_shape<Rows, Causal>;

  template <class Element, arithmetic<Element> Arithmetic>
  static void run(Arithmetic& how, const call& with) {
    const view &q = with.operand[1], &k = with.operand[2];
    const shape all(q, k);
    for (std::int64_t which = 0; which < group::count(k); ++which) {
      const group heads(k, which);
      using number = computed<Element>;
      const auto dk = heads.template keys<number>(with.result[1]), dv = heads.template keys<number>(with.result[2]);
      if (with.round == 0) {
        dk.clear(0, all.keys, all.head);
        dv.clear(0, all.keys, all.head);
      }
      for (std::int64_t share = 0; share < group::shares(q); ++share) {
        const tensors<Element> at{.dout = heads.template queries<const Element>(with.operand[0], share),
                                  .q = heads.template queries<const Element>(q, share),
                                  .k = heads.template keys<const Element>(k),
                                  .v = heads.template keys<const Element>(with.operand[3]),
                                  .out = heads.template queries<const Element>(with.operand[4], share),
                                  .logsum = heads.template logsum<const number>(with.operand[5], share),
                                  .dq = heads.template queries<number>(with.result[0], share),
                                  .dk = dk,
                                  .dv = dv,
                                  .scale = static_cast<number>(with.attribute[0]),
                                  .adds = with.round > 0};
        for (std::int64_t first = 0; first < all.queries; first += tallest) attend(how, all, at, first);
      }
    }
  }

 private:
  static constexpr std::int64_t tallest = detail::queries_at_once, widest = detail::keys_at_once;

  /// One head of queries with its keys.
  template <class Element>
  struct tensors {
    detail::head_rows<const Element> dout, q, k, v, out;
    detail::head_rows<const computed<Element>> logsum;
    detail::head_rows<computed<Element>> dq, dk, dv;
    computed<Element> scale;
    bool adds;  ///< to what dq holds
  };

  /// The block of queries from `first` on.
  template <class Element, class Arithmetic>
  static void attend(Arithmetic& how, const shape& all, const tensors<Element>& at, std::int64_t first) {
    const std::int64_t tall = std::min(tallest, all.queries - first), keys = all.seen(first + tall - 1, 0, all.keys);
    using number = computed<Element>;
    number* const p = how.template scratch<number>().data();
    number* const ds = p + tallest * widest;
    auto* const room = reinterpret_cast<Element*>(ds + tallest * widest);
    number delta[tallest];
    for (std::int64_t i = 0; i < tall; ++i) delta[i] = product<number>(at.dout[first + i], at.out[first + i], all.head);
    if (!at.adds) at.dq.clear(first, tall, all.head);
    for (std::int64_t key = 0; key < keys; key += widest) {
      const std::int64_t wide = std::min(widest, keys - key);
      const auto between = [&](const auto& left, const auto& right, number* to) {  // to = left·rightᵀ
        how.template gemm<Element>(tall, wide, all.head, left[first], left.step, 1, right[key], 1, right.step, false,
                                   to, widest, 1);
      };
      const auto add_to_keys = [&](const auto& to, const Element* left, const auto& right) {  // to += leftᵀ·right
        how.template gemm<Element>(wide, all.head, tall, left, 1, widest, right[first], right.step, 1, true, to[key],
                                   to.step, 1);
      };
      between(at.q, at.k, p);
      between(at.dout, at.v, ds);
      for (std::int64_t i = 0; i < tall; ++i) {
        const std::int64_t seen = all.seen(first + i, key, wide);
        differentiate(p + i * widest, ds + i * widest, seen, wide, at.scale, *at.logsum[first + i], delta[i]);
      }
      add_to_keys(at.dv, detail::as_operand(p, room, tall, wide), at.dout);
      const Element* const slopes = detail::as_operand(ds, room, tall, wide);
      add_to_keys(at.dk, slopes, at.q);
      how.template gemm<Element>(tall, all.head, wide, slopes, widest, 1, at.k[key], at.k.step, 1, true, at.dq[first],
                                 at.dq.step, 1);
    }
  }

  /// One query's products with keys (in p) and those of its gradient with values (in ds) become what p and ds say.
  template <class Element>
  static void differentiate(Element* p, Element* ds, std::int64_t seen, std::int64_t wide, Element scale,
                            Element logsum, Element delta) {
    host_team{}.for_each(wide, [=](std::int64_t i) {
      p[i] = math::exp(scale * p[i] - logsum);
      ds[i] = scale * p[i] * (ds[i] - delta);
    });
    std::fill(p + seen, p + wide, Element(0));
    std::fill(ds + seen, ds + wide, Element(0));
  }

  template <class Number, class Element>
  static Number product(const Element* left, const Element* right, std::int64_t n) {
    return host_team{}.reduce<Number>(n, 0, addition{},
                                      [=](std::int64_t i) { return Number(left[i]) * Number(right[i]); });
  }
};

template <int Rows, bool Causal, bool Grouped>
struct kernel_of<op::attention<Rows, Causal, Grouped>> : attention_kernel<Rows, Causal, Grouped> {};
template <int Rows, bool Causal, bool Grouped>
struct kernel_of<op::attention_gradient<Rows, Causal, Grouped>> : attention_gradient_kernel<Rows, Causal, Grouped> {};

}  // namespace meshloom
