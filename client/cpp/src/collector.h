// SPDX-License-Identifier: Apache-2.0
// The calls of a Batch.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core.h"

namespace lossd::detail {

class Collector {
 public:
  using Sink = std::function<void(Result<Answer>)>;

  Collector(Core& core, std::optional<Seconds> timeout, std::stop_token stop) : core_(core), timeout_(timeout), stop_(std::move(stop)) {}
  Collector(const Collector&) = delete;
  ~Collector();

  /// Collects a call. Calls are sent when they reach some bytes, so that the server computes them while the caller prepares the rest.
  void add(Request request, Sink sink);

  void send();

 private:
  Core& core_;
  std::optional<Seconds> timeout_;
  std::stop_token stop_;
  std::vector<Call> calls_;
  std::vector<Sink> sinks_;  // for the calls
  std::size_t bytes_ = 0;
  std::shared_ptr<std::atomic<std::size_t>> under_way_ = std::make_shared<std::atomic<std::size_t>>(0);
};

}  // namespace lossd::detail
