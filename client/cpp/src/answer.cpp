// SPDX-License-Identifier: Apache-2.0

#include "answer.h"

#include <cstring>

#include "lossd/v1/response.pb.h"

namespace lossd::detail {
namespace {

template <typename T>
std::vector<T> elements(const std::string& payload) {
  std::vector<T> values(payload.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), payload.data(), values.size() * sizeof(T));
  return values;
}

}  // namespace

Answer answer_of(const v1::LossResponse& response) {
  Answer answer;
  const auto& statistics = response.statistics();
  const auto& execution = response.execution();
  answer.value = response.value();
  answer.statistics = {.sum = statistics.sum(),
                       .mean_numerator = statistics.mean_numerator(),
                       .mean_denominator = statistics.mean_denominator(),
                       .element_count = statistics.element_count(),
                       .ignored_count = statistics.ignored_count()};
  answer.execution = {.queue_seconds = execution.queue_seconds(),
                      .compute_seconds = execution.compute_seconds(),
                      .calls_in_batch = execution.calls_in_batch(),
                      .device = std::string(execution.device())};
  if (response.has_values()) {
    const v1::Tensor& tensor = response.values();
    answer.shape = Shape(std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end()));
    if (tensor.has_float64_values()) {
      answer.values = elements<double>(tensor.float64_values().values());
    } else {
      answer.values = elements<float>(tensor.float32_values().values());
    }
  }
  return answer;
}

}  // namespace lossd::detail
