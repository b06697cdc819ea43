// SPDX-License-Identifier: Apache-2.0

#include "unary.h"

#include <grpc/support/time.h>
#include <grpcpp/completion_queue.h>

namespace lossd::detail {

Unary::Unary(grpc::GenericStub& stub, std::string method, const grpc::ByteBuffer& request, const Metadata& metadata, const Scope& scope,
             const std::stop_token& closing)
    : stub_(stub), method_(std::move(method)), request_(request), closing_(closing, [this] { context_.TryCancel(); }) {
  for (const auto& [key, value] : metadata) context_.AddMetadata(key, value);
  if (scope.deadline != Clock::time_point::max()) {
    const std::chrono::nanoseconds left = scope.deadline - Clock::now();
    context_.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left.count(), GPR_TIMESPAN)));
  }
  if (scope.stop.stop_possible()) stop_.emplace(scope.stop, [this] { context_.TryCancel(); });
}

void Unary::block() {
  grpc::CompletionQueue queue;
  const auto rpc = stub_.PrepareUnaryCall(&context_, method_, request_, &queue);
  rpc->StartCall();
  rpc->Finish(&response_, &status_, this);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
}

void Unary::await_suspend(std::coroutine_handle<> handle) {
  stub_.UnaryCall(&context_, method_, {}, &request_, &response_, [this, handle](grpc::Status status) {
    status_ = std::move(status);
    handle.resume();
  });
}

}  // namespace lossd::detail
