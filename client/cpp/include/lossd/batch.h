// SPDX-License-Identifier: Apache-2.0
/// @file
/// Calls that are collected and sent together.

#pragma once

#include <cstddef>
#include <future>
#include <memory>

#include "lossd/error.h"
#include "lossd/losses.h"
#include "lossd/result.h"

namespace lossd {

namespace detail {
class Collector;
}

/// The losses, for Client::batch. Every method returns at once with a future that is ready when its call was answered, after `send`.
///
///     lossd::Batch batch = client.batch();
///     auto a = batch.cross_entropy({logits, {rows, classes}}, labels);
///     auto b = batch.mse_loss(predictions, targets);
///     batch.send();
///     use(a.get()->value, b.get()->value);
///
/// If a call fails, the others are unaffected. Tensors may change when a method has returned. A call of a batch has the batch's timeout and
/// stop token, and none of its own. Use a batch from one thread. It must not outlive its client.
class Batch final : public LossMethods<std::future<Result<Loss>>, std::future<Result<Array>>> {
 public:
  explicit Batch(std::unique_ptr<detail::Collector> collector);

  /// Calls that were not sent fail with kCancelled.
  ~Batch() override;

  Batch(Batch&&) noexcept;
  Batch& operator=(Batch&&) noexcept;

  /// Sends the calls, and returns at once. The batch is then empty, and may collect others.
  void send();

 protected:
  std::future<Result<Loss>> reduced(detail::Request request) override;
  std::future<Result<Array>> unreduced(detail::Request request) override;

 private:
  std::unique_ptr<detail::Collector> collector_;
};

}  // namespace lossd
