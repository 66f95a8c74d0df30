// SPDX-License-Identifier: Apache-2.0
// Where oneDNN's primitives run: on the calling thread, in memory that is ours. The only header that includes oneDNN's,
// of version 2 or 3. Law: oneDNN starts no thread, and what it works in is kept from call to call.
#pragma once

#include <meshloom/base/error.hpp>

#include <oneapi/dnnl/dnnl.hpp>

#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

#if __has_include(<omp.h>)
#include <omp.h>
#else  // not every compiler has the header of the OpenMP library that oneDNN is linked with
extern "C" int omp_get_max_threads();
extern "C" void omp_set_num_threads(int);
#endif

namespace meshloom::detail {

/// For its lifetime OpenMP, and so oneDNN, gives the calling thread no others: ranks are our threads, and a pool under
/// each of them is slower than none. What holds for other threads, or held for this one before, stays.
class one_openmp_thread {
 public:
  one_openmp_thread() : previous_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~one_openmp_thread() { omp_set_num_threads(previous_); }
  one_openmp_thread(const one_openmp_thread&) = delete;
  one_openmp_thread& operator=(const one_openmp_thread&) = delete;

 private:
  int previous_;
};

/// Where the primitives of one rank run, and the memory that they work in.
class onednn_stream {
 public:
  struct alignas(64) line {
    std::byte bytes[64];
  };
  using room = std::vector<line>;

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  room scratch = room(1);

  static void reserve(room& in, const dnnl::memory::desc& needed) {
    const std::size_t lines = needed.get_size() / sizeof(line) + 1;
    if (in.size() < lines) in.resize(lines);
  }

  dnnl::memory empty(const dnnl::memory::desc& shape) const { return {shape, engine, nullptr}; }

  /// By the C interface: the other one takes a map from the heap. `what` is named in the error.
  void execute(const char* what, const dnnl::primitive& primitive, std::initializer_list<dnnl_exec_arg_t> with) {
    const auto status =
        dnnl_primitive_execute(primitive.get(), stream_.get(), static_cast<int>(with.size()), with.begin());
    if (status != dnnl_success)
      throw error(std::string("onednn: ") + what + " fails with status " + std::to_string(status));
    stream_.wait();
  }

  /// What every primitive is made with: it works in memory that we give it.
  static dnnl::primitive_attr attributes(bool adds) {
    dnnl::primitive_attr made;
    made.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (!adds) return made;
    dnnl::post_ops sum;
    sum.append_sum(1);
    made.set_post_ops(sum);
    return made;
  }

 private:
  dnnl::stream stream_{engine};
};

}  // namespace meshloom::detail
