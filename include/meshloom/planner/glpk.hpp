// SPDX-License-Identifier: Apache-2.0
// The integer program of a network, solved by GLPK: a binary per option, a share in [0, 1] per pair of options that may
// meet, and a row per moment that was found overfull. The only header that includes <glpk.h>. Laws: it is stopped by
// counts; an assignment that it returns fits, checked in integers; its bound is lowered by more than GLPK's tolerances.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/planner/integer_solver.hpp>

#include <glpk.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csetjmp>
#include <cstring>

namespace meshloom {

struct glpk_limits {
  std::int32_t nodes = 10'000;    ///< of the tree
  std::int32_t pivots = 200'000;  ///< of the simplex method, each time it is begun at the root
  double gap = 0;                 ///< relative gap that is good enough
};

namespace detail {

/// The program as plain arrays, counted from one as GLPK does, and what came of it. GLPK leaves `run` by a long jump
/// when it fails, so everything that lives meanwhile is a member, and no frame on the way has anything to destroy.
class integer_program {
 public:
  integer_program(const intra::network& net, const glpk_limits& limits);

  /// Runs GLPK; what it complained of if it failed, otherwise nothing.
  std::string solve();

  bool met() const { return met_; }
  intra::assignment options() const;
  std::int64_t bound() const;

 private:
  int add_row(double value);
  int add_column(std::int64_t price, bool binary);
  void add_entry(int row, int column, double value);
  void add_edge(const intra::network::edge& each);
  void find_unit();

  void run();
  void load();
  bool relax();
  void branch();
  void watch(glp_tree* tree);
  int add_overfull();
  void fill_moment(std::size_t moment);

  const intra::network& net_;
  const vector<std::size_t> number_;
  const glpk_limits limits_;
  double unit_ = 1;  ///< prices are divided by it, to stay near what the tolerances are made for
  vector<double> sums_{0}, prices_{0}, values_{0};
  vector<int> binary_{0}, rows_{0}, columns_{0};

  glp_prob* program_ = nullptr;
  vector<double> change_;  ///< bytes that begin or end at each moment
  vector<int> moment_columns_;
  vector<double> moment_values_;
  vector<double> chosen_;   ///< by option number
  double least_ = 0;        ///< lower bound, in units
  std::int32_t added_ = 0;  ///< rows of moments
  bool met_ = false;
  std::jmp_buf landing_;
  std::array<char, 200> complaint_{};
};

inline integer_program::integer_program(const intra::network& net, const glpk_limits& limits)
    : net_(net),
      number_(intra::numbering(net)),
      limits_(limits),
      change_(net.room.size() + 1),
      moment_columns_(number_.back() + 1),
      moment_values_(number_.back() + 1),
      chosen_(number_.back()) {
  find_unit();
  for (const intra::network::variable& variable : net.variables) {
    const int one = add_row(1);
    for (const std::int64_t price : variable.cost) add_entry(one, add_column(price, true), 1);
  }
  for (const intra::network::edge& each : net.edges) add_edge(each);
}

/// A power of two that makes the largest price at most a million.
inline void integer_program::find_unit() {
  std::int64_t largest = 0;
  const auto look = [&](const vector<std::int64_t>& prices) {
    for (const std::int64_t price : prices) largest = std::max(largest, price < intra::never ? price : 0);
  };
  for (const auto& variable : net_.variables) look(variable.cost);
  for (const auto& each : net_.edges) look(each.cost);
  while (static_cast<double>(largest) > unit_ * 1e6) unit_ *= 2;
}

inline int integer_program::add_row(double value) {
  sums_.push_back(value);
  return static_cast<int>(sums_.size()) - 1;
}

inline int integer_program::add_column(std::int64_t price, bool binary) {
  const bool possible = price < intra::never;
  prices_.push_back(possible ? static_cast<double>(price) / unit_ : 0);
  binary_.push_back(binary ? (possible ? 1 : 2) : 0);
  return static_cast<int>(prices_.size()) - 1;
}

inline void integer_program::add_entry(int row, int column, double value) {
  rows_.push_back(row);
  columns_.push_back(column);
  values_.push_back(value);
}

/// The shares of the pairs with an option add up to that option.
inline void integer_program::add_edge(const intra::network::edge& each) {
  const std::size_t rows = net_.options(each.left), columns = net_.options(each.right);
  const auto row_of = [&](std::int32_t variable, std::size_t option) {
    const int row = add_row(0);
    add_entry(row, static_cast<int>(number_[static_cast<std::size_t>(variable)] + option) + 1, -1);
    return row;
  };
  vector<int> right;
  for (std::size_t j = 0; j < columns; ++j) right.push_back(row_of(each.right, j));
  for (std::size_t i = 0; i < rows; ++i) {
    const int left = row_of(each.left, i);
    for (std::size_t j = 0; j < columns; ++j) {
      const std::int64_t price = each.cost[i * columns + j];
      if (price >= intra::never) continue;
      const int share = add_column(price, false);
      add_entry(left, share, 1);
      add_entry(right[j], share, 1);
    }
  }
}

inline std::string integer_program::solve() {
  if (setjmp(landing_) != 0) {
    glp_free_env();  // what GLPK's manual asks for (section 6.1): nothing else of it may be used any more
    return complaint_.data();
  }
  glp_error_hook([](void* self) { std::longjmp(static_cast<integer_program*>(self)->landing_, 1); }, this);
  glp_term_hook(
      [](void* self, const char* text) {
        auto& complaint = static_cast<integer_program*>(self)->complaint_;
        if (std::strncmp(text, "Error detected", 14) != 0) std::strncpy(complaint.data(), text, complaint.size() - 1);
        return 1;  // do not print it
      },
      this);
  run();
  glp_term_hook(nullptr, nullptr);
  glp_error_hook(nullptr, nullptr);
  return {};
}

inline void integer_program::run() {
  program_ = glp_create_prob();
  load();
  if (relax()) branch();
  glp_delete_prob(program_);
}

inline void integer_program::load() {
  glp_add_rows(program_, static_cast<int>(sums_.size()) - 1);
  for (std::size_t row = 1; row < sums_.size(); ++row) {
    glp_set_row_bnds(program_, static_cast<int>(row), GLP_FX, sums_[row], sums_[row]);
  }
  glp_add_cols(program_, static_cast<int>(prices_.size()) - 1);
  for (std::size_t k = 1; k < prices_.size(); ++k) {
    const int column = static_cast<int>(k);
    if (binary_[k] != 0) glp_set_col_kind(program_, column, GLP_BV);
    if (binary_[k] == 0) glp_set_col_bnds(program_, column, GLP_LO, 0, 0);
    if (binary_[k] == 2) glp_set_col_bnds(program_, column, GLP_FX, 0, 0);  // forbidden
    glp_set_obj_coef(program_, column, prices_[k]);
  }
  glp_load_matrix(program_, static_cast<int>(values_.size()) - 1, rows_.data(), columns_.data(), values_.data());
}

/// The linear relaxation, with rows for all moments that it overfills; false if it was not solved.
inline bool integer_program::relax() {
  glp_smcp how;
  glp_init_smcp(&how);
  how.msg_lev = GLP_MSG_OFF;
  how.it_lim = limits_.pivots;
  glp_adv_basis(program_, 0);
  do {
    if (glp_simplex(program_, &how) != 0 || glp_get_status(program_) != GLP_OPT) return false;
    least_ = std::max(least_, glp_get_obj_val(program_));
  } while (add_overfull() > 0 && added_ <= limits_.nodes);
  return true;
}

inline void integer_program::branch() {
  glp_iocp how;
  glp_init_iocp(&how);
  how.msg_lev = GLP_MSG_OFF;
  how.mip_gap = limits_.gap;
  how.cb_func = [](glp_tree* tree, void* self) { static_cast<integer_program*>(self)->watch(tree); };
  how.cb_info = this;
  const int stopped = glp_intopt(program_, &how);
  const int status = glp_mip_status(program_);
  met_ = status == GLP_OPT || status == GLP_FEAS;
  if (status == GLP_OPT && stopped == 0) least_ = std::max(least_, glp_mip_obj_val(program_));
  for (std::size_t n = 0; met_ && n < chosen_.size(); ++n)
    chosen_[n] = glp_mip_col_val(program_, static_cast<int>(n) + 1);
}

inline void integer_program::watch(glp_tree* tree) {
  const int reason = glp_ios_reason(tree);
  if (reason == GLP_IROWGEN) add_overfull();  // without GLPK's presolver, the tree works on our program itself
  if (reason != GLP_ISELECT) return;
  const int best = glp_ios_best_node(tree);
  if (best != 0) least_ = std::max(least_, glp_ios_node_bound(tree, best));
  int nodes = 0;
  glp_ios_tree_size(tree, nullptr, nullptr, &nodes);
  if (nodes + added_ > limits_.nodes) glp_ios_terminate(tree);
}

/// Gives a row to the fullest moment of every run of overfull ones; how many there are. In the tree a row holds below
/// the node where it was added, so that a moment may need several.
inline int integer_program::add_overfull() {
  constexpr double tolerance = 1e-6;  // ten times GLPK's, so that a moment with a row is not overfull
  std::fill(change_.begin(), change_.end(), 0.0);
  for (std::size_t v = 0; v < net_.variables.size(); ++v) {
    for (const intra::network::part& each : net_.variables[v].parts) {
      double size = 0;
      for (std::size_t k = 0; k < each.size.size(); ++k) {
        size += static_cast<double>(each.size[k]) * glp_get_col_prim(program_, static_cast<int>(number_[v] + k) + 1);
      }
      change_[static_cast<std::size_t>(each.first)] += size;
      change_[static_cast<std::size_t>(each.end)] -= size;
    }
  }
  int added = 0;
  double alive = 0, most = 0;
  std::size_t fullest = net_.room.size();
  for (std::size_t m = 0; m <= net_.room.size(); ++m) {
    alive += change_[m];
    const double room = m < net_.room.size() ? static_cast<double>(net_.room[m]) : alive + 1;
    const bool over = alive - room > tolerance * std::max(room, 1.0);
    if (over && alive - room > most) most = alive - room, fullest = m;
    if (over || fullest == net_.room.size()) continue;
    fill_moment(fullest);
    fullest = net_.room.size();
    most = 0;
    ++added;
  }
  added_ += added;
  return added;
}

/// A row: what the options hold at a moment, relative to the room.
inline void integer_program::fill_moment(std::size_t moment) {
  const double room = std::max(static_cast<double>(net_.room[moment]), 1.0);
  int length = 0;
  for (std::size_t v = 0; v < net_.variables.size(); ++v) {
    for (std::size_t k = 0; k < net_.variables[v].options(); ++k) {
      double size = 0;
      for (const intra::network::part& each : net_.variables[v].parts) {
        const auto m = static_cast<std::int32_t>(moment);
        if (each.first <= m && m < each.end) size += static_cast<double>(each.size[k]);
      }
      if (size == 0) continue;
      ++length;
      moment_columns_[static_cast<std::size_t>(length)] = static_cast<int>(number_[v] + k) + 1;
      moment_values_[static_cast<std::size_t>(length)] = size / room;
    }
  }
  const int row = glp_add_rows(program_, 1);
  const double full = static_cast<double>(net_.room[moment]) / room;
  glp_set_row_bnds(program_, row, GLP_UP, 0, full);
  glp_set_mat_row(program_, row, length, moment_columns_.data(), moment_values_.data());
}

inline intra::assignment integer_program::options() const {
  intra::assignment found;
  for (std::size_t v = 0; v + 1 < number_.size(); ++v) {
    const auto first = chosen_.begin() + static_cast<std::ptrdiff_t>(number_[v]);
    const auto end = chosen_.begin() + static_cast<std::ptrdiff_t>(number_[v + 1]);
    found.push_back(static_cast<std::int32_t>(std::max_element(first, end) - first));
  }
  return found;
}

/// GLPK's tolerances are 1e-7 of a value and of what is multiplied with it; this takes off ten times as much.
inline std::int64_t integer_program::bound() const {
  constexpr double tolerance = 1e-6;
  const double largest = prices_.empty() ? 0 : *std::max_element(prices_.begin(), prices_.end());
  const double safe = least_ - tolerance * (std::abs(least_) + largest);
  return net_.constant + static_cast<std::int64_t>(std::max(0.0, std::floor(safe * unit_)));
}

}  // namespace detail

/// GLPK's branch and cut. Where GLPK fails, every GLPK object of the calling thread is freed with it.
class glpk final : public integer_solver {
 public:
  explicit glpk(const glpk_limits& limits = {}) : limits_(limits) {}

  /// Throws `meshloom::error` if GLPK fails. It does not use `upper`.
  answer solve(const intra::network& net, std::int64_t) const override {
    detail::integer_program program(net, limits_);
    const std::string complaint = program.solve();
    if (!complaint.empty()) throw error("GLPK failed: " + complaint);
    answer found{{}, program.bound()};
    if (!program.met()) return found;
    found.options = program.options();
    const std::int64_t price = intra::price_of(net, found.options);
    const bool fits = price < intra::never && intra::excess(net, intra::held(net, found.options)) == 0;
    if (!fits) found.options.clear();
    if (fits) found.bound = std::min(found.bound, price);
    return found;
  }

 private:
  glpk_limits limits_;
};

}  // namespace meshloom
