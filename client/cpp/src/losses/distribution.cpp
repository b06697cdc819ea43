// SPDX-License-Identifier: Apache-2.0

#include "lossd/losses/distribution.h"

#include "builder.h"
#include "lossd/v1/evaluation_service.pb.h"

namespace lossd::detail {
namespace {

const LossInfo& kl_div_info() {
  using M = v1::KlDivLossRequest;
  static const LossInfo info{
      .rpc = "KlDivLoss",
      .member = v1::LossCall::kKlDivLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber, .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}}},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber},
  };
  return info;
}

const LossInfo& poisson_nll_loss_info() {
  using M = v1::PoissonNllLossRequest;
  static const LossInfo info{
      .rpc = "PoissonNllLoss",
      .member = v1::LossCall::kPoissonNllLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber, .fields = {{M::kInputFieldNumber, Cut::kRows}, {M::kTargetFieldNumber, Cut::kRows}}},
      .same_shape = {M::kInputFieldNumber, M::kTargetFieldNumber},
  };
  return info;
}

const LossInfo& gaussian_nll_loss_info() {
  using M = v1::GaussianNllLossRequest;
  static const LossInfo info{
      .rpc = "GaussianNllLoss",
      .member = v1::LossCall::kGaussianNllLossFieldNumber,
      .descriptor = &M::descriptor,
      .rule = {.lead = M::kInputFieldNumber,
               .fields = {{M::kInputFieldNumber, Cut::kRows},
                          {M::kTargetFieldNumber, Cut::kRightBroadcast},
                          {M::kVarianceValuesFieldNumber, Cut::kLeftBroadcast}}},
      .arguments = {{"variance_values", "var"}, {"variance_scalar", "var"}},
  };
  return info;
}

}  // namespace

template <typename R>
Request kl_div(const Tensor& input, const Tensor& target, const KlDivOptions<R>& options) {
  using M = v1::KlDivLossRequest;
  return Builder(kl_div_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kLogTargetFieldNumber, options.log_target, false)
      .build();
}
template Request kl_div(const Tensor& input, const Tensor& target, const KlDivOptions<>&);
template Request kl_div(const Tensor& input, const Tensor& target, const KlDivOptions<None>&);

template <typename R>
Request poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNllLossOptions<R>& options) {
  using M = v1::PoissonNllLossRequest;
  return Builder(poisson_nll_loss_info(), options)
      .tensor(M::kInputFieldNumber, input)
      .tensor(M::kTargetFieldNumber, target)
      .option(M::kLogInputFieldNumber, options.log_input, true)
      .option(M::kFullFieldNumber, options.full, false)
      .option(M::kEpsFieldNumber, options.eps, 1e-8)
      .build();
}
template Request poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNllLossOptions<>&);
template Request poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNllLossOptions<None>&);

template <typename R>
Request gaussian_nll_loss(const Tensor& input, const Tensor& target, const Variance& var, const GaussianNllLossOptions<R>& options) {
  using M = v1::GaussianNllLossRequest;
  auto builder = Builder(gaussian_nll_loss_info(), options)
                     .tensor(M::kInputFieldNumber, input)
                     .tensor(M::kTargetFieldNumber, target)
                     .option(M::kFullFieldNumber, options.full, false)
                     .option(M::kEpsFieldNumber, options.eps, 1e-6);
  const auto* scalar = std::get_if<double>(&var);
  if (scalar != nullptr) return std::move(builder).given(M::kVarianceScalarFieldNumber, *scalar).build();
  return std::move(builder).tensor(M::kVarianceValuesFieldNumber, std::get<Tensor>(var)).build();
}
template Request gaussian_nll_loss(const Tensor& input, const Tensor& target, const Variance& var, const GaussianNllLossOptions<>&);
template Request gaussian_nll_loss(const Tensor& input, const Tensor& target, const Variance& var, const GaussianNllLossOptions<None>&);

}  // namespace lossd::detail
