// SPDX-License-Identifier: Apache-2.0
// What both programs measure with.

#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <iostream>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

inline constexpr std::size_t kRows = 32;
inline constexpr std::size_t kClasses = 10;
inline constexpr std::size_t kLarge = 524'288;
inline constexpr std::size_t kInFlight = 64;

struct Inputs {
  std::vector<float> logits = std::vector<float>(kRows * kClasses, 0.5F);
  std::vector<std::int64_t> labels = std::vector<std::int64_t>(kRows, 3);
  std::vector<float> predictions = std::vector<float>(kLarge, 1.5F);
  std::vector<float> targets = std::vector<float>(kLarge, 1.0F);
};

inline double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

inline double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Timing {
  double median_seconds;
  double cpu_seconds;  // of the process, for each call
};

/// One call after the other.
inline Timing one_at_a_time(double seconds, const std::function<void()>& call) {
  for (int i = 0; i < 20; ++i) call();
  std::vector<double> times;
  const double cpu = cpu_seconds();
  const Clock::time_point start = Clock::now();
  while (times.empty() || seconds_since(start) < seconds) {
    const Clock::time_point begin = Clock::now();
    call();
    times.push_back(seconds_since(begin));
  }
  const double spent = cpu_seconds() - cpu;
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return {times[times.size() / 2], spent / static_cast<double>(times.size())};
}

}  // namespace bench
