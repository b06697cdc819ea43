// SPDX-License-Identifier: Apache-2.0
/// @file
/// Losses that hold an output layer: adaptive softmax and linear cross entropy.

#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "lossd/caller.h"

namespace lossd {

/// Options of linear_cross_entropy.
template <typename R = Reduction>
struct LinearCrossEntropyOptions {
  Tensor linear_bias{};                        ///< (C) or (C, d1, ..., dK); float.
  Tensor weight{};                             ///< (C), finite.
  R reduction{};                               ///< kMean, kSum, or kNone for one value for each row.
  std::optional<std::int64_t> ignore_index{};  ///< Unset is -100. Only with class indices.
  double label_smoothing = 0.0;                ///< In [0, 1].
  CallOptions call{};
};

/// Options of adaptive_log_softmax_with_loss.
template <typename R = Reduction>
struct AdaptiveLogSoftmaxWithLossOptions {
  Tensor head_bias{};  ///< (cutoffs[0] + number of tails); the module's head.bias.
  R reduction{};       ///< kMean, kSum, or kNone for one value for each row.
  CallOptions call{};
};

namespace detail {

template <typename R>
Request linear_cross_entropy(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                             const LinearCrossEntropyOptions<R>& options);
template <typename R>
Request adaptive_log_softmax_with_loss(const Tensor& input, const Tensor& target, const Tensor& head_weight,
                                       const std::vector<TailCluster>& tail, const std::vector<std::int64_t>& cutoffs,
                                       const AdaptiveLogSoftmaxWithLossOptions<R>& options);

}  // namespace detail

/// Losses over large vocabularies, computed from features.
template <typename Reduced, typename Unreduced>
class VocabularyLosses : public virtual Caller<Reduced, Unreduced> {
 public:
  /// cross_entropy of input linear_weight^T + linear_bias, without holding all logits in memory at once.
  /// @param input (N, F) or (F); float.
  /// @param linear_weight (C, F), or (C, d1, ..., dK, F) with input of (N, F); float.
  /// @param target As cross_entropy's for logits of (C), (N, C) or (N, C, d1, ..., dK).
  /// @see torch.nn.functional.linear_cross_entropy
  Reduced linear_cross_entropy(const Tensor& input, const Tensor& linear_weight, const Tensor& target,
                               const LinearCrossEntropyOptions<>& options = {}) {
    return this->reduced(detail::linear_cross_entropy(input, linear_weight, target, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced linear_cross_entropy(const Tensor& input, const Tensor& linear_weight,
                                                                      const Tensor& target, const LinearCrossEntropyOptions<N>& options) {
    return this->unreduced(detail::linear_cross_entropy(input, linear_weight, target, options));
  }

  /// -log p(target) of torch.nn.AdaptiveLogSoftmaxWithLoss with these parameters. The mean divides by N. kSum and kNone are extensions:
  /// kNone is minus the module's `output`.
  /// @param input (N, F) or (F); float.
  /// @param target Class indices in [0, n_classes): (N) or (); any integer type.
  /// @param head_weight (cutoffs[0] + number of tails, F); the module's head.weight.
  /// @param tail For each cutoff the parameters of its cluster, innermost first.
  /// @param cutoffs Increasing, >= 1, without n_classes.
  /// @see torch.nn.AdaptiveLogSoftmaxWithLoss
  Reduced adaptive_log_softmax_with_loss(const Tensor& input, const Tensor& target, const Tensor& head_weight,
                                         const std::vector<TailCluster>& tail, const std::vector<std::int64_t>& cutoffs,
                                         const AdaptiveLogSoftmaxWithLossOptions<>& options = {}) {
    return this->reduced(detail::adaptive_log_softmax_with_loss(input, target, head_weight, tail, cutoffs, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      adaptive_log_softmax_with_loss(const Tensor& input, const Tensor& target, const Tensor& head_weight,
                                     const std::vector<TailCluster>& tail, const std::vector<std::int64_t>& cutoffs,
                                     const AdaptiveLogSoftmaxWithLossOptions<N>& options) {
    return this->unreduced(detail::adaptive_log_softmax_with_loss(input, target, head_weight, tail, cutoffs, options));
  }
};

}  // namespace lossd
