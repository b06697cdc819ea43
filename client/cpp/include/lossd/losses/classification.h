// SPDX-License-Identifier: Apache-2.0
/// @file
/// NLL, cross entropy, the binary cross entropies, soft margin and multi margin.

#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include "lossd/caller.h"

namespace lossd {

/// Options of nll_loss.
template <typename R = Reduction>
struct NllLossOptions {
  Tensor weight{};                   ///< (C), finite.
  std::int64_t ignore_index = -100;  ///< May be a valid class.
  R reduction{};                     ///< kMean, kSum, or kNone for one value for each row.
  CallOptions call{};
};

/// Options of cross_entropy.
template <typename R = Reduction>
struct CrossEntropyOptions {
  Tensor weight{};                   ///< (C), finite.
  std::int64_t ignore_index = -100;  ///< May be a valid class. Only with class indices.
  R reduction{};                     ///< kMean, kSum, or kNone for one value for each row.
  double label_smoothing = 0.0;      ///< In [0, 1].
  CallOptions call{};
};

/// Options of binary_cross_entropy.
template <typename R = Reduction>
struct BinaryCrossEntropyOptions {
  Tensor weight{};  ///< Broadcasts to input's shape without enlarging it.
  R reduction{};    ///< kMean, kSum, or kNone for one value for each element.
  CallOptions call{};
};

/// Options of binary_cross_entropy_with_logits.
template <typename R = Reduction>
struct BinaryCrossEntropyWithLogitsOptions {
  Tensor weight{};      ///< Broadcasts to input's shape without enlarging it.
  R reduction{};        ///< kMean, kSum, or kNone for one value for each element.
  Tensor pos_weight{};  ///< Broadcasts to input's shape without enlarging it; (C) for inputs of (N, C).
  CallOptions call{};
};

/// Options of soft_margin_loss.
template <typename R = Reduction>
struct SoftMarginLossOptions {
  R reduction{};                  ///< kMean, kSum, or kNone for one value for each element.
  bool allow_any_target = false;  ///< Takes any target, as torch does; by default only 1 and -1.
  CallOptions call{};
};

/// Options of multi_margin_loss.
template <typename R = Reduction>
struct MultiMarginLossOptions {
  std::int64_t p = 1;   ///< 1 or 2.
  double margin = 1.0;  ///< Finite.
  Tensor weight{};      ///< (C), finite.
  R reduction{};        ///< kMean, kSum, or kNone for one value for each row.
  CallOptions call{};
};

namespace detail {

template <typename R>
Request nll_loss(const Tensor& input, const Tensor& target, const NllLossOptions<R>& options);
template <typename R>
Request cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions<R>& options);
template <typename R>
Request binary_cross_entropy(const Tensor& input, const Tensor& target, const BinaryCrossEntropyOptions<R>& options);
template <typename R>
Request binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const BinaryCrossEntropyWithLogitsOptions<R>& options);
template <typename R>
Request soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossOptions<R>& options);
template <typename R>
Request multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossOptions<R>& options);

}  // namespace detail

/// Losses of class scores against one class, or one probability, per element or row.
template <typename Reduced, typename Unreduced>
class ClassificationLosses : public virtual Caller<Reduced, Unreduced> {
 public:
  /// -weight[y] input[y]. The mean divides by the sum of weight[y] over the targets not ignored, and is NaN if all are.
  /// @param input Log-probabilities: (C), (N, C) or (N, C, d1, ..., dK); float.
  /// @param target Class indices in [0, C) or ignore_index: (), (N) or (N, d1, ..., dK); any integer type.
  /// @see torch.nn.functional.nll_loss
  Reduced nll_loss(const Tensor& input, const Tensor& target, const NllLossOptions<>& options = {}) {
    return this->reduced(detail::nll_loss(input, target, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced nll_loss(const Tensor& input, const Tensor& target, const NllLossOptions<N>& options) {
    return this->unreduced(detail::nll_loss(input, target, options));
  }

  /// (1 - s) (-w[y] lp[y]) + s/C sum_c(-w[c] lp[c]) for class indices, -sum_c w[c] t'[c] lp[c] for class probabilities, with lp =
  /// log_softmax(input), s = label_smoothing and t' = (1 - s) target + s/C. The mean divides by the sum of w[y] over the targets not
  /// ignored for indices, by the number of targets for probabilities.
  /// @param input Logits: (C), (N, C) or (N, C, d1, ..., dK); float.
  /// @param target An integer type holds class indices in [0, C) or ignore_index: (), (N) or (N, d1, ..., dK). A float type holds class
  ///     probabilities of the shape of input.
  /// @see torch.nn.functional.cross_entropy
  Reduced cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions<>& options = {}) {
    return this->reduced(detail::cross_entropy(input, target, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions<N>& options) {
    return this->unreduced(detail::cross_entropy(input, target, options));
  }

  /// -weight (t ln x + (1 - t) ln(1 - x)), the logs clamped at -100. The mean divides by the number of elements.
  /// @param input Probabilities in [0, 1], any shape; float.
  /// @param target In [0, 1], the shape of input; any type, cast to input's.
  /// @see torch.nn.functional.binary_cross_entropy
  Reduced binary_cross_entropy(const Tensor& input, const Tensor& target, const BinaryCrossEntropyOptions<>& options = {}) {
    return this->reduced(detail::binary_cross_entropy(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      binary_cross_entropy(const Tensor& input, const Tensor& target, const BinaryCrossEntropyOptions<N>& options) {
    return this->unreduced(detail::binary_cross_entropy(input, target, options));
  }

  /// binary_cross_entropy of sigmoid(input), stably; pos_weight multiplies the positive term. The mean divides by the number of elements.
  /// @param input Logits, any shape; float.
  /// @param target The shape of input; any type, cast to input's.
  /// @see torch.nn.functional.binary_cross_entropy_with_logits
  Reduced binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                           const BinaryCrossEntropyWithLogitsOptions<>& options = {}) {
    return this->reduced(detail::binary_cross_entropy_with_logits(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const BinaryCrossEntropyWithLogitsOptions<N>& options) {
    return this->unreduced(detail::binary_cross_entropy_with_logits(input, target, options));
  }

  /// ln(1 + exp(-target input)), stably. The mean divides by the number of elements.
  /// @param input Any shape; float.
  /// @param target 1 or -1; any type, cast to input's. It broadcasts to the shape of input.
  /// @see torch.nn.functional.soft_margin_loss
  Reduced soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossOptions<>& options = {}) {
    return this->reduced(detail::soft_margin_loss(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      soft_margin_loss(const Tensor& input, const Tensor& target, const SoftMarginLossOptions<N>& options) {
    return this->unreduced(detail::soft_margin_loss(input, target, options));
  }

  /// sum over j != y of weight[y] max(0, margin - input[y] + input[j])^p / C. The mean divides by N.
  /// @param input (C) or (N, C); float.
  /// @param target Class indices in [0, C): () or (N); any integer type.
  /// @see torch.nn.functional.multi_margin_loss
  Reduced multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossOptions<>& options = {}) {
    return this->reduced(detail::multi_margin_loss(input, target, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginLossOptions<N>& options) {
    return this->unreduced(detail::multi_margin_loss(input, target, options));
  }
};

}  // namespace lossd
