// SPDX-License-Identifier: Apache-2.0
// The bodies of vector.hpp.
#pragma once

#include <meshloom/base/vector.hpp>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace meshloom::detail {

MESHLOOM_INLINE element_storage& element_storage::operator=(element_storage&& other) noexcept {
  ::operator delete(first);
  first = std::exchange(other.first, nullptr);
  size = std::exchange(other.size, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  return *this;
}

MESHLOOM_INLINE void element_storage::make_room(std::size_t more, std::size_t bytes, relocation* relocate) {
  if (more <= capacity_ - size) return;
  const std::size_t most = PTRDIFF_MAX / bytes;
  if (more > most - size) throw std::bad_array_new_length();
  const std::size_t room = capacity_ > most / 2 ? most : std::max(size + more, 2 * capacity_);
  const std::size_t all = room * bytes;
  void* const to = ::operator new(all);
  if (relocate != nullptr)
    relocate(first, to, size);
  else if (size != 0)
    std::memcpy(to, first, size * bytes);
  ::operator delete(first);
  first = to;
  capacity_ = room;
}

MESHLOOM_INLINE void element_storage::append(const void* from, std::size_t count, std::size_t bytes) {
  if (count == 0) return;
  make_room(count, bytes, nullptr);
  std::memcpy(static_cast<std::byte*>(first) + size * bytes, from, count * bytes);
  size += count;
}

MESHLOOM_INLINE std::size_t element_storage::held(std::size_t index) const {
  if (index >= size)
    throw std::out_of_range("meshloom::vector: there is no element " + std::to_string(index) + " of " +
                            std::to_string(size));
  return index;
}

}  // namespace meshloom::detail
