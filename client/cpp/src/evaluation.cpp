// SPDX-License-Identifier: Apache-2.0

#include "lossd/evaluation.h"

#include "evaluator.h"

namespace lossd {
namespace detail {
namespace {

// Updates are sent when they reach this many bytes, or this number.
constexpr std::size_t kSendBytes = 1 << 20;
constexpr std::size_t kSendCalls = 1024;
constexpr std::size_t kMessagesInFlight = 2;

Error mixed(const std::string& series) {
  return {Code::kInvalidArgument, "series \"" + series + "\": all updates of a series must have the same loss and reduction"};
}

bool may_succeed_later(const Error& error) { return error.code == Code::kUnavailable || error.code == Code::kDeadlineExceeded; }

SeriesResult result_of(const Totals& totals, int reduction) { return {totals.value(reduction), totals.statistics(), totals.call_count}; }

}  // namespace

Evaluator::State* Evaluator::state_of(const std::string& series, const LossInfo* loss, int reduction) {
  State& state = series_.try_emplace(series, State{loss, reduction, {}}).first->second;
  return state.loss == loss && state.reduction == reduction ? &state : nullptr;
}

Result<void> Evaluator::update(const std::string& series, Request request) {
  if (request.call.timeout || request.call.stop.stop_possible()) {
    return Error(Code::kInvalidArgument, "an update cannot have its own timeout or stop token: it is sent with others");
  }
  if (state_of(series, request.loss, request.reduction) == nullptr) return mixed(series);
  Call call = call_of(std::move(request));
  waiting_bytes_ += call.encoded.message.size();
  waiting_.push_back({series, std::move(call)});
  if (waiting_bytes_ < kSendBytes && waiting_.size() < kSendCalls) return {};
  while (under_way_.size() >= kMessagesInFlight) {
    if (Result<void> settled = settle(); !settled) return settled;
  }
  send();
  return {};
}

void Evaluator::send() {
  Message message{std::exchange(waiting_, {}), {}};
  waiting_bytes_ = 0;
  std::vector<Call> calls;
  for (const Update& update : message.updates) calls.push_back(update.call);
  std::promise<std::vector<Result<Answer>>> promise;
  message.outcomes = promise.get_future();
  core_.launch(core_.score_many(std::move(calls), core_.scope({}, {}, false)),
               [promise = std::move(promise)](std::vector<Result<Answer>> outcomes) mutable { promise.set_value(std::move(outcomes)); });
  under_way_.push_back(std::move(message));
}

/// Processes the answers to the oldest message. Fails with the first error among them.
Result<void> Evaluator::settle() {
  Message message = std::move(under_way_.front());
  under_way_.pop_front();
  const std::vector<Result<Answer>> outcomes = message.outcomes.get();
  std::optional<Error> first;
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    Update& update = message.updates[i];
    if (outcomes[i]) {
      series_.at(update.series).totals.add(outcomes[i]->statistics);
      continue;
    }
    if (!first) {
      first = outcomes[i].error();
      first->message += "; in an update of series \"" + update.series + "\"";
    }
    if (may_succeed_later(outcomes[i].error())) {
      waiting_bytes_ += update.call.encoded.message.size();
      waiting_.push_back(std::move(update));
    }
  }
  if (first) return std::move(*first);
  return {};
}

/// Waits until every update is answered.
Result<void> Evaluator::flush() {
  while (!waiting_.empty() || !under_way_.empty()) {
    if (under_way_.empty()) send();
    if (Result<void> settled = settle(); !settled) return settled;
  }
  return {};
}

Result<std::map<std::string, SeriesResult>> Evaluator::compute() {
  if (Result<void> flushed = flush(); !flushed) return std::move(flushed.error());
  std::map<std::string, SeriesResult> results;
  for (const auto& [name, state] : series_) results.emplace(name, result_of(state.totals, state.reduction));
  return results;
}

Result<SeriesResult> Evaluator::total() {
  if (Result<void> flushed = flush(); !flushed) return std::move(flushed.error());
  if (series_.empty()) return Error(Code::kInvalidArgument, "the evaluation has no updates");
  const State& first = series_.begin()->second;
  Totals totals;
  for (const auto& [name, state] : series_) {
    if (state.loss != first.loss || state.reduction != first.reduction) return mixed(name);
    totals.merge(state.totals);
  }
  return result_of(totals, first.reduction);
}

Result<void> Evaluator::merge(Evaluator& other) {
  if (Result<void> flushed = other.flush(); !flushed) return flushed;
  for (const auto& [name, state] : other.series_) {
    State* own = state_of(name, state.loss, state.reduction);
    if (own == nullptr) return mixed(name);
    own->totals.merge(state.totals);
  }
  return {};
}

void Evaluator::reset() {
  series_.clear();
  waiting_.clear();
  waiting_bytes_ = 0;
  under_way_.clear();
}

}  // namespace detail

Result<void> Series::reduced(detail::Request request) { return evaluator_->update(name_, std::move(request)); }

Evaluation::Evaluation(std::unique_ptr<detail::Evaluator> evaluator) : evaluator_(std::move(evaluator)) {}
Evaluation::~Evaluation() = default;
Evaluation::Evaluation(Evaluation&&) noexcept = default;
Evaluation& Evaluation::operator=(Evaluation&&) noexcept = default;

Series Evaluation::operator[](std::string name) { return {*evaluator_, std::move(name)}; }
Result<std::map<std::string, SeriesResult>> Evaluation::compute() { return evaluator_->compute(); }
Result<SeriesResult> Evaluation::total() { return evaluator_->total(); }
Result<void> Evaluation::merge(Evaluation& other) { return evaluator_->merge(*other.evaluator_); }
void Evaluation::reset() { evaluator_->reset(); }

}  // namespace lossd
