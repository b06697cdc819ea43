// SPDX-License-Identifier: Apache-2.0

#include "outbox.h"

#include <algorithm>

namespace lossd::detail {

void Outbox::add(std::uint64_t id, Waiter* waiter, Encoded call, Clock::time_point deadline) {
  waiting_.emplace(id, Call{waiter, std::move(call), deadline});
}

Waiter* Outbox::cancel(std::uint64_t id) {
  if (const auto call = waiting_.find(id); call != waiting_.end()) {
    Waiter* waiter = call->second.waiter;
    waiting_.erase(call);
    return waiter;
  }
  Waiter* waiter = settle(id);
  if (waiter != nullptr) cancelled_.push_back(id);
  return waiter;
}

grpc::ByteBuffer Outbox::take(Clock::time_point now) {
  std::vector<StreamItem> calls;
  std::size_t bytes = 0;
  const std::size_t share = std::min(kMostCalls, std::max(kMessageCalls, waiting_.size() / kMessagesUnderWay));
  const std::size_t room = silent_ >= kMessagesUnderWay ? 0 : share;
  const auto message = std::make_shared<bool>(true);
  auto call = waiting_.begin();
  for (; call != waiting_.end() && calls.size() < room; ++call) {
    auto& [waiter, encoded, deadline] = call->second;
    bytes += encoded.message.size();
    if (!calls.empty() && bytes > kMessageBytes) break;
    std::optional<double> left;
    if (deadline != Clock::time_point::max()) left = std::max(0.0, std::chrono::duration<double>(deadline - now).count());
    calls.push_back({call->first, std::move(encoded), left});
    unanswered_.emplace(call->first, Sent{waiter, message});
  }
  waiting_.erase(waiting_.begin(), call);
  if (!calls.empty()) ++silent_;
  const std::size_t cancellations = std::min(kMostCalls, cancelled_.size());
  grpc::ByteBuffer encoded = stream_message(calls, std::span(cancelled_).first(cancellations));
  cancelled_.erase(cancelled_.begin(), cancelled_.begin() + static_cast<std::ptrdiff_t>(cancellations));
  return encoded;
}

Waiter* Outbox::settle(std::uint64_t id) {
  const auto sent = unanswered_.find(id);
  if (sent == unanswered_.end()) return nullptr;
  Waiter* waiter = sent->second.waiter;
  if (*sent->second.silent) {
    *sent->second.silent = false;
    --silent_;
  }
  unanswered_.erase(sent);
  return waiter;
}

std::vector<Waiter*> Outbox::clear() {
  std::vector<Waiter*> waiters;
  for (const auto& [id, call] : waiting_) waiters.push_back(call.waiter);
  for (const auto& [id, sent] : unanswered_) waiters.push_back(sent.waiter);
  waiting_.clear();
  unanswered_.clear();
  cancelled_.clear();
  silent_ = 0;
  return waiters;
}

}  // namespace lossd::detail
