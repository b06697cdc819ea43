// SPDX-License-Identifier: Apache-2.0

#include "lossd/losses/vocabulary.h"

#include "builder.h"
#include "lossd/v1/evaluation_service.pb.h"

namespace lossd::detail {
namespace {

const LossInfo& linear_cross_entropy_info() {
  using M = v1::LinearCrossEntropyLossRequest;
  static const LossInfo info{
      .rpc = "LinearCrossEntropyLoss",
      .member = v1::LossCall::kLinearCrossEntropyLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows},
                          {M::kClassIndicesFieldNumber, Cut::kRows},
                          {M::kClassProbabilitiesFieldNumber, Cut::kRows}},
               .row_rank = 1,
               .one_axis = true},
      .arguments = {{"class_indices", "target"}, {"class_probabilities", "target"}},
  };
  return info;
}

const LossInfo& adaptive_log_softmax_with_loss_info() {
  using M = v1::AdaptiveLogSoftmaxWithLossRequest;
  static const LossInfo info{
      .rpc = "AdaptiveLogSoftmaxWithLoss",
      .member = v1::LossCall::kAdaptiveLogSoftmaxWithLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}},
               .row_rank = 1,
               .one_axis = true},
  };
  return info;
}

}  // namespace

template <typename R>
Request linear_cross_entropy(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                             const LinearCrossEntropyOptions<R>& options) {
  using M = v1::LinearCrossEntropyLossRequest;
  const bool indices = !target.is_float();
  auto builder = Builder(linear_cross_entropy_info(), options)
                     .tensor(M::kInputFieldNumber, input)
                     .tensor(M::kLinearWeightFieldNumber, linear_weight)
                     .tensor(indices ? M::kClassIndicesFieldNumber : M::kClassProbabilitiesFieldNumber, target)
                     .tensor(M::kLinearBiasFieldNumber, options.linear_bias)
                     .tensor(M::kWeightFieldNumber, options.weight)
                     .option(M::kLabelSmoothingFieldNumber, options.label_smoothing, 0.0);
  if (options.ignore_index) return std::move(builder).given(M::kIgnoreIndexFieldNumber, *options.ignore_index).build();
  return std::move(builder).build();
}
template Request linear_cross_entropy(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                                      const LinearCrossEntropyOptions<>&);
template Request linear_cross_entropy(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                                      const LinearCrossEntropyOptions<None>&);

template <typename R>
Request adaptive_log_softmax_with_loss(const Tensor& input, const Tensor& target, const Tensor& head_weight,
                                       const std::vector<TailCluster>& tail, const std::vector<std::int64_t>& cutoffs,
                                       const AdaptiveLogSoftmaxWithLossOptions<R>& options) {
  using M = v1::AdaptiveLogSoftmaxWithLossRequest;
  return Builder(adaptive_log_softmax_with_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .tensor(M::kHeadWeightFieldNumber, head_weight)
      .given(M::kTailFieldNumber, tail)
      .given(M::kCutoffsFieldNumber, cutoffs)
      .tensor(M::kHeadBiasFieldNumber, options.head_bias)
      .build();
}
template Request adaptive_log_softmax_with_loss(const Tensor& input, const Tensor& target, const Tensor& head_weight,
                                                const std::vector<TailCluster>& tail, const std::vector<std::int64_t>& cutoffs,
                                                const AdaptiveLogSoftmaxWithLossOptions<>&);
template Request adaptive_log_softmax_with_loss(const Tensor& input, const Tensor& target, const Tensor& head_weight,
                                                const std::vector<TailCluster>& tail, const std::vector<std::int64_t>& cutoffs,
                                                const AdaptiveLogSoftmaxWithLossOptions<None>&);

}  // namespace lossd::detail
