// SPDX-License-Identifier: Apache-2.0
/// @file
/// KL divergence, Poisson and Gaussian negative log-likelihood.

#pragma once

#include <concepts>
#include <type_traits>
#include <variant>

#include "lossd/caller.h"

namespace lossd {

/// One variance for all elements, or a tensor of variances.
using Variance = std::variant<double, Tensor>;

/// Options of kl_div.
template <typename R = KlReduction>
struct KlDivOptions {
  R reduction{};            ///< A KlReduction, or kNone for one value for each element.
  bool log_target = false;  ///< target holds log-probabilities.
  CallOptions call{};
};

/// Options of poisson_nll_loss.
template <typename R = Reduction>
struct PoissonNllLossOptions {
  bool log_input = true;  ///< input is the log of the rate.
  bool full = false;      ///< Adds Stirling's term if target > 1.
  double eps = 1e-8;      ///< Finite, > 0. Used without log_input.
  R reduction{};          ///< kMean, kSum, or kNone for one value for each element.
  CallOptions call{};
};

/// Options of gaussian_nll_loss.
template <typename R = Reduction>
struct GaussianNllLossOptions {
  bool full = false;  ///< Adds 0.5 ln(2 pi).
  double eps = 1e-6;  ///< Finite, > 0.
  R reduction{};      ///< kMean, kSum, or kNone for one value for each element.
  CallOptions call{};
};

namespace detail {

template <typename R>
Request kl_div(const Tensor& input, const Tensor& target, const KlDivOptions<R>& options);
template <typename R>
Request poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNllLossOptions<R>& options);
template <typename R>
Request gaussian_nll_loss(const Tensor& input, const Tensor& target, const Variance& var, const GaussianNllLossOptions<R>& options);

}  // namespace detail

/// Negative log-likelihoods and divergences of distributions.
template <typename Reduced, typename Unreduced>
class DistributionLosses : public virtual Caller<Reduced, Unreduced> {
 public:
  /// target (ln target - input), or exp(target) (target - input) with log_target. kMean divides by the number of elements and is not the KL
  /// divergence; kBatchMean, which is, divides by the first extent.
  /// @param input Log-probabilities, any shape; float.
  /// @param target Probabilities, or log-probabilities with log_target; the shape of input.
  /// @see torch.nn.functional.kl_div
  Reduced kl_div(const Tensor& input, const Tensor& target, const KlDivOptions<>& options = {}) {
    return this->reduced(detail::kl_div(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced kl_div(const Tensor& input, const Tensor& target, const KlDivOptions<N>& options) {
    return this->unreduced(detail::kl_div(input, target, options));
  }

  /// exp(input) - target input, or input - target ln(input + eps) without log_input. The mean divides by the number of elements.
  /// @param input The log of the rate, or the rate, >= 0, without log_input. Any shape; float.
  /// @param target The shape of input; any type, cast to input's.
  /// @see torch.nn.functional.poisson_nll_loss
  Reduced poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNllLossOptions<>& options = {}) {
    return this->reduced(detail::poisson_nll_loss(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonNllLossOptions<N>& options) {
    return this->unreduced(detail::poisson_nll_loss(input, target, options));
  }

  /// 0.5 (ln v + (input - target)^2 / v) with v = max(var, eps). The mean divides by the number of elements.
  /// @param input Any shape; float.
  /// @param target Any type, cast to input's. It broadcasts, if the result has no more elements than the largest argument.
  /// @param var >= 0. A number; or the shape of input, that shape without its last extent, or its rank with exactly one extent of 1.
  /// @see torch.nn.functional.gaussian_nll_loss
  Reduced gaussian_nll_loss(const Tensor& input, const Tensor& target, const Variance& var, const GaussianNllLossOptions<>& options = {}) {
    return this->reduced(detail::gaussian_nll_loss(input, target, var, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      gaussian_nll_loss(const Tensor& input, const Tensor& target, const Variance& var, const GaussianNllLossOptions<N>& options) {
    return this->unreduced(detail::gaussian_nll_loss(input, target, var, options));
  }
};

}  // namespace lossd
