// SPDX-License-Identifier: Apache-2.0

#include "stream.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "status.h"

namespace lossd::detail {

struct Waiter {
  Wakeup wakeup;
  StreamAnswer answer;
};

/// One RPC. It deletes itself when it has ended.
class Stream::Session final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit Session(Stream& stream) : stream_(stream) {}

  /// Returns whether messages can be sent. If not, the session may be gone.
  bool start() {
    for (const auto& [key, value] : stream_.metadata_) context->AddMetadata(key, value);
    stream_.stub_.PrepareBidiStreamingCall(context.get(), "/lossd.v1.EvaluationService/ScoreStream", {}, this);
    AddHold();  // writes start outside of reactions; released when the stream has broken and no write is under way
    StartRead(&incoming_);
    StartCall();
    return note([this] { writing_ = false; });
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      note([this] { broken_ = true; });
      return;
    }
    v1::ScoreStreamResponse response;
    grpc::ProtoBufferReader reader(&incoming_);
    if (!response.ParseFromZeroCopyStream(&reader)) context->TryCancel();
    StartRead(&incoming_);
    std::vector<Waiter*> answered;
    {
      const std::lock_guard lock(stream_.mutex_);
      for (v1::StreamOutcome& outcome : *response.mutable_outcomes()) {
        Waiter* waiter = stream_.outbox_.settle(outcome.id());
        if (waiter == nullptr) continue;
        if (outcome.outcome().has_error()) {
          waiter->answer = error_of(outcome.outcome().error());
        } else {
          waiter->answer = std::move(*outcome.mutable_outcome()->mutable_response());
        }
        answered.push_back(waiter);
      }
    }
    stream_.pump();
    for (Waiter* waiter : answered) waiter->wakeup.wake();
  }

  void OnWriteDone(bool /*ok*/) override {
    if (note([this] { writing_ = false; })) stream_.pump();
  }

  void OnDone(const grpc::Status& /*status*/) override {
    std::vector<Waiter*> waiters;
    Stream& stream = stream_;
    {
      const std::lock_guard lock(stream.mutex_);
      stream.session_ = nullptr;
      waiters = stream.outbox_.clear();
    }
    for (Waiter* waiter : waiters) waiter->wakeup.wake();
    delete this;
    const std::lock_guard lock(stream.mutex_);
    --stream.sessions_;
    stream.session_ended_.notify_all();
  }

  const std::shared_ptr<grpc::ClientContext> context = std::make_shared<grpc::ClientContext>();

  // Guarded by the stream's mutex.
  bool writing_ = true;  // also until the RPC has started
  bool broken_ = false;
  grpc::ByteBuffer outgoing_;

 private:
  /// Notes what has ended. Returns whether the stream goes on; if not, and if nothing is under way, releases the hold.
  template <typename Note>
  bool note(const Note& ended) {
    bool release = false;
    {
      const std::lock_guard lock(stream_.mutex_);
      ended();
      if (!broken_) return true;
      release = !writing_ && !released_;
      released_ = released_ || release;
    }
    if (release) RemoveHold();
    return false;
  }

  Stream& stream_;
  grpc::ByteBuffer incoming_;
  bool released_ = false;
};

/// Awaits the answer to a call.
class Stream::Post {
 public:
  Post(Stream& stream, const Encoded& call, const Scope& scope) : stream_(stream), call_(call), scope_(scope) {}
  Post(const Post&) = delete;
  ~Post() {
    if (alarm_) stream_.timer_.cancel(*alarm_);
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) {
    waiter_.wakeup.prepare(handle);
    Stream& stream = stream_;
    const std::uint64_t id = stream.post(&waiter_, call_, scope_);
    if (id != 0) {
      if (scope_.deadline != Clock::time_point::max()) {
        alarm_ = stream.timer_.at(scope_.deadline, [&stream, id] { stream.give_up(id, deadline_error()); });
      }
      if (scope_.stop.stop_possible()) stop_.emplace(scope_.stop, [&stream, id] { stream.give_up(id, cancelled_error()); });
    }
    return waiter_.wakeup.suspend();
  }
  StreamAnswer await_resume() { return std::move(waiter_.answer); }

 private:
  Stream& stream_;
  const Encoded& call_;
  const Scope& scope_;
  Waiter waiter_;
  std::optional<Timer::Key> alarm_;
  std::optional<StopCallback> stop_;
};

Stream::Stream(std::shared_ptr<grpc::Channel> channel, const Metadata& metadata, Timer& timer)
    : stub_(std::move(channel)), metadata_(metadata), timer_(timer) {}

Stream::~Stream() { close(); }

Task<StreamAnswer> Stream::score(Encoded call, Scope scope) {
  Post post(*this, call, scope);
  StreamAnswer answer = co_await post;
  co_return answer;
}

void Stream::close() {
  std::shared_ptr<grpc::ClientContext> context;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (session_ != nullptr) context = session_->context;
  }
  if (context != nullptr) context->TryCancel();
  std::unique_lock lock(mutex_);
  session_ended_.wait(lock, [this] { return sessions_ == 0; });
}

/// The id of the call; 0 if the stream is closed, and the waiter was woken.
std::uint64_t Stream::post(Waiter* waiter, const Encoded& call, const Scope& scope) {
  std::uint64_t id = 0;
  Session* opened = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      id = outbox_.next_id();
      outbox_.add(id, waiter, call, scope.deadline);
      if (session_ == nullptr) {
        session_ = opened = new Session(*this);
        ++sessions_;
      }
    }
  }
  if (id == 0) {
    waiter->wakeup.wake();
    return 0;
  }
  if (opened == nullptr || opened->start()) pump();
  return id;
}

void Stream::give_up(std::uint64_t id, Error error) {
  Waiter* waiter = nullptr;
  {
    const std::lock_guard lock(mutex_);
    waiter = outbox_.cancel(id);
  }
  if (waiter == nullptr) return;
  waiter->answer = std::move(error);
  pump();
  waiter->wakeup.wake();
}

/// Sends the next message, if there is one and no other is being sent.
void Stream::pump() {
  Session* session = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (session_ == nullptr || session_->writing_ || session_->broken_ || !outbox_.ready()) return;
    session = session_;
    session->outgoing_ = outbox_.take(Clock::now());
    session->writing_ = true;  // keeps the session
  }
  session->StartWrite(&session->outgoing_);
}

}  // namespace lossd::detail
