// SPDX-License-Identifier: Apache-2.0

#include "lossd/losses/multilabel.h"

#include "builder.h"
#include "lossd/v1/evaluation_service.pb.h"

namespace lossd::detail {
namespace {

const LossInfo& multilabel_margin_loss_info() {
  using M = v1::MultiLabelMarginLossRequest;
  static const LossInfo info{
      .rpc = "MultiLabelMarginLoss",
      .member = v1::LossCall::kMultiLabelMarginLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}},
               .row_rank = 1,
               .one_axis = true},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber},
  };
  return info;
}

const LossInfo& multilabel_soft_margin_loss_info() {
  using M = v1::MultiLabelSoftMarginLossRequest;
  static const LossInfo info{
      .rpc = "MultiLabelSoftMarginLoss",
      .member = v1::LossCall::kMultiLabelSoftMarginLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows},
                          {M::kTargetFieldNumber, Cut::kRows},
                          {M::kWeightFieldNumber, Cut::kRightBroadcast}},
               .row_rank = 1},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber},
  };
  return info;
}

}  // namespace

template <typename R>
Request multilabel_margin_loss(const Tensor& input, const Tensor& target, const MultilabelMarginLossOptions<R>& options) {
  using M = v1::MultiLabelMarginLossRequest;
  return Builder(multilabel_margin_loss_info(), options).tensor(M::kInputFieldNumber, input).tensor(M::kTargetFieldNumber, target).build();
}
template Request multilabel_margin_loss(const Tensor& input, const Tensor& target, const MultilabelMarginLossOptions<>&);
template Request multilabel_margin_loss(const Tensor& input, const Tensor& target, const MultilabelMarginLossOptions<None>&);

template <typename R>
Request multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const MultilabelSoftMarginLossOptions<R>& options) {
  using M = v1::MultiLabelSoftMarginLossRequest;
  return Builder(multilabel_soft_margin_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .tensor(M::kWeightFieldNumber, options.weight)
      .build();
}
template Request multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const MultilabelSoftMarginLossOptions<>&);
template Request multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const MultilabelSoftMarginLossOptions<None>&);

}  // namespace lossd::detail
