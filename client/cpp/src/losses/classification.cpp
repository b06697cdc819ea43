// SPDX-License-Identifier: Apache-2.0

#include "lossd/losses/classification.h"

#include "builder.h"
#include "lossd/v1/evaluation_service.pb.h"

namespace lossd::detail {
namespace {

const LossInfo& nll_loss_info() {
  using M = v1::NllLossRequest;
  static const LossInfo info{
      .rpc = "NllLoss",
      .member = v1::LossCall::kNllLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}},
               .row_rank = 1,
               .one_axis = true},
      .indices = M::kTargetFieldNumber,
  };
  return info;
}

const LossInfo& cross_entropy_info() {
  using M = v1::CrossEntropyLossRequest;
  static const LossInfo info{
      .rpc = "CrossEntropyLoss",
      .member = v1::LossCall::kCrossEntropyLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows},
                          {M::kClassIndicesFieldNumber, Cut::kRows},
                          {M::kClassProbabilitiesFieldNumber, Cut::kRows}},
               .row_rank = 1,
               .one_axis = true},
      .same_shape = {M::kInputFieldNumber, M::kClassProbabilitiesFieldNumber},
      .indices = M::kClassIndicesFieldNumber,
      .arguments = {{"class_indices", "target"}, {"class_probabilities", "target"}},
  };
  return info;
}

const LossInfo& binary_cross_entropy_info() {
  using M = v1::BceLossRequest;
  static const LossInfo info{
      .rpc = "BceLoss",
      .member = v1::LossCall::kBceLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows},
                          {M::kTargetFieldNumber, Cut::kRows},
                          {M::kWeightFieldNumber, Cut::kRightBroadcast}}},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber},
  };
  return info;
}

const LossInfo& binary_cross_entropy_with_logits_info() {
  using M = v1::BceWithLogitsLossRequest;
  static const LossInfo info{
      .rpc = "BceWithLogitsLoss",
      .member = v1::LossCall::kBceWithLogitsLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows},
                          {M::kTargetFieldNumber, Cut::kRows},
                          {M::kWeightFieldNumber, Cut::kRightBroadcast},
                          {M::kPosWeightFieldNumber, Cut::kRightBroadcast}}},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber},
  };
  return info;
}

const LossInfo& soft_margin_loss_info() {
  using M = v1::SoftMarginLossRequest;
  static const LossInfo info{
      .rpc = "SoftMarginLoss",
      .member = v1::LossCall::kSoftMarginLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber, .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRightBroadcast}}},
  };
  return info;
}

const LossInfo& multi_margin_loss_info() {
  using M = v1::MultiMarginLossRequest;
  static const LossInfo info{
      .rpc = "MultiMarginLoss",
      .member = v1::LossCall::kMultiMarginLossFieldNumber,
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
Request nll_loss(const Tensor& input, const Tensor& target, const NllLossOptions<R>& options) {
  using M = v1::NllLossRequest;
  return Builder(nll_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .tensor(M::kWeightFieldNumber, options.weight)
      .option(M::kIgnoreIndexFieldNumber, options.ignore_index, std::int64_t{-100})
      .build();
}
template Request nll_loss(const Tensor& input, const Tensor& target, const NllLossOptions<>&);
template Request nll_loss(const Tensor& input, const Tensor& target, const NllLossOptions<None>&);

template <typename R>
Request cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions<R>& options) {
  using M = v1::CrossEntropyLossRequest;
  const bool indices = !target.is_float();
  return Builder(cross_entropy_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(indices ? M::kClassIndicesFieldNumber : M::kClassProbabilitiesFieldNumber, target)
      .tensor(M::kWeightFieldNumber, options.weight)
      .option(M::kIgnoreIndexFieldNumber, options.ignore_index, std::int64_t{-100})
      .option(M::kLabelSmoothingFieldNumber, options.label_smoothing, 0.0)
      .build();
}
template Request cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions<>&);
template Request cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions<None>&);

template <typename R>
Request binary_cross_entropy(const Tensor& input, const Tensor& target, const BinaryCrossEntropyOptions<R>& options) {
  using M = v1::BceLossRequest;
  return Builder(binary_cross_entropy_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .tensor(M::kWeightFieldNumber, options.weight)
      .build();
}
template Request binary_cross_entropy(const Tensor& input, const Tensor& target, const BinaryCrossEntropyOptions<>&);
template Request binary_cross_entropy(const Tensor& input, const Tensor& target, const BinaryCrossEntropyOptions<None>&);

template <typename R>
Request binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const BinaryCrossEntropyWithLogitsOptions<R>& options) {
  using M = v1::BceWithLogitsLossRequest;
  return Builder(binary_cross_entropy_with_logits_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .tensor(M::kWeightFieldNumber, options.weight)
      .tensor(M::kPosWeightFieldNumber, options.pos_weight)
      .build();
}
template Request binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const BinaryCrossEntropyWithLogitsOptions<>&);
template Request binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                                  const BinaryCrossEntropyWithLogitsOptions<None>&);

template <typename R>
Request soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossOptions<R>& options) {
  using M = v1::SoftMarginLossRequest;
  return Builder(soft_margin_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kAllowAnyTargetFieldNumber, options.allow_any_target, false)
      .build();
}
template Request soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossOptions<>&);
template Request soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossOptions<None>&);

template <typename R>
Request multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossOptions<R>& options) {
  using M = v1::MultiMarginLossRequest;
  return Builder(multi_margin_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kPFieldNumber, options.p, std::int64_t{1})
      .option(M::kMarginFieldNumber, options.margin, 1.0)
      .tensor(M::kWeightFieldNumber, options.weight)
      .build();
}
template Request multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossOptions<>&);
template Request multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossOptions<None>&);

}  // namespace lossd::detail
