// SPDX-License-Identifier: Apache-2.0
/// @file
/// The exact loss over a data set.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "lossd/error.h"
#include "lossd/losses.h"
#include "lossd/result.h"

namespace lossd {

namespace detail {
class Evaluator;
}

/// The losses, as updates of one series of an Evaluation. Unreduced losses are not possible.
class Series final : public LossMethods<Result<void>, void> {
 public:
  Series(detail::Evaluator& evaluator, std::string name) : evaluator_(&evaluator), name_(std::move(name)) {}

 protected:
  Result<void> reduced(detail::Request request) override;

 private:
  detail::Evaluator* evaluator_;
  std::string name_;
};

/// The loss over a data set, updated by mini-batches. Client::evaluation makes one, which must not outlive its client.
///
///     lossd::Evaluation evaluation = client.evaluation();
///     for (const Row& row : batches) {
///       if (auto updated = evaluation[row.region].cross_entropy({row.logits, {row.size, 10}}, row.labels); !updated) return
///       updated.error();
///     }
///     auto results = evaluation.compute();
///     if (results) use(results->at("north").value);
///
/// The result is the loss over all rows at once, and the order of updates and merges does not change a bit of it. All updates of a series
/// must have the same loss and reduction.
///
/// Updates are copied and sent many at a time, so a later update, or `compute`, reports their errors; an invalid update does not count.
/// Updates that failed because no server was reached are kept and sent again. Use an evaluation from one thread at a time. If several
/// threads evaluate, give each its own evaluation and merge them.
class Evaluation {
 public:
  explicit Evaluation(std::unique_ptr<detail::Evaluator> evaluator);
  ~Evaluation();
  Evaluation(Evaluation&&) noexcept;
  Evaluation& operator=(Evaluation&&) noexcept;

  /// The series of this name, at most 256 bytes of UTF-8.
  Series operator[](std::string name);

  /// The result of every series by name, when every update is answered.
  Result<std::map<std::string, SeriesResult>> compute();

  /// The result over all series, which must have the same loss and reduction.
  Result<SeriesResult> total();

  /// Adds everything that another evaluation holds, when its updates are answered.
  Result<void> merge(Evaluation& other);

  /// Discards everything, including updates that were not answered.
  void reset();

 private:
  std::unique_ptr<detail::Evaluator> evaluator_;
};

}  // namespace lossd
