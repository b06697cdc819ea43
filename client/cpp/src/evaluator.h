// SPDX-License-Identifier: Apache-2.0
// The statistics of an Evaluation. They are kept on this side, so nothing is lost if a connection breaks: updates that a failed server did
// not answer are sent again.

#pragma once

#include <deque>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core.h"
#include "totals.h"

namespace lossd::detail {

class Evaluator {
 public:
  explicit Evaluator(Core& core) : core_(core) {}

  Result<void> update(const std::string& series, Request request);
  Result<std::map<std::string, SeriesResult>> compute();
  Result<SeriesResult> total();
  Result<void> merge(Evaluator& other);
  void reset();

 private:
  struct State {
    const LossInfo* loss;
    int reduction;
    Totals totals;
  };
  struct Update {
    std::string series;
    Call call;
  };
  struct Message {
    std::vector<Update> updates;
    std::future<std::vector<Result<Answer>>> outcomes;
  };

  /// The state of a series; null if its loss or reduction differ.
  State* state_of(const std::string& series, const LossInfo* loss, int reduction);
  void send();
  Result<void> settle();
  Result<void> flush();

  Core& core_;
  std::map<std::string, State> series_;
  std::vector<Update> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::deque<Message> under_way_;
};

}  // namespace lossd::detail
