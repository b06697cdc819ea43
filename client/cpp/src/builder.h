// SPDX-License-Identifier: Apache-2.0
// Makes requests of the arguments of a loss. Arguments that are not given, or equal their default, are not sent.

#pragma once

#include <algorithm>
#include <utility>

#include "loss_info.h"
#include "lossd/request.h"
#include "lossd/v1/options.pb.h"

namespace lossd::detail {

inline int on_the_wire(Reduction reduction) { return reduction == Reduction::kSum ? v1::REDUCTION_SUM : v1::REDUCTION_MEAN; }
inline int on_the_wire(KlReduction reduction) {
  if (reduction == KlReduction::kBatchMean) return v1::REDUCTION_BATCH_MEAN;
  return reduction == KlReduction::kSum ? v1::REDUCTION_SUM : v1::REDUCTION_MEAN;
}
inline int on_the_wire(None) { return v1::REDUCTION_NONE; }

class Builder {
 public:
  template <typename Options>
  Builder(const LossInfo& loss, const Options& options) {
    request_.loss = &loss;
    request_.reduction = on_the_wire(options.reduction);
    request_.call = options.call;
  }

  Builder&& given(int number, FieldValue value) && {
    request_.fields.push_back({number, std::move(value)});
    return std::move(*this);
  }

  Builder&& tensor(int number, const Tensor& tensor) && { return tensor ? std::move(*this).given(number, tensor) : std::move(*this); }

  template <typename T>
  Builder&& option(int number, T value, T otherwise) && {
    return value == otherwise ? std::move(*this) : std::move(*this).given(number, value);
  }

  Request build() && {
    std::ranges::sort(request_.fields, {}, &Field::number);
    return std::move(request_);
  }

 private:
  Request request_;
};

}  // namespace lossd::detail
