// SPDX-License-Identifier: Apache-2.0
// Chooses the channel of the next call. Channels take turns; one whose server was not reached is skipped for a second.

#pragma once

#include <mutex>
#include <vector>

#include "timer.h"

namespace lossd::detail {

class Rotation {
 public:
  explicit Rotation(std::size_t count) : out_until_(count) {}

  /// The index of the next channel.
  std::size_t next() {
    if (out_until_.size() < 2) return 0;
    const std::lock_guard lock(mutex_);
    const Clock::time_point now = Clock::now();
    for (std::size_t i = 0; i < out_until_.size(); ++i) {
      turn_ = (turn_ + 1) % out_until_.size();
      if (out_until_[turn_] <= now) return turn_;
    }
    return turn_ = (turn_ + 1) % out_until_.size();
  }

  void leave_out(std::size_t turn) {
    const std::lock_guard lock(mutex_);
    out_until_[turn] = Clock::now() + std::chrono::seconds(1);
  }

 private:
  std::mutex mutex_;
  std::vector<Clock::time_point> out_until_;
  std::size_t turn_ = 0;
};

}  // namespace lossd::detail
