// SPDX-License-Identifier: Apache-2.0
/// @file
/// A connection to lossd servers.

#pragma once

#include <future>
#include <memory>
#include <optional>
#include <string>

#include "lossd/batch.h"
#include "lossd/error.h"
#include "lossd/evaluation.h"
#include "lossd/losses.h"
#include "lossd/options.h"
#include "lossd/result.h"

namespace lossd {

namespace detail {
class Core;
}

/// The losses as calls that return at once. Their tensors may change when a method has returned. Client::async makes one, which must not
/// outlive its client.
class Async final : public LossMethods<std::future<Result<Loss>>, std::future<Result<Array>>> {
 public:
  explicit Async(detail::Core& core) : core_(&core) {}

 protected:
  std::future<Result<Loss>> reduced(detail::Request request) override;
  std::future<Result<Array>> unreduced(detail::Request request) override;

 private:
  detail::Core* core_;
};

/// The losses of a lossd server, as calls that block. Threads may share a client.
///
///     lossd::Client client("127.0.0.1:50051");
///     auto loss = client.cross_entropy({logits, {rows, classes}}, labels, {.label_smoothing = 0.1});
///     if (!loss) return report(loss.error());
///     use(loss->value);
class Client final : public LossMethods<Result<Loss>, Result<Array>> {
 public:
  /// Connects when the first call is made. Wrong options are reported by every call, as kInvalidArgument.
  /// @param address "host:port" or any gRPC target; "a:1,b:2" for several servers. Calls go to the servers in turn, and to the others
  ///     while one cannot be reached. If empty, the variable LOSSD_ADDRESS.
  explicit Client(const std::string& address = {}, ClientOptions options = {});

  /// Calls in flight fail with kCancelled, and end before this returns.
  ~Client() override;

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  /// The losses as calls that return futures at once: client.async().mse_loss(predictions, targets). With ClientOptions::coalesce, calls
  /// in flight share a stream.
  Async async();

  /// Collects calls, to send many of them in one message.
  /// @param timeout Of all calls together. By default the client's.
  Batch batch(std::optional<Seconds> timeout = {}, std::stop_token stop = {});

  /// The loss over many mini-batches, exact, overall and by named series.
  Evaluation evaluation();

  /// Versions, devices, losses and limits of the server.
  Result<ServerInfo> server_info(const CallOptions& options = {});

  /// Returns when the server answers, or fails with kUnavailable and the cause if no server answers within the timeout.
  Result<void> wait_until_ready(const CallOptions& options = {});

 protected:
  Result<Loss> reduced(detail::Request request) override;
  Result<Array> unreduced(detail::Request request) override;

 private:
  std::unique_ptr<detail::Core> core_;
};

}  // namespace lossd
