// SPDX-License-Identifier: Apache-2.0
// A meeting of a fixed number of threads, again and again: everyone arrives, then everyone leaves. A waiter spins
// briefly, if there is a core for it, and then sleeps in the kernel.
// Law: what a member did before it arrived is seen by all members after they leave. Once stopped, nobody waits: every
// member whose meeting is not complete throws `stopped`, now and for ever; a complete one is left as usual.
#pragma once

#include <meshloom/base/error.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

namespace meshloom {

/// Another rank has failed or ended the run; its error says why.
class stopped : public error {
 public:
  stopped() : error("the run was stopped by another rank") {}
};

/// How to wait: `block` where there are fewer cores than ranks, since a spinning rank takes the core of one with work.
enum class waiting : std::uint8_t { spin_then_block, block };

class meeting {
 public:
  explicit meeting(std::int32_t members, waiting how = waiting::block)
      : members_(static_cast<std::uint32_t>(members)), spins_(how == waiting::block ? 0 : brief) {}

  /// Returns when every member has arrived; throws `stopped`.
  void arrive_and_wait() {
    const std::uint32_t before = round_.load(std::memory_order_acquire);
    if (before & stop_bit) throw stopped();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) return complete();
    if (await_change(before) == (before | stop_bit)) throw stopped();
  }

  /// Wakes and stops all members, from any thread, any number of times.
  void stop() noexcept {
    round_.fetch_or(stop_bit);
    round_.notify_all();
  }

 private:
  static constexpr std::uint32_t stop_bit = 1;
  static constexpr std::uint32_t one_round = 2;
  static constexpr int brief = 1024;  ///< pauses: about what going to sleep and being woken would cost
  static constexpr int burst = 32;    ///< pauses between offers of the core to others, perhaps the member waited for

  void complete() {
    arrived_.store(0, std::memory_order_relaxed);
    round_.fetch_add(one_round);
    round_.notify_all();
  }

  std::uint32_t await_change(std::uint32_t before) const {
    for (int spin = 0; spin < spins_; ++spin) {
      const std::uint32_t now = round_.load(std::memory_order_acquire);
      if (now != before) return now;
      spin % burst == burst - 1 ? std::this_thread::yield() : pause();
    }
    round_.wait(before, std::memory_order_acquire);
    return round_.load(std::memory_order_acquire);
  }

  /// Tells the core that this is a spin loop.
  static void pause() noexcept {
#if defined(__x86_64__)
    asm volatile("pause");
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  alignas(64) std::atomic<std::uint32_t> round_{0};  ///< meetings completed, times two, plus the stop bit
  alignas(64) std::atomic<std::uint32_t> arrived_{0};
  std::uint32_t members_;
  int spins_;
};

}  // namespace meshloom
