// SPDX-License-Identifier: Apache-2.0
// What a call is bounded by, and how coroutines wait for what happens on other threads.

#pragma once

#include <atomic>
#include <coroutine>
#include <optional>
#include <stop_token>
#include <thread>

#include "lossd/options.h"
#include "timer.h"

namespace lossd::detail {

/// The deadline of a call that has this timeout.
inline Clock::time_point deadline_after(Seconds timeout) {
  constexpr Seconds kLongest = std::chrono::hours(24 * 365);
  return timeout < kLongest ? Clock::now() + std::chrono::duration_cast<Clock::duration>(timeout) : Clock::time_point::max();
}

struct Scope {
  Clock::time_point deadline;
  std::stop_token stop;
  /// The thread that waits for the call, and so may block. RPCs that start on another thread use callbacks.
  std::thread::id home;
};

/// Resumes a coroutine when something has happened once, however early that is.
class Wakeup {
 public:
  /// The last thing in await_suspend, which returns what this returns.
  bool suspend() { return arrivals_.fetch_add(1) == 0; }

  /// Before `suspend`, and before anybody can call `wake`.
  void prepare(std::coroutine_handle<> handle) { handle_ = handle; }

  /// Resumes the coroutine, here or at the end of its await_suspend. Called once.
  void wake() {
    if (arrivals_.fetch_add(1) == 1) handle_.resume();
  }

 private:
  std::coroutine_handle<> handle_;
  std::atomic<int> arrivals_ = 0;
};

using StopCallback = std::stop_callback<std::function<void()>>;

}  // namespace lossd::detail
