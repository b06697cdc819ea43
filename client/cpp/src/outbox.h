// SPDX-License-Identifier: Apache-2.0
// The calls of one ScoreStream: what the next message holds, and which waiter an answer is for. Pure: no thread, stream or clock.
//
// There is no timer and no batch size to wait for. Each time a write completes, the stream takes the calls that wait, unless
// kMessagesUnderWay messages have had no answer at all. So a lone call is sent at once, and calls made while the stream is busy are sent
// together.

#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "encode.h"
#include "timer.h"

namespace lossd::detail {

// Enough that the server computes some calls while others are prepared, and few enough that calls share messages.
inline constexpr std::size_t kMessagesUnderWay = 4;
// A message holds at most kMessageBytes, and at most 1/kMessagesUnderWay of the waiting calls or kMessageCalls, whichever is more.
inline constexpr std::size_t kMessageBytes = 1 << 20;
inline constexpr std::size_t kMessageCalls = 32;
// The most calls, and the most cancellations, in a message, however small they are: a server refuses more than 16,384.
inline constexpr std::size_t kMostCalls = 1 << 13;
// Parts of a request, or messages of a batch, that are in flight at a time.
inline constexpr std::size_t kConcurrentMessages = kMessagesUnderWay;
// Larger calls gain nothing from sharing a message, and would delay the others: each is sent as a unary RPC.
inline constexpr std::size_t kLargestCallBytes = 256 << 10;

struct Waiter;  // waits for an answer

class Outbox {
 public:
  /// Whether there is something to `take` now.
  bool ready() const { return !cancelled_.empty() || (!waiting_.empty() && silent_ < kMessagesUnderWay); }

  /// The id of a call that will be added.
  std::uint64_t next_id() { return ++ids_; }

  /// Queues a call.
  void add(std::uint64_t id, Waiter* waiter, Encoded call, Clock::time_point deadline);

  /// Removes a call that nobody waits for any more, and returns its waiter; null if the call was answered.
  Waiter* cancel(std::uint64_t id);

  /// The next message: calls in the order of arrival, and cancellations, each up to the limits.
  grpc::ByteBuffer take(Clock::time_point now);

  /// Removes the call that an answer is for, and returns its waiter; null if it was cancelled.
  Waiter* settle(std::uint64_t id);

  /// Removes every call, because the stream has ended. Returns the waiters.
  std::vector<Waiter*> clear();

 private:
  struct Call {
    Waiter* waiter;
    Encoded encoded;
    Clock::time_point deadline;
  };
  struct Sent {
    Waiter* waiter;
    std::shared_ptr<bool> silent;  // true until a call of its message is answered or cancelled
  };

  std::uint64_t ids_ = 0;
  std::map<std::uint64_t, Call> waiting_;
  std::unordered_map<std::uint64_t, Sent> unanswered_;
  std::vector<std::uint64_t> cancelled_;
  std::size_t silent_ = 0;
};

}  // namespace lossd::detail
