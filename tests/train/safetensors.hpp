// SPDX-License-Identifier: Apache-2.0
// Reads safetensors: 8 bytes of header length, a JSON header with type, shape and place of each tensor, then the data.
// Source: the format's own page, https://huggingface.co/docs/safetensors; little-endian machines only.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/base/vector.hpp>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

namespace safetensors {

/// Row-major; f32 and integers are exact in double.
struct tensor {
  meshloom::vector<std::int64_t> shape;
  meshloom::vector<double> values;
};

using file = std::map<std::string, tensor>;

namespace detail {

/// As much of JSON as headers use.
class cursor {
 public:
  cursor(const std::string& text, std::size_t at, std::size_t end) : text_(text), at_(at), end_(end) {}

  bool next_is(char wanted) {
    while (at_ < end_ && (text_[at_] == ' ' || text_[at_] == ',' || text_[at_] == ':')) ++at_;
    return at_ < end_ && text_[at_] == wanted;
  }
  void take(char wanted) {
    if (!next_is(wanted))
      throw meshloom::error(std::string("safetensors: the header lacks a ") + wanted + " at byte " +
                            std::to_string(at_));
    ++at_;
  }
  std::string string() {
    std::string made;
    for (take('"'); at_ < end_ && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
      made += text_[at_];
    }
    take('"');
    return made;
  }
  meshloom::vector<std::int64_t> numbers() {
    meshloom::vector<std::int64_t> made;
    take('[');
    while (!next_is(']')) {
      std::size_t length = 0;
      made.push_back(std::stoll(text_.substr(at_, 20), &length));
      at_ += length;
    }
    take(']');
    return made;
  }

 private:
  const std::string& text_;
  std::size_t at_, end_;
};

struct entry {
  std::string type;
  meshloom::vector<std::int64_t> shape, offsets;
};

inline entry read_entry(cursor& header) {
  entry made;
  header.take('{');
  while (!header.next_is('}')) {
    const std::string key = header.string();
    if (key == "shape")
      made.shape = header.numbers();
    else if (key == "data_offsets")
      made.offsets = header.numbers();
    else
      (key == "dtype" ? made.type : made.type.assign("metadata")) = header.string();
  }
  header.take('}');
  return made;
}

template <class Element>
meshloom::vector<double> numbers(const char* from, std::size_t size) {
  meshloom::vector<Element> raw(size / sizeof(Element));
  std::memcpy(raw.data(), from, raw.size() * sizeof(Element));
  return {raw.begin(), raw.end()};
}

inline tensor read_tensor(const std::string& name, const entry& what, const std::string& bytes, std::size_t data) {
  if (what.offsets.size() != 2) throw meshloom::error("safetensors: " + name + " has no data_offsets");
  const std::size_t begin = data + static_cast<std::size_t>(what.offsets[0]),
                    end = data + static_cast<std::size_t>(what.offsets[1]);
  if (begin > end || end > bytes.size()) throw meshloom::error("safetensors: " + name + " lies outside the file");
  const char* const from = bytes.data() + begin;
  if (what.type == "F32") return {what.shape, numbers<float>(from, end - begin)};
  if (what.type == "F64") return {what.shape, numbers<double>(from, end - begin)};
  if (what.type == "I32") return {what.shape, numbers<std::int32_t>(from, end - begin)};
  throw meshloom::error("safetensors: " + name + " is of type " + what.type + "; F32, F64 and I32 are read");
}

}  // namespace detail

/// All tensors of a file by name. Throws meshloom::error if it cannot be read.
inline file read(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  std::uint64_t length = 0;
  if (bytes.size() > sizeof length) std::memcpy(&length, bytes.data(), sizeof length);
  if (length == 0 || length > bytes.size() - sizeof length)
    throw meshloom::error("safetensors: " + path + " cannot be read or has no header");
  const std::size_t data = sizeof length + length;
  detail::cursor header(bytes, sizeof length, data);
  file made;
  header.take('{');
  while (!header.next_is('}')) {
    const std::string name = header.string();
    const detail::entry what = detail::read_entry(header);
    if (name != "__metadata__") made[name] = detail::read_tensor(name, what, bytes, data);
  }
  return made;
}

}  // namespace safetensors
