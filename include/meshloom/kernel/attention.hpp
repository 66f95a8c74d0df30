// SPDX-License-Identifier: Apache-2.0
// Attention and its gradient, block by block of queries and keys. The scores of one block at a time are made, used and
// forgotten, and a query's shares are those of the keys so far until it has met them all (online softmax: Milakov and
// Gimelshein 2018; Dao et al. 2022). With a causal mask, blocks that no query sees cost nothing.
// Law: elements of a head are contiguous. Keys that lie before or after those of the shard are left out: a query that
// sees none gets out = 0 and logsum = −infinity, so that any window of the keys is computed alone, and windows merge:
// in a round after the first, results go on from those of the keys before.
#pragma once

#include <meshloom/kernel/contraction.hpp>
#include <meshloom/kernel/math.hpp>
#include <meshloom/op/attention.hpp>

namespace meshloom {

namespace detail {

/// A block is low, so that little is computed beyond the diagonal of a mask, and wide, so that most queries meet all
/// their keys at once. An arithmetic has scratch for two of them.
inline constexpr std::int64_t queries_at_once = 64, keys_at_once = 256;

/// One head of a tensor: a row for every position, or its element in a tensor of one number each.
template <class Element>
struct head_rows {
  Element* data = nullptr;
  std::int64_t step = 0;

  Element* operator[](std::int64_t position) const { return data + position * step; }
  void clear(std::int64_t first, std::int64_t count, std::int64_t width) const {
    for (std::int64_t i = first; i < first + count; ++i) std::fill_n((*this)[i], width, Element(0));
  }
};

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
                                  .logsum = heads.template logsum<Element>(with.result[1], share),
                                  .scale = static_cast<Element>(with.attribute[0]),
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
    detail::head_rows<Element> out, logsum;
    Element scale;
    bool merges;  ///< out and logsum hold what other keys have made
  };

  /// The block of queries from `first` on.
  template <class Element, class Arithmetic>
  static void attend(Arithmetic& how, const shape& all, const tensors<Element>& at, std::int64_t first) {
    const std::int64_t tall = std::min(tallest, all.queries - first), keys = all.seen(first + tall - 1, 0, all.keys);
    Element* const scores = how.template scratch<Element>().data();
    if (at.merges && keys == 0) return;
    Element top[tallest], sum[tallest];
    for (std::int64_t i = 0; i < tall; ++i) {  // of keys met before: their sum, in units of itself
      const Element before = at.merges ? *at.logsum[first + i] : -math::float_format<Element>::infinity;
      const bool any = before > -math::float_format<Element>::infinity;
      top[i] = any ? before : math::float_format<Element>::lowest;
      sum[i] = any ? Element(1) : Element(0);
    }
    if (!at.merges) at.out.clear(first, tall, all.head);
    for (std::int64_t key = 0; key < keys; key += widest) {
      const std::int64_t wide = std::min(widest, keys - key);
      how.template gemm<Element>(tall, wide, all.head, at.q[first], at.q.step, 1, at.k[key], 1, at.k.step, false,
                                 scores, widest, 1);
      for (std::int64_t i = 0; i < tall; ++i) {
        Element* const score = scores + i * widest;
        const Element kept = meet(score, all.seen(first + i, key, wide), wide, at.scale, top[i], sum[i]);
        if (key > 0 || at.merges) scale_by(kept, at.out[first + i], all.head);
      }
      how.template gemm<Element>(tall, all.head, wide, scores, widest, 1, at.v[key], at.v.step, 1, true, at.out[first],
                                 at.out.step, 1);
    }
    for (std::int64_t i = 0; i < tall; ++i) {
      scale_by(sum[i] > 0 ? 1 / sum[i] : Element(0), at.out[first + i], all.head);
      *at.logsum[first + i] = sum[i] > 0 ? top[i] + math::log(sum[i]) : -math::float_format<Element>::infinity;
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
      const auto dk = heads.template keys<Element>(with.result[1]), dv = heads.template keys<Element>(with.result[2]);
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
                                  .logsum = heads.template logsum<const Element>(with.operand[5], share),
                                  .dq = heads.template queries<Element>(with.result[0], share),
                                  .dk = dk,
                                  .dv = dv,
                                  .scale = static_cast<Element>(with.attribute[0]),
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
    detail::head_rows<const Element> dout, q, k, v, out, logsum;
    detail::head_rows<Element> dq, dk, dv;
    Element scale;
    bool adds;  ///< to what dq holds
  };

  /// The block of queries from `first` on.
  template <class Element, class Arithmetic>
  static void attend(Arithmetic& how, const shape& all, const tensors<Element>& at, std::int64_t first) {
    const std::int64_t tall = std::min(tallest, all.queries - first), keys = all.seen(first + tall - 1, 0, all.keys);
    Element* const p = how.template scratch<Element>().data();
    Element* const ds = p + tallest * widest;
    Element delta[tallest];
    for (std::int64_t i = 0; i < tall; ++i) delta[i] = product(at.dout[first + i], at.out[first + i], all.head);
    if (!at.adds) at.dq.clear(first, tall, all.head);
    for (std::int64_t key = 0; key < keys; key += widest) {
      const std::int64_t wide = std::min(widest, keys - key);
      const auto between = [&](const auto& left, const auto& right, Element* to) {  // to = left·rightᵀ
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
      add_to_keys(at.dv, p, at.dout);
      add_to_keys(at.dk, ds, at.q);
      how.template gemm<Element>(tall, all.head, wide, ds, widest, 1, at.k[key], at.k.step, 1, true, at.dq[first],
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

  template <class Element>
  static Element product(const Element* left, const Element* right, std::int64_t n) {
    return host_team{}.reduce<Element>(n, 0, addition{}, [=](std::int64_t i) { return left[i] * right[i]; });
  }
};

template <int Rows, bool Causal, bool Grouped>
struct kernel_of<op::attention<Rows, Causal, Grouped>> : attention_kernel<Rows, Causal, Grouped> {};
template <int Rows, bool Causal, bool Grouped>
struct kernel_of<op::attention_gradient<Rows, Causal, Grouped>> : attention_gradient_kernel<Rows, Causal, Grouped> {};

}  // namespace meshloom
