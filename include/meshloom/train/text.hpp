// SPDX-License-Identifier: Apache-2.0
// Text as training data: bytes of a file, cut into a part to learn from and a held-out last part, and samples of
// consecutive bytes with the byte after each as target.
// Law: row r of the sample of step k depends on the text, the length of a row, the seed, k and r only, whatever the
// plan.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/error.hpp>
#include <meshloom/base/vector.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace meshloom {

/// `batch` sequences of `seq` tokens, row by row, and for each token the one that follows.
struct text_sample {
  vector<std::int32_t> input, target;
};

class text {
 public:
  /// Reads a file; throws meshloom::error naming it if it cannot be read or is shorter than `least` bytes.
  static text read(const std::string& path);

  /// Bytes in memory; the last tenth is held out. `name` is what errors call them. Throws meshloom::error if they are
  /// fewer than `least`.
  explicit text(std::string content, const std::string& name = "the text");

  static constexpr std::size_t least = 1000;

  /// Throws meshloom::error if a byte is not below `vocab`, or if the held-out part, the shorter one, has no
  /// sample of `batch` × `seq` tokens.
  void require(std::int64_t vocab, std::int64_t batch, std::int64_t seq) const;

  /// Sequences from random places of the learning part, which is longer than `seq` bytes: see `require`.
  void fill(text_sample& into, std::int64_t batch, std::int64_t seq, std::uint64_t seed, std::uint64_t step) const;

  /// Non-overlapping sequences of the held-out part: sample `number`; false if there is no such sample.
  bool fill_held_out(text_sample& into, std::int64_t batch, std::int64_t seq, std::int64_t number) const;

  std::string_view learning() const { return std::string_view(bytes_).substr(0, held_out_); }
  std::string_view held_out() const { return std::string_view(bytes_).substr(held_out_); }

 private:
  static void copy(text_sample& into, std::string_view from, std::int64_t row, std::int64_t seq);

  std::string bytes_;
  std::size_t held_out_ = 0;  ///< where the held-out part begins
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/train/text.inl>
#endif
