// SPDX-License-Identifier: Apache-2.0
// One attempt of a unary RPC.

#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <optional>
#include <string>

#include "lossd/error.h"
#include "scope.h"
#include "stream.h"

namespace lossd::detail {

/// `block`, or await it. It is cancelled by the scope's stop token and by `closing`.
class Unary {
 public:
  Unary(grpc::GenericStub& stub, std::string method, const grpc::ByteBuffer& request, const Metadata& metadata, const Scope& scope,
        const std::stop_token& closing);

  /// Completes the RPC on this thread.
  void block();

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle);
  void await_resume() const noexcept {}

  const grpc::Status& status() const { return status_; }
  const grpc::ClientContext& context() const { return context_; }
  grpc::ByteBuffer& response() { return response_; }

 private:
  grpc::GenericStub& stub_;
  std::string method_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  grpc::Status status_;
  grpc::ClientContext context_;
  std::optional<StopCallback> stop_;
  StopCallback closing_;
};

}  // namespace lossd::detail
