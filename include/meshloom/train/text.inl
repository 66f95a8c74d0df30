// SPDX-License-Identifier: Apache-2.0
#include <meshloom/kernel/random.hpp>
#include <meshloom/train/text.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace meshloom {

MESHLOOM_INLINE text text::read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw error("text: cannot read '" + path + "'; give the path of a readable text file");
  std::ostringstream all;
  all << file.rdbuf();
  if (file.bad() || all.str().empty())
    throw error("text: '" + path + "' is empty or cannot be read; give a text file of " + std::to_string(least) +
                " bytes or more");
  return text(all.str(), "'" + path + "'");
}

MESHLOOM_INLINE text::text(std::string content, const std::string& name)
    : bytes_(std::move(content)), held_out_(bytes_.size() - bytes_.size() / 10) {
  if (bytes_.size() < least) {
    throw error("text: " + name + " has " + std::to_string(bytes_.size()) +
                " bytes, too few to learn from; give a text of " + std::to_string(least) + " bytes or more");
  }
}

MESHLOOM_INLINE void text::require(std::int64_t vocab, std::int64_t batch, std::int64_t seq) const {
  const auto largest = static_cast<unsigned char>(*std::max_element(bytes_.begin(), bytes_.end(), [](char a, char b) {
    return static_cast<unsigned char>(a) < static_cast<unsigned char>(b);
  }));
  if (largest >= vocab) {
    throw error("text: it has bytes up to " + std::to_string(largest) + ", but the vocabulary has " +
                std::to_string(vocab) + " entries; use " + std::to_string(largest + 1) +
                " or more (256 takes any text)");
  }
  if (static_cast<std::int64_t>(held_out().size()) <= batch * seq) {
    throw error("text: its held-out tenth has " + std::to_string(held_out().size()) +
                " bytes, too few for one sample of " + std::to_string(batch) + " sequences of " + std::to_string(seq) +
                "; give a longer text, shorter sequences or a smaller batch");
  }
}

MESHLOOM_INLINE void text::fill(text_sample& into, std::int64_t batch, std::int64_t seq, std::uint64_t seed,
                                std::uint64_t step) const {
  into.input.resize(static_cast<std::size_t>(batch * seq));
  into.target.resize(into.input.size());
  const std::string_view from = learning();
  const auto places = static_cast<double>(static_cast<std::int64_t>(from.size()) - seq);
  for (std::int64_t row = 0; row < batch; ++row) {
    const double where = uniform(seed, step, static_cast<std::uint64_t>(row)) * places;
    const auto begin = std::min(static_cast<std::int64_t>(where), static_cast<std::int64_t>(from.size()) - seq - 1);
    copy(into, from.substr(static_cast<std::size_t>(begin)), row, seq);
  }
}

MESHLOOM_INLINE bool text::fill_held_out(text_sample& into, std::int64_t batch, std::int64_t seq,
                                         std::int64_t number) const {
  const std::int64_t begin = number * batch * seq;
  if (begin + batch * seq + 1 > static_cast<std::int64_t>(held_out().size())) return false;
  into.input.resize(static_cast<std::size_t>(batch * seq));
  into.target.resize(into.input.size());
  for (std::int64_t row = 0; row < batch; ++row)
    copy(into, held_out().substr(static_cast<std::size_t>(begin + row * seq)), row, seq);
  return true;
}

MESHLOOM_INLINE void text::copy(text_sample& into, std::string_view from, std::int64_t row, std::int64_t seq) {
  for (std::int64_t at = 0; at < seq; ++at) {
    const auto place = static_cast<std::size_t>(row * seq + at), source = static_cast<std::size_t>(at);
    into.input[place] = static_cast<unsigned char>(from[source]);
    into.target[place] = static_cast<unsigned char>(from[source + 1]);
  }
}

}  // namespace meshloom
