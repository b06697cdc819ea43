// SPDX-License-Identifier: Apache-2.0

#include "core.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <random>

#include "explain.h"
#include "lossd/v1/loss_service.pb.h"
#include "status.h"
#include "unary.h"

namespace lossd::detail {
namespace {

// Pauses between attempts of a call double each time. A random part of up to half is left out, and the server's RetryInfo is added.
constexpr double kFirstPauseSeconds = 0.05;
constexpr double kLongestPauseSeconds = 1.0;

double random_from(double low, double high) {
  thread_local std::minstd_rand generator(std::random_device{}());
  return std::uniform_real_distribution(low, high)(generator);
}

template <typename Message>
Result<Message> parsed(Result<grpc::ByteBuffer> response) {
  if (!response) return std::move(response.error());
  Message message;
  grpc::ProtoBufferReader reader(&*response);
  if (!message.ParseFromZeroCopyStream(&reader)) return Error(Code::kInternal, "the server's answer cannot be read");
  return message;
}

grpc::ByteBuffer buffer_of(const grpc::Slice& slice) { return {&slice, 1}; }

Scope elsewhere(Scope scope) {
  scope.home = {};
  return scope;
}

}  // namespace

Call call_of(Request request) {
  Call call{encode_and_own(request), std::nullopt};
  if (call.encoded.message.size() > kMessageBytes) call.alone = std::move(request);
  return call;
}

Core::Core(const std::string& address, ClientOptions options)
    : options_(std::move(options)), limit_(options_.max_message_bytes), rotation_([&] {
        Result<Connection> connection = connect(address, options_);
        if (connection) {
          connection_ = std::move(*connection);
        } else {
          fault_ = std::move(connection.error());
        }
        return connection_.channels.size();
      }()) {
  for (const auto& channel : connection_.channels) {
    stubs_.emplace_back(channel);
    if (options_.coalesce) streams_.emplace_back(channel, connection_.metadata, timer_);
  }
}

Core::~Core() { close(); }

Scope Core::scope(const std::optional<Seconds>& timeout, const std::stop_token& stop, bool waits) const {
  return {deadline_after(timeout.value_or(options_.timeout)), stop, waits ? std::this_thread::get_id() : std::thread::id()};
}

void Core::begin() {
  const std::lock_guard lock(mutex_);
  ++running_;
}

void Core::end() {
  const std::lock_guard lock(mutex_);
  if (--running_ == 0) idle_.notify_all();
}

void Core::close() {
  closing_.request_stop();
  for (Stream& stream : streams_) stream.close();
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return running_ == 0; });
}

/// Waits, unless the call is cancelled or the client is closed meanwhile.
class Core::Sleep {
 public:
  Sleep(Core& core, double seconds, const Scope& scope) : core_(core), seconds_(seconds), scope_(scope) {}

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) {
    state_ = std::make_shared<State>();
    state_->wakeup.prepare(handle);
    const std::function<void()> wake = [state = state_] {
      if (!state->woken.exchange(true)) state->wakeup.wake();
    };
    alarm_ = core_.timer_.at(deadline_after(Seconds(seconds_)), wake);
    if (scope_.stop.stop_possible()) stop_.emplace(scope_.stop, wake);
    closing_.emplace(core_.closing_.get_token(), wake);
    return std::shared_ptr(state_)->wakeup.suspend();
  }
  void await_resume() { core_.timer_.cancel(alarm_); }

 private:
  struct State {
    std::atomic<bool> woken = false;
    Wakeup wakeup;
  };

  Core& core_;
  double seconds_;
  const Scope& scope_;
  std::shared_ptr<State> state_;
  Timer::Key alarm_;
  std::optional<StopCallback> stop_;
  std::optional<StopCallback> closing_;
};

template <typename T>
Task<Result<T>> Core::retried(Attempt<T> attempt, Scope scope, bool retry) {
  double pause = kFirstPauseSeconds;
  while (true) {
    if (fault_) co_return *fault_;
    if (closing_.stop_requested()) co_return closed_error();
    if (scope.stop.stop_requested()) co_return cancelled_error();
    if (Clock::now() >= scope.deadline) co_return deadline_error();
    Task<Result<T>> attempted = attempt();
    Result<T> result = co_await std::move(attempted);
    if (result) co_return result;
    if (closing_.stop_requested()) co_return closed_error();
    if (result.error().code != Code::kUnavailable || !retry) co_return result;
    const double seconds = result.error().retry_after_seconds.value_or(0.0) + pause * random_from(0.5, 1.0);
    if (deadline_after(Seconds(seconds)) >= scope.deadline) co_return result;
    Sleep sleep(*this, seconds, scope);
    co_await sleep;
    pause = std::min(2 * pause, kLongestPauseSeconds);
  }
}

Task<Result<grpc::ByteBuffer>> Core::unary(std::string method, grpc::ByteBuffer request, Scope scope) {
  const std::size_t turn = rotation_.next();
  Unary rpc(stubs_[turn], std::move(method), request, connection_.metadata, scope, closing_.get_token());
  if (scope.home == std::this_thread::get_id()) {
    rpc.block();
  } else {
    co_await rpc;
  }
  if (rpc.status().ok()) co_return std::move(rpc.response());
  if (rpc.status().error_code() == grpc::StatusCode::UNAVAILABLE) rotation_.leave_out(turn);
  co_return error_of(rpc.status(), rpc.context());
}

// One call.

Task<Result<v1::LossResponse>> Core::respond(Encoded call, Scope scope) {
  bool shared = options_.coalesce && call.message.size() <= kLargestCallBytes;
  const Attempt<v1::LossResponse> attempt = [&]() -> Task<Result<v1::LossResponse>> {
    if (shared) {
      shared = false;
      Task<StreamAnswer> posted = streams_[rotation_.next()].score(call, scope);
      StreamAnswer answer = co_await std::move(posted);
      if (answer) co_return std::move(*answer);
      if (Clock::now() >= scope.deadline) co_return deadline_error();
      if (closing_.stop_requested()) co_return closed_error();
    }
    Task<Result<grpc::ByteBuffer>> sent = unary(call.loss->path(), buffer_of(call.message), scope);
    Result<grpc::ByteBuffer> response = co_await std::move(sent);
    co_return parsed<v1::LossResponse>(std::move(response));
  };
  Task<Result<v1::LossResponse>> answered = retried(attempt, scope, options_.retry);
  Result<v1::LossResponse> response = co_await std::move(answered);
  co_return response;
}

Task<Result<Answer>> Core::score(Request request, Scope scope) {
  if (std::optional<Error> error = misfit(request)) co_return std::move(*error);
  std::optional<Encoded> encoded;
  if (scope.home != std::this_thread::get_id()) encoded = encode_and_own(request);
  const std::size_t size = encoded ? encoded->message.size() : encoded_size(request);
  Error refused = closed_error();
  if (size > limit_) {
    refused = too_large(request, limit_);
  } else {
    if (!encoded) encoded = encode(request);
    Task<Result<v1::LossResponse>> answered = respond(*encoded, scope);
    Result<v1::LossResponse> response = co_await std::move(answered);
    if (response) co_return answer_of(*response);
    if (response.error().code != Code::kResourceExhausted) co_return explained(std::move(response.error()), *request.loss);
    refused = std::move(response.error());
  }
  if (!options_.split) co_return refused;
  Task<Result<Answer>> split = score_parts(std::move(request), scope, std::move(refused));
  Result<Answer> answer = co_await std::move(split);
  co_return answer;
}

/// The answer merged from the parts of a request that is too large.
Task<Result<Answer>> Core::score_parts(Request request, Scope scope, Error refused) {
  Task<bool> learning = learn_limit(request, refused, scope);
  co_await std::move(learning);
  if (encoded_size(request) <= limit_) {
    Task<Result<Answer>> ahead = score_ahead(request, scope, std::move(refused));
    Result<Answer> answer = co_await std::move(ahead);
    co_return answer;
  }
  const Result<std::int64_t> count = parts_needed(request, limit_);
  if (!count) co_return count.error();
  Result<std::vector<Request>> parts = cut(request, *count);
  if (!parts) co_return explained(std::move(parts.error()), *request.loss);
  Task<Result<std::vector<Answer>>> all = score_all(request, std::move(*parts), 0, scope);
  Result<std::vector<Answer>> answers = co_await std::move(all);
  if (!answers) co_return std::move(answers.error());
  co_return merge(request, std::move(*answers));
}

/// The same if only the server can measure the limit: one part is cut until the server accepts it, then the rest.
Task<Result<Answer>> Core::score_ahead(const Request& request, Scope scope, Error refused) {
  const Result<std::int64_t> total = count_rows(request);
  if (!total) co_return total.error();
  std::int64_t rows = *total;
  std::vector<Request> parts{request};
  std::vector<Refusal> refusals;
  std::optional<Result<Answer>> ahead;
  while (!ahead) {
    Result<Refusal> refusal = refusal_of(rows, refused);
    if (!refusal) co_return std::move(refusal.error());
    refusals.push_back(std::move(*refusal));
    if (rows == 1) {
      Task<Result<Answer>> further = score_parts(parts.front(), scope, refused);  // cut along the next extent
      ahead = co_await std::move(further);
      break;
    }
    const Result<std::int64_t> fitting = rows_that_fit(request, refusals);
    if (!fitting) co_return fitting.error();
    const std::int64_t count = (*total + *fitting - 1) / *fitting;
    Result<std::vector<Request>> pieces = cut(request, count);
    if (!pieces) co_return explained(std::move(pieces.error()), *request.loss);
    parts = std::move(*pieces);
    rows = *total / count;
    Task<Result<v1::LossResponse>> answered = respond(encode(parts.front()), scope);
    Result<v1::LossResponse> response = co_await std::move(answered);
    if (response) {
      ahead = answer_of(*response);
    } else if (response.error().code == Code::kResourceExhausted) {
      refused = std::move(response.error());
    } else {
      co_return in_whole(explained(std::move(response.error()), *request.loss), request, 0, rows);
    }
  }
  if (!*ahead) co_return std::move(ahead->error());
  parts.erase(parts.begin());
  Task<Result<std::vector<Answer>>> all = score_all(request, std::move(parts), rows, scope);
  Result<std::vector<Answer>> answers = co_await std::move(all);
  if (!answers) co_return std::move(answers.error());
  answers->insert(answers->begin(), std::move(**ahead));
  co_return merge(request, std::move(*answers));
}

/// The answers to parts of a request, in order; the first part begins at row `start`.
Task<Result<std::vector<Answer>>> Core::score_all(const Request& request, std::vector<Request> parts, std::int64_t start, Scope scope) {
  std::vector<std::optional<Result<Answer>>> results(parts.size());
  std::vector<All::Job> jobs;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::int64_t rows = rows_in(request, parts[i]);
    jobs.push_back([this, &request, &part = parts[i], &result = results[i], start, scope]() -> Task<bool> {
      Task<Result<Answer>> scored = score_part(request, std::move(part), start, elsewhere(scope));
      result = co_await std::move(scored);
      co_return result->has_value();
    });
    start += rows;
  }
  All all(std::move(jobs), kConcurrentMessages);
  co_await all;
  std::vector<Answer> answers;
  for (std::optional<Result<Answer>>& result : results) {
    if (result && !*result) co_return std::move(result->error());
  }
  for (std::optional<Result<Answer>>& result : results) answers.push_back(std::move(**result));
  co_return answers;
}

Task<Result<Answer>> Core::score_part(const Request& request, Request part, std::int64_t start, Scope scope) {
  const std::int64_t stop = start + rows_in(request, part);
  Task<Result<Answer>> scored = score(std::move(part), scope);
  Result<Answer> answer = co_await std::move(scored);
  if (!answer) co_return in_whole(std::move(answer.error()), request, start, stop);
  co_return answer;
}

/// Adopts the server's limit on the bytes of a request, if the server refused the request for that limit.
Task<bool> Core::learn_limit(const Request& request, const Error& refused, Scope scope) {
  const auto limit = refused.metadata.find("limit_bytes");
  std::size_t learnt = limit_;
  if (refused.reason == "REQUEST_TOO_LARGE" && limit != refused.metadata.end()) {
    learnt = std::strtoull(limit->second.c_str(), nullptr, 10);
  } else if (encoded_size(request) <= limit_ && refused_by_grpc(refused)) {
    Task<Result<ServerInfo>> asked = server_info(scope, options_.retry);
    const Result<ServerInfo> info = co_await std::move(asked);
    if (info) learnt = static_cast<std::size_t>(info->max_request_bytes);
  }
  std::size_t known = limit_;
  while (learnt < known && !limit_.compare_exchange_weak(known, learnt)) {
  }
  co_return true;
}

// Many calls.

Task<std::vector<Result<Answer>>> Core::score_many(std::vector<Call> calls, Scope scope) {
  std::vector<std::optional<Result<Answer>>> outcomes(calls.size());
  std::vector<All::Job> jobs;
  const auto share = [&](std::vector<std::size_t> indices) {
    jobs.push_back([this, &calls, &outcomes, indices = std::move(indices), scope]() -> Task<bool> {
      std::vector<Encoded> encoded;
      for (const std::size_t i : indices) encoded.push_back(calls[i].encoded);
      Task<std::vector<Result<Answer>>> message = score_message(std::move(encoded), scope);
      std::vector<Result<Answer>> answers = co_await std::move(message);
      for (std::size_t i = 0; i < indices.size(); ++i) outcomes[indices[i]] = std::move(answers[i]);
      co_return true;
    });
  };
  std::vector<std::size_t> message;
  std::size_t bytes = 0;
  const std::size_t most = std::min(kMessageBytes, limit_ / 2);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (calls[i].alone) {
      jobs.push_back([this, &request = *calls[i].alone, &outcome = outcomes[i], scope]() -> Task<bool> {
        Task<Result<Answer>> scored = score(std::move(request), scope);
        outcome = co_await std::move(scored);
        co_return true;
      });
      continue;
    }
    const std::size_t size = calls[i].encoded.message.size();
    if (!message.empty() && (bytes + size > most || message.size() == kMostCalls)) {
      share(std::exchange(message, {}));
      bytes = 0;
    }
    message.push_back(i);
    bytes += size + 16;
  }
  if (!message.empty()) share(std::move(message));
  All all(std::move(jobs), kConcurrentMessages);
  co_await all;
  std::vector<Result<Answer>> results;
  for (std::optional<Result<Answer>>& outcome : outcomes) results.push_back(std::move(*outcome));
  co_return results;
}

/// The outcomes of calls that are sent as one message, or in halves if the message is too large.
Task<std::vector<Result<Answer>>> Core::score_message(std::vector<Encoded> calls, Scope scope) {
  std::vector<std::optional<Result<Answer>>> outcomes(calls.size());
  const Attempt<std::vector<std::size_t>> attempt = [&] { return send_message(calls, outcomes, scope); };
  Task<Result<std::vector<std::size_t>>> sending = retried(attempt, scope, options_.retry);
  const Result<std::vector<std::size_t>> sent = co_await std::move(sending);
  if (!sent) {
    std::vector<std::size_t> todo;  // without an outcome, or told to try again
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (!outcomes[i] || (!*outcomes[i] && outcomes[i]->error().code == Code::kUnavailable)) todo.push_back(i);
    }
    std::vector<Result<Answer>> answers;
    if (sent.error().code == Code::kResourceExhausted && todo.size() > 1) {
      const std::size_t middle = todo.size() / 2;
      for (const auto& [begin, end] : {std::pair(std::size_t{0}, middle), std::pair(middle, todo.size())}) {
        std::vector<Encoded> half;
        for (std::size_t i = begin; i < end; ++i) half.push_back(calls[todo[i]]);
        Task<std::vector<Result<Answer>>> message = score_message(std::move(half), scope);
        std::vector<Result<Answer>> some = co_await std::move(message);
        std::ranges::move(some, std::back_inserter(answers));
      }
    } else {
      answers.assign(todo.size(), sent.error());
    }
    for (std::size_t i = 0; i < todo.size(); ++i) outcomes[todo[i]] = std::move(answers[i]);
  }
  std::vector<Result<Answer>> results;
  for (std::optional<Result<Answer>>& outcome : outcomes) results.push_back(std::move(*outcome));
  co_return results;
}

/// One attempt: sends the calls that have no outcome yet, or were told to try again. Fails as the call that is told to wait longest.
Task<Result<std::vector<std::size_t>>> Core::send_message(const std::vector<Encoded>& calls,
                                                          std::vector<std::optional<Result<Answer>>>& outcomes, Scope scope) {
  std::vector<std::size_t> todo;
  std::vector<const Encoded*> some;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (outcomes[i] && (*outcomes[i] || outcomes[i]->error().code != Code::kUnavailable)) continue;
    todo.push_back(i);
    some.push_back(&calls[i]);
  }
  Task<Result<grpc::ByteBuffer>> sent = unary("/lossd.v1.EvaluationService/ScoreBatch", batch_message(some), scope);
  Result<grpc::ByteBuffer> answered = co_await std::move(sent);
  const Result<v1::ScoreBatchResponse> response = parsed<v1::ScoreBatchResponse>(std::move(answered));
  if (!response) co_return response.error();
  if (static_cast<std::size_t>(response->outcomes_size()) != todo.size()) {
    co_return Error(Code::kInternal, "the server answered another number of calls");
  }
  std::optional<Error> longest;
  for (std::size_t i = 0; i < todo.size(); ++i) {
    const v1::LossOutcome& outcome = response->outcomes(static_cast<int>(i));
    if (!outcome.has_error()) {
      outcomes[todo[i]] = answer_of(outcome.response());
      continue;
    }
    Error error = explained(error_of(outcome.error()), *some[i]->loss);
    const bool later = error.code == Code::kUnavailable;
    if (later && (!longest || error.retry_after_seconds.value_or(0.0) > longest->retry_after_seconds.value_or(0.0))) longest = error;
    outcomes[todo[i]] = std::move(error);
  }
  if (longest) co_return std::move(*longest);
  co_return todo;
}

Task<Result<ServerInfo>> Core::server_info(Scope scope, bool retry) {
  const Attempt<grpc::ByteBuffer> attempt = [&] { return unary("/lossd.v1.LossService/GetServerInfo", buffer_of(grpc::Slice()), scope); };
  Task<Result<grpc::ByteBuffer>> asked = retried(attempt, scope, retry);
  Result<grpc::ByteBuffer> answered = co_await std::move(asked);
  const Result<v1::GetServerInfoResponse> info = parsed<v1::GetServerInfoResponse>(std::move(answered));
  if (!info) co_return info.error();
  co_return ServerInfo{.server_version = std::string(info->server_version()),
                       .torch_version = std::string(info->torch_version()),
                       .devices = {info->devices().begin(), info->devices().end()},
                       .losses = {info->losses().begin(), info->losses().end()},
                       .max_request_bytes = info->max_request_bytes(),
                       .max_response_bytes = info->max_response_bytes(),
                       .max_workspace_bytes = info->max_workspace_bytes(),
                       .max_operations = info->max_operations()};
}

}  // namespace lossd::detail
