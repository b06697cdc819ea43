// SPDX-License-Identifier: Apache-2.0

#include "timer.h"

namespace lossd::detail {

Timer::~Timer() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

Timer::Key Timer::at(Clock::time_point time, std::function<void()> function) {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  const Key key{time, ++count_};
  const auto place = functions_.emplace(key, std::move(function)).first;
  if (place == functions_.begin()) changed_.notify_one();
  return key;
}

bool Timer::cancel(const Key& key) {
  const std::lock_guard lock(mutex_);
  return functions_.erase(key) > 0;
}

void Timer::run() {
  std::unique_lock lock(mutex_);
  while (!ended_) {
    if (functions_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const Clock::time_point next = functions_.begin()->first.first;
    if (Clock::now() < next) {
      changed_.wait_until(lock, next);
      continue;
    }
    const std::function<void()> function = std::move(functions_.extract(functions_.begin()).mapped());
    lock.unlock();
    function();
    lock.lock();
  }
}

}  // namespace lossd::detail
