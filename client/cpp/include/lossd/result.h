// SPDX-License-Identifier: Apache-2.0
/// @file
/// The answers to calls.

#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "lossd/tensor.h"

namespace lossd {

/// What is needed to merge losses exactly: the mean over several is the sum of their `mean_numerator` divided by the sum of their
/// `mean_denominator`; their sum is the sum of their `sum`.
struct Statistics {
  double sum = 0.0;               ///< Over all elements, in float64.
  double mean_numerator = 0.0;    ///< Differs from `sum` for ctc_loss only.
  double mean_denominator = 0.0;  ///< The number of elements or rows, or the sum of their weights if torch divides by that.
  std::int64_t element_count = 0;
  std::int64_t ignored_count = 0;  ///< Targets equal to ignore_index, or infinite CTC losses set to zero.

  bool operator==(const Statistics&) const = default;
};

/// How a call was computed.
struct Execution {
  double queue_seconds = 0.0;
  double compute_seconds = 0.0;     ///< Of the batch, shared by all of its calls.
  std::int32_t calls_in_batch = 0;  ///< Calls computed together, with this one. 0 if there was nothing to compute.
  std::string device;               ///< As torch names it, such as "cuda:0".
};

/// A reduced loss.
struct Loss {
  double value = 0.0;
  Statistics statistics;
  Execution execution;
};

/// An unreduced loss: one value for each element or row.
struct Array {
  Shape shape;
  /// Row-major. double if the loss was computed in float64.
  std::variant<std::vector<float>, std::vector<double>> values;
  Statistics statistics;
  Execution execution;

  /// The values. Throws std::bad_variant_access if they are of the other type.
  template <typename T>
  const std::vector<T>& get() const {
    return std::get<std::vector<T>>(values);
  }
};

/// The loss over all updates of a series.
struct SeriesResult {
  double value = 0.0;
  Statistics statistics;
  std::int64_t call_count = 0;  ///< The number of updates.
};

/// A server's versions, devices, losses and limits.
struct ServerInfo {
  std::string server_version;
  std::string torch_version;
  std::vector<std::string> devices;
  std::vector<std::string> losses;  ///< As "CrossEntropyLoss".
  std::int64_t max_request_bytes = 0;
  std::int64_t max_response_bytes = 0;
  std::int64_t max_workspace_bytes = 0;
  std::int64_t max_operations = 0;
};

}  // namespace lossd
