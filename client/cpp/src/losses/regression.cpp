// SPDX-License-Identifier: Apache-2.0

#include "lossd/losses/regression.h"

#include "builder.h"
#include "lossd/v1/evaluation_service.pb.h"

namespace lossd::detail {
namespace {

const LossInfo& l1_loss_info() {
  using M = v1::L1LossRequest;
  static const LossInfo info{
      .rpc = "L1Loss",
      .member = v1::LossCall::kL1LossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}, {M::kWeightFieldNumber, Cut::kRows}}},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber, M::kWeightFieldNumber},
  };
  return info;
}

const LossInfo& mse_loss_info() {
  using M = v1::MseLossRequest;
  static const LossInfo info{
      .rpc = "MseLoss",
      .member = v1::LossCall::kMseLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}, {M::kWeightFieldNumber, Cut::kRows}}},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber, M::kWeightFieldNumber},
  };
  return info;
}

const LossInfo& smooth_l1_loss_info() {
  using M = v1::SmoothL1LossRequest;
  static const LossInfo info{
      .rpc = "SmoothL1Loss",
      .member = v1::LossCall::kSmoothL1LossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber, .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}}},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber},
  };
  return info;
}

const LossInfo& huber_loss_info() {
  using M = v1::HuberLossRequest;
  static const LossInfo info{
      .rpc = "HuberLoss",
      .member = v1::LossCall::kHuberLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}, {M::kWeightFieldNumber, Cut::kRows}}},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber, M::kWeightFieldNumber},
  };
  return info;
}

}  // namespace

template <typename R>
Request l1_loss(const Tensor& input, const Tensor& target, const L1LossOptions<R>& options) {
  using M = v1::L1LossRequest;
  return Builder(l1_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .tensor(M::kWeightFieldNumber, options.weight)
      .build();
}
template Request l1_loss(const Tensor& input, const Tensor& target, const L1LossOptions<>&);
template Request l1_loss(const Tensor& input, const Tensor& target, const L1LossOptions<None>&);

template <typename R>
Request mse_loss(const Tensor& input, const Tensor& target, const MseLossOptions<R>& options) {
  using M = v1::MseLossRequest;
  return Builder(mse_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .tensor(M::kWeightFieldNumber, options.weight)
      .build();
}
template Request mse_loss(const Tensor& input, const Tensor& target, const MseLossOptions<>&);
template Request mse_loss(const Tensor& input, const Tensor& target, const MseLossOptions<None>&);

template <typename R>
Request smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1LossOptions<R>& options) {
  using M = v1::SmoothL1LossRequest;
  return Builder(smooth_l1_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kBetaFieldNumber, options.beta, 1.0)
      .build();
}
template Request smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1LossOptions<>&);
template Request smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1LossOptions<None>&);

template <typename R>
Request huber_loss(const Tensor& input, const Tensor& target, const HuberLossOptions<R>& options) {
  using M = v1::HuberLossRequest;
  return Builder(huber_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kDeltaFieldNumber, options.delta, 1.0)
      .tensor(M::kWeightFieldNumber, options.weight)
      .build();
}
template Request huber_loss(const Tensor& input, const Tensor& target, const HuberLossOptions<>&);
template Request huber_loss(const Tensor& input, const Tensor& target, const HuberLossOptions<None>&);

}  // namespace lossd::detail
