// SPDX-License-Identifier: Apache-2.0
// The ScoreStream that concurrent calls share. The Outbox decides what is sent when.

#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lossd/error.h"
#include "lossd/v1/evaluation_service.pb.h"
#include "outbox.h"
#include "scope.h"
#include "task.h"

namespace lossd::detail {

using Metadata = std::vector<std::pair<std::string, std::string>>;

/// The response to a call, or its error; nothing if the stream broke before it answered the call: make the call as a unary RPC. So the
/// same rules for retries and errors hold for a call whose stream broke as for any other call. If one call made the stream fail, only
/// that call fails again; if all calls fail, each of them gets its own error.
using StreamAnswer = std::optional<Result<v1::LossResponse>>;

class Stream {
 public:
  Stream(std::shared_ptr<grpc::Channel> channel, const Metadata& metadata, Timer& timer);
  Stream(const Stream&) = delete;
  ~Stream();

  /// The first call opens the stream; if it breaks, the next call opens it again.
  Task<StreamAnswer> score(Encoded call, Scope scope);

  /// Ends the stream, and returns when it has ended. Calls in flight get no answer.
  void close();

 private:
  class Session;
  class Post;

  std::uint64_t post(Waiter* waiter, const Encoded& call, const Scope& scope);
  void give_up(std::uint64_t id, Error error);
  void pump();

  grpc::GenericStub stub_;
  const Metadata& metadata_;
  Timer& timer_;
  std::mutex mutex_;
  std::condition_variable session_ended_;
  Outbox outbox_;
  Session* session_ = nullptr;
  std::size_t sessions_ = 0;
  bool closed_ = false;
};

}  // namespace lossd::detail
