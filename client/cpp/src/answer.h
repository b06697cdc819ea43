// SPDX-License-Identifier: Apache-2.0
// The answer to a call, before it is known whether the caller wants a Loss or an Array.

#pragma once

#include "lossd/result.h"

namespace lossd::v1 {
class LossResponse;
}

namespace lossd::detail {

struct Answer {
  double value = 0.0;  // of a reduced loss
  Shape shape;         // of an unreduced loss, with its values
  std::variant<std::vector<float>, std::vector<double>> values;
  Statistics statistics;
  Execution execution;
};

Answer answer_of(const v1::LossResponse& response);

inline Loss as_loss(Answer answer) { return {answer.value, answer.statistics, std::move(answer.execution)}; }
inline Array as_array(Answer answer) {
  return {std::move(answer.shape), std::move(answer.values), answer.statistics, std::move(answer.execution)};
}

}  // namespace lossd::detail
