// SPDX-License-Identifier: Apache-2.0
/// @file
/// The multi-label losses.

#pragma once

#include <concepts>
#include <type_traits>

#include "lossd/caller.h"

namespace lossd {

/// Options of multilabel_margin_loss.
template <typename R = Reduction>
struct MultilabelMarginLossOptions {
  R reduction{};  ///< kMean, kSum, or kNone for one value for each row.
  CallOptions call{};
};

/// Options of multilabel_soft_margin_loss.
template <typename R = Reduction>
struct MultilabelSoftMarginLossOptions {
  Tensor weight{};  ///< (C), or broadcasts to input's shape without enlarging it.
  R reduction{};    ///< kMean, kSum, or kNone for one value for each row.
  CallOptions call{};
};

namespace detail {

template <typename R>
Request multilabel_margin_loss(const Tensor& input, const Tensor& target, const MultilabelMarginLossOptions<R>& options);
template <typename R>
Request multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const MultilabelSoftMarginLossOptions<R>& options);

}  // namespace detail

/// Losses of class scores against any number of classes per row.
template <typename Reduced, typename Unreduced>
class MultiLabelLosses : public virtual Caller<Reduced, Unreduced> {
 public:
  /// sum over labels j and non-labels i of max(0, 1 - (input[j] - input[i])) / C. The mean divides by N.
  /// @param input (C) or (N, C); float.
  /// @param target Class indices in [-1, C), the shape of input; any integer type. The first -1 of a row ends its labels.
  /// @see torch.nn.functional.multilabel_margin_loss
  Reduced multilabel_margin_loss(const Tensor& input, const Tensor& target, const MultilabelMarginLossOptions<>& options = {}) {
    return this->reduced(detail::multilabel_margin_loss(input, target, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      multilabel_margin_loss(const Tensor& input, const Tensor& target, const MultilabelMarginLossOptions<N>& options) {
    return this->unreduced(detail::multilabel_margin_loss(input, target, options));
  }

  /// The mean over C of -weight (t ln sigmoid(x) + (1 - t) ln sigmoid(-x)). The mean divides by the number of rows.
  /// @param input Logits (..., C); float.
  /// @param target The shape of input; any type, cast to input's.
  /// @see torch.nn.functional.multilabel_soft_margin_loss
  Reduced multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const MultilabelSoftMarginLossOptions<>& options = {}) {
    return this->reduced(detail::multilabel_soft_margin_loss(input, target, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const MultilabelSoftMarginLossOptions<N>& options) {
    return this->unreduced(detail::multilabel_soft_margin_loss(input, target, options));
  }
};

}  // namespace lossd
