// SPDX-License-Identifier: Apache-2.0
/// @file
/// L1, MSE, smooth L1 and Huber.

#pragma once

#include <concepts>
#include <type_traits>

#include "lossd/caller.h"

namespace lossd {

/// Options of l1_loss.
template <typename R = Reduction>
struct L1LossOptions {
  R reduction{};    ///< kMean, kSum, or kNone for one value for each element.
  Tensor weight{};  ///< The shape of input.
  CallOptions call{};
};

/// Options of mse_loss.
template <typename R = Reduction>
struct MseLossOptions {
  R reduction{};    ///< kMean, kSum, or kNone for one value for each element.
  Tensor weight{};  ///< The shape of input.
  CallOptions call{};
};

/// Options of smooth_l1_loss.
template <typename R = Reduction>
struct SmoothL1LossOptions {
  R reduction{};      ///< kMean, kSum, or kNone for one value for each element.
  double beta = 1.0;  ///< Finite, >= 0; 0 makes it the L1 loss.
  CallOptions call{};
};

/// Options of huber_loss.
template <typename R = Reduction>
struct HuberLossOptions {
  R reduction{};       ///< kMean, kSum, or kNone for one value for each element.
  double delta = 1.0;  ///< > 0; infinity is allowed.
  Tensor weight{};     ///< The shape of input.
  CallOptions call{};
};

namespace detail {

template <typename R>
Request l1_loss(const Tensor& input, const Tensor& target, const L1LossOptions<R>& options);
template <typename R>
Request mse_loss(const Tensor& input, const Tensor& target, const MseLossOptions<R>& options);
template <typename R>
Request smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1LossOptions<R>& options);
template <typename R>
Request huber_loss(const Tensor& input, const Tensor& target, const HuberLossOptions<R>& options);

}  // namespace detail

/// Element-wise distances between an input and a target of one shape.
template <typename Reduced, typename Unreduced>
class RegressionLosses : public virtual Caller<Reduced, Unreduced> {
 public:
  /// |input - target|, times weight. The mean divides by the number of elements, or by sum(weight).
  /// @param input Any shape; float.
  /// @param target The shape of input; any type, cast to input's.
  /// @see torch.nn.functional.l1_loss
  Reduced l1_loss(const Tensor& input, const Tensor& target, const L1LossOptions<>& options = {}) {
    return this->reduced(detail::l1_loss(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced l1_loss(const Tensor& input, const Tensor& target, const L1LossOptions<N>& options) {
    return this->unreduced(detail::l1_loss(input, target, options));
  }

  /// (input - target)^2, times weight. The mean divides by the number of elements, or by sum(weight).
  /// @param input Any shape; float.
  /// @param target The shape of input; any type, cast to input's.
  /// @see torch.nn.functional.mse_loss
  Reduced mse_loss(const Tensor& input, const Tensor& target, const MseLossOptions<>& options = {}) {
    return this->reduced(detail::mse_loss(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced mse_loss(const Tensor& input, const Tensor& target, const MseLossOptions<N>& options) {
    return this->unreduced(detail::mse_loss(input, target, options));
  }

  /// 0.5 d^2 / beta if d = |input - target| < beta, else d - 0.5 beta. The mean divides by the number of elements.
  /// @param input Any shape; float.
  /// @param target The shape of input; any type, cast to input's.
  /// @see torch.nn.functional.smooth_l1_loss
  Reduced smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1LossOptions<>& options = {}) {
    return this->reduced(detail::smooth_l1_loss(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1LossOptions<N>& options) {
    return this->unreduced(detail::smooth_l1_loss(input, target, options));
  }

  /// 0.5 d^2 if d = |input - target| <= delta, else delta (d - 0.5 delta), times weight. The mean divides by the number of elements, even
  /// with a weight.
  /// @param input Any shape; float.
  /// @param target The shape of input; any type, cast to input's.
  /// @see torch.nn.functional.huber_loss
  Reduced huber_loss(const Tensor& input, const Tensor& target, const HuberLossOptions<>& options = {}) {
    return this->reduced(detail::huber_loss(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced huber_loss(const Tensor& input, const Tensor& target, const HuberLossOptions<N>& options) {
    return this->unreduced(detail::huber_loss(input, target, options));
  }
};

}  // namespace lossd
