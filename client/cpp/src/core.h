// SPDX-License-Identifier: Apache-2.0
// How a call is made, written once for all that make calls. Nothing here depends on a loss.
//
// Everything is a coroutine. On the thread that waits for it, a call's first RPC blocks, which is the fastest; everything else continues on
// the threads of gRPC and of the timer, which never block.

#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "answer.h"
#include "encode.h"
#include "lossd/error.h"
#include "lossd/v1/response.pb.h"
#include "rotation.h"
#include "scope.h"
#include "settings.h"
#include "split.h"
#include "stream.h"
#include "task.h"
#include "timer.h"

namespace lossd::detail {

/// A call for a message with others: encoded, with its request if it is so large that it is sent by itself.
struct Call {
  Encoded encoded;
  std::optional<Request> alone;
};

/// Encodes a request, which then no longer needs the caller's arrays.
Call call_of(Request request);

class Core {
 public:
  Core(const std::string& address, ClientOptions options);
  Core(const Core&) = delete;
  ~Core();

  /// The bounds of a call that starts now. `waits`: this thread waits for it.
  Scope scope(const std::optional<Seconds>& timeout, const std::stop_token& stop, bool waits) const;

  /// Runs a task; blocks until it ends.
  template <typename T>
  T run(Task<T> task) {
    begin();
    T result = wait(std::move(task));
    end();
    return result;
  }

  /// Runs a task, and gives its result to `done`, on any thread.
  template <typename T, typename Done>
  void launch(Task<T> task, Done done) {
    begin();
    start(std::move(task), [this, done = std::move(done)](T result) mutable {
      done(std::move(result));
      end();
    });
  }

  /// The answer to a call, merged from the answers to its parts if it is too large. Unless this thread waits, the request is copied first.
  Task<Result<Answer>> score(Request request, Scope scope);

  /// The outcomes of the calls in their order.
  Task<std::vector<Result<Answer>>> score_many(std::vector<Call> calls, Scope scope);

  Task<Result<ServerInfo>> server_info(Scope scope, bool retry);

  bool retries() const { return options_.retry; }

 private:
  template <typename T>
  using Attempt = std::function<Task<Result<T>>()>;
  class Sleep;

  Task<Result<v1::LossResponse>> respond(Encoded call, Scope scope);
  Task<Result<Answer>> score_parts(Request request, Scope scope, Error refused);
  Task<Result<std::vector<Answer>>> score_all(const Request& request, std::vector<Request> parts, std::int64_t start, Scope scope);
  Task<Result<Answer>> score_part(const Request& request, Request part, std::int64_t start, Scope scope);
  Task<Result<Answer>> score_ahead(const Request& request, Scope scope, Error refused);
  Task<bool> learn_limit(const Request& request, const Error& refused, Scope scope);
  Task<std::vector<Result<Answer>>> score_message(std::vector<Encoded> calls, Scope scope);
  Task<Result<std::vector<std::size_t>>> send_message(const std::vector<Encoded>& calls,
                                                      std::vector<std::optional<Result<Answer>>>& outcomes, Scope scope);

  /// Calls `attempt` until it succeeds, or fails otherwise than with kUnavailable. All RPCs are idempotent. Fails with its error at once if
  /// the next attempt would come after the deadline.
  template <typename T>
  Task<Result<T>> retried(Attempt<T> attempt, Scope scope, bool retry);

  /// One attempt of a unary RPC.
  Task<Result<grpc::ByteBuffer>> unary(std::string method, grpc::ByteBuffer request, Scope scope);

  void begin();
  void end();
  void close();

  const ClientOptions options_;
  std::optional<Error> fault_;  // of the options
  std::atomic<std::size_t> limit_;
  Connection connection_;
  std::deque<grpc::GenericStub> stubs_;
  Rotation rotation_;
  Timer timer_;
  std::deque<Stream> streams_;
  std::stop_source closing_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::size_t running_ = 0;
};

}  // namespace lossd::detail
