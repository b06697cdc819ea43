// SPDX-License-Identifier: Apache-2.0
// Calls functions at given times, on one thread that starts with the first of them.

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace lossd::detail {

using Clock = std::chrono::steady_clock;

class Timer {
 public:
  using Key = std::pair<Clock::time_point, std::uint64_t>;

  Timer() = default;
  Timer(const Timer&) = delete;
  ~Timer();

  /// Calls the function at that time, on the timer's thread.
  Key at(Clock::time_point time, std::function<void()> function);

  /// Forgets the function, and returns true; false if it was called, or is being called.
  bool cancel(const Key& key);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, std::function<void()>> functions_;
  std::uint64_t count_ = 0;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace lossd::detail
