// SPDX-License-Identifier: Apache-2.0

#include "lossd/batch.h"

#include "collector.h"

namespace lossd {
namespace detail {
namespace {

constexpr std::size_t kSendBytes = 256 << 10;

}  // namespace

Collector::~Collector() {
  for (const Sink& sink : sinks_) sink(Error(Code::kCancelled, "the batch was not sent"));
}

void Collector::add(Request request, Sink sink) {
  if (request.call.timeout || request.call.stop.stop_possible()) {
    sink(Error(Code::kInvalidArgument, "a call of a batch cannot have its own timeout or stop token: the batch has them"));
    return;
  }
  calls_.push_back(call_of(std::move(request)));
  sinks_.push_back(std::move(sink));
  bytes_ += calls_.back().encoded.message.size();
  if (bytes_ >= kSendBytes && *under_way_ < kConcurrentMessages) send();
}

void Collector::send() {
  if (calls_.empty()) return;
  bytes_ = 0;
  ++*under_way_;
  const auto deliver = [sinks = std::exchange(sinks_, {}), under_way = under_way_](std::vector<Result<Answer>> outcomes) {
    --*under_way;
    for (std::size_t i = 0; i < sinks.size(); ++i) sinks[i](std::move(outcomes[i]));
  };
  core_.launch(core_.score_many(std::exchange(calls_, {}), core_.scope(timeout_, stop_, false)), deliver);
}

namespace {

template <typename T, typename Convert>
std::future<Result<T>> collected(Collector& collector, Request request, Convert convert) {
  const auto promise = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> future = promise->get_future();
  collector.add(std::move(request), [promise, convert](Result<Answer> answer) {
    promise->set_value(answer ? Result<T>(convert(std::move(*answer))) : Result<T>(std::move(answer.error())));
  });
  return future;
}

}  // namespace
}  // namespace detail

Batch::Batch(std::unique_ptr<detail::Collector> collector) : collector_(std::move(collector)) {}
Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&&) noexcept = default;

void Batch::send() { collector_->send(); }

std::future<Result<Loss>> Batch::reduced(detail::Request request) {
  return detail::collected<Loss>(*collector_, std::move(request), detail::as_loss);
}

std::future<Result<Array>> Batch::unreduced(detail::Request request) {
  return detail::collected<Array>(*collector_, std::move(request), detail::as_array);
}

}  // namespace lossd
