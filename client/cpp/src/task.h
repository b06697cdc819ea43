// SPDX-License-Identifier: Apache-2.0
// Coroutines: how a call is made is written once, for methods that block and for those that return a future.

#pragma once

#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace lossd::detail {

/// A coroutine that starts when it is awaited, and then resumes its awaiter. It is awaited once.
template <typename T>
class [[nodiscard]] Task {
 public:
  struct promise_type {
    std::optional<T> value;
    std::coroutine_handle<> awaiter;

    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Resume {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> done) noexcept { return done.promise().awaiter; }
        void await_resume() noexcept {}
      };
      return Resume{};
    }
    template <typename U>
    void return_value(U&& result) {
      value.emplace(std::forward<U>(result));
    }
    void unhandled_exception() noexcept { std::terminate(); }  // the library throws nothing; bad_alloc ends the process
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  auto operator co_await() && noexcept {
    struct Awaiter {
      std::coroutine_handle<promise_type> handle;
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
        handle.promise().awaiter = awaiter;
        return handle;
      }
      T await_resume() noexcept { return std::move(*handle.promise().value); }
    };
    return Awaiter{handle_};
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

/// A coroutine that starts at once and that nobody awaits.
struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

/// Runs the task, and gives its result to `done` on the thread on which it ends.
template <typename T, typename Done>
Detached start(Task<T> task, Done done) {
  T result = co_await std::move(task);
  done(std::move(result));
}

/// Runs the task, and blocks until it ends.
template <typename T>
T wait(Task<T> task) {
  std::mutex mutex;
  std::condition_variable ended;
  std::optional<T> result;
  start(std::move(task), [&](T value) {
    const std::lock_guard lock(mutex);
    result.emplace(std::move(value));
    ended.notify_one();  // under the lock: the waiter destroys the variables as soon as it has it
  });
  std::unique_lock lock(mutex);
  ended.wait(lock, [&] { return result.has_value(); });
  return std::move(*result);
}

/// Awaits jobs, of which at most `concurrency` run at a time; true when all of them returned true. No job starts after one returned false.
class All {
 public:
  using Job = std::function<Task<bool>()>;

  All(std::vector<Job> jobs, std::size_t concurrency) : jobs_(std::move(jobs)), concurrency_(concurrency) {}

  bool await_ready() const noexcept { return jobs_.empty(); }
  bool await_suspend(std::coroutine_handle<> awaiter) {
    awaiter_ = awaiter;
    const std::size_t workers = std::min(concurrency_, jobs_.size());
    running_ = workers + 1;  // this function is one, so that the awaiter is not resumed before it ends
    for (std::size_t i = 0; i < workers; ++i) work();
    return running_.fetch_sub(1) > 1;
  }
  bool await_resume() const noexcept { return !failed_; }

 private:
  Detached work() {
    while (!failed_) {
      const std::size_t next = next_.fetch_add(1);
      if (next >= jobs_.size()) break;
      const bool succeeded = co_await jobs_[next]();
      if (!succeeded) failed_ = true;
    }
    if (running_.fetch_sub(1) == 1) awaiter_.resume();
  }

  std::vector<Job> jobs_;
  std::size_t concurrency_;
  std::coroutine_handle<> awaiter_;
  std::atomic<std::size_t> running_ = 0;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
};

}  // namespace lossd::detail
