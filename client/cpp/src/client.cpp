// SPDX-License-Identifier: Apache-2.0

#include "lossd/client.h"

#include "collector.h"
#include "core.h"
#include "evaluator.h"

namespace lossd {
namespace {

using detail::Answer;
using detail::Core;
using detail::Request;

template <typename T, typename Convert>
Result<T> converted(Result<Answer> answer, Convert convert) {
  if (!answer) return std::move(answer.error());
  return convert(std::move(*answer));
}

Result<Answer> blocking(Core& core, Request request) {
  const detail::Scope scope = core.scope(request.call.timeout, request.call.stop, true);
  return core.run(core.score(std::move(request), scope));
}

template <typename T, typename Convert>
std::future<Result<T>> launched(Core& core, Request request, Convert convert) {
  const detail::Scope scope = core.scope(request.call.timeout, request.call.stop, false);
  std::promise<Result<T>> promise;
  std::future<Result<T>> future = promise.get_future();
  core.launch(core.score(std::move(request), scope), [promise = std::move(promise), convert](Result<Answer> answer) mutable {
    promise.set_value(converted<T>(std::move(answer), convert));
  });
  return future;
}

}  // namespace

std::future<Result<Loss>> Async::reduced(Request request) { return launched<Loss>(*core_, std::move(request), detail::as_loss); }

std::future<Result<Array>> Async::unreduced(Request request) { return launched<Array>(*core_, std::move(request), detail::as_array); }

Client::Client(const std::string& address, ClientOptions options) : core_(std::make_unique<Core>(address, std::move(options))) {}

Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<Loss> Client::reduced(Request request) { return converted<Loss>(blocking(*core_, std::move(request)), detail::as_loss); }

Result<Array> Client::unreduced(Request request) { return converted<Array>(blocking(*core_, std::move(request)), detail::as_array); }

Async Client::async() { return Async(*core_); }

Batch Client::batch(std::optional<Seconds> timeout, std::stop_token stop) {
  return Batch(std::make_unique<detail::Collector>(*core_, timeout, std::move(stop)));
}

Evaluation Client::evaluation() { return Evaluation(std::make_unique<detail::Evaluator>(*core_)); }

Result<ServerInfo> Client::server_info(const CallOptions& options) {
  return core_->run(core_->server_info(core_->scope(options.timeout, options.stop, true), core_->retries()));
}

Result<void> Client::wait_until_ready(const CallOptions& options) {
  Result<ServerInfo> info = core_->run(core_->server_info(core_->scope(options.timeout, options.stop, true), true));
  if (info) return {};
  if (info.error().code != Code::kDeadlineExceeded) return std::move(info.error());
  return Error(Code::kUnavailable, "no server answered within the timeout: " + info.error().message);
}

}  // namespace lossd
