// SPDX-License-Identifier: Apache-2.0
/// @file
/// Margin ranking, hinge and cosine embedding, and the triplet losses.

#pragma once

#include <concepts>
#include <optional>
#include <type_traits>

#include "lossd/caller.h"

namespace lossd {

/// Options of margin_ranking_loss.
template <typename R = Reduction>
struct MarginRankingLossOptions {
  double margin = 0.0;            ///< Finite.
  R reduction{};                  ///< kMean, kSum, or kNone for one value for each element.
  bool allow_any_target = false;  ///< Takes any target, as torch does; by default only 1 and -1.
  CallOptions call{};
};

/// Options of hinge_embedding_loss.
template <typename R = Reduction>
struct HingeEmbeddingLossOptions {
  double margin = 1.0;            ///< Finite.
  R reduction{};                  ///< kMean, kSum, or kNone for one value for each element.
  bool allow_any_target = false;  ///< Takes any target, as torch does; by default only 1 and -1.
  CallOptions call{};
};

/// Options of cosine_embedding_loss.
template <typename R = Reduction>
struct CosineEmbeddingLossOptions {
  double margin = 0.0;            ///< Finite.
  R reduction{};                  ///< kMean, kSum, or kNone for one value for each row.
  bool allow_any_target = false;  ///< Takes any target, with a loss of 0, as torch does; by default only 1 and -1.
  CallOptions call{};
};

/// Options of triplet_margin_loss.
template <typename R = Reduction>
struct TripletMarginLossOptions {
  double margin = 1.0;  ///< Finite, > 0.
  double p = 2.0;       ///< > 0; infinity is allowed.
  double eps = 1e-6;    ///< Finite, >= 0.
  bool swap = false;    ///< The distance swap.
  R reduction{};        ///< kMean, kSum, or kNone for one value for each row.
  CallOptions call{};
};

/// Options of triplet_margin_with_distance_loss.
template <typename R = Reduction>
struct TripletMarginWithDistanceLossOptions {
  std::optional<Distance> distance_function{};  ///< PairwiseDistance with its defaults if unset.
  double margin = 1.0;                          ///< Finite, > 0.
  bool swap = false;                            ///< As in triplet_margin_loss.
  R reduction{};                                ///< kMean, kSum, or kNone for one value for each row.
  CallOptions call{};
};

namespace detail {

template <typename R>
Request margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, const MarginRankingLossOptions<R>& options);
template <typename R>
Request hinge_embedding_loss(const Tensor& input, const Tensor& target, const HingeEmbeddingLossOptions<R>& options);
template <typename R>
Request cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                              const CosineEmbeddingLossOptions<R>& options);
template <typename R>
Request triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                            const TripletMarginLossOptions<R>& options);
template <typename R>
Request triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                          const TripletMarginWithDistanceLossOptions<R>& options);

}  // namespace detail

/// Losses of distances between embeddings, and of rankings.
template <typename Reduced, typename Unreduced>
class EmbeddingLosses : public virtual Caller<Reduced, Unreduced> {
 public:
  /// max(0, -target (input1 - input2) + margin). The mean divides by the number of elements.
  /// @param input1 Any shape; float.
  /// @param input2 Of input1's rank; float. Extents of 1 broadcast.
  /// @param target 1 or -1, of input1's rank, broadcast alike; any type, cast to the inputs'.
  /// @see torch.nn.functional.margin_ranking_loss
  Reduced margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                              const MarginRankingLossOptions<>& options = {}) {
    return this->reduced(detail::margin_ranking_loss(input1, input2, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, const MarginRankingLossOptions<N>& options) {
    return this->unreduced(detail::margin_ranking_loss(input1, input2, target, options));
  }

  /// input if target is 1, max(0, margin - input) if it is -1. The mean divides by the number of elements.
  /// @param input Any shape; float.
  /// @param target 1 or -1; any type, cast to input's. It and input broadcast.
  /// @see torch.nn.functional.hinge_embedding_loss
  Reduced hinge_embedding_loss(const Tensor& input, const Tensor& target, const HingeEmbeddingLossOptions<>& options = {}) {
    return this->reduced(detail::hinge_embedding_loss(input, target, options));
  }
  /// One value for each element, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      hinge_embedding_loss(const Tensor& input, const Tensor& target, const HingeEmbeddingLossOptions<N>& options) {
    return this->unreduced(detail::hinge_embedding_loss(input, target, options));
  }

  /// 1 - cos(input1, input2) if target is 1, max(0, cos - margin) if it is -1. The mean divides by N.
  /// @param input1 (N, D) or (D); float.
  /// @param input2 The shape of input1; float.
  /// @param target 1 or -1: (N) or (); any type, cast to the inputs'.
  /// @see torch.nn.functional.cosine_embedding_loss
  Reduced cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                const CosineEmbeddingLossOptions<>& options = {}) {
    return this->reduced(detail::cosine_embedding_loss(input1, input2, target, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target,
                                                                       const CosineEmbeddingLossOptions<N>& options) {
    return this->unreduced(detail::cosine_embedding_loss(input1, input2, target, options));
  }

  /// max(0, d(a, p) - d(a, n) + margin) with d the p-norm of u - v + eps; swap replaces d(a, n) by min(d(a, n), d(p, n)). The mean divides
  /// by the number of rows.
  /// @param anchor (..., D); float.
  /// @param positive The shape of anchor; float.
  /// @param negative The shape of anchor; float.
  /// @see torch.nn.functional.triplet_margin_loss
  Reduced triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                              const TripletMarginLossOptions<>& options = {}) {
    return this->reduced(detail::triplet_margin_loss(anchor, positive, negative, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                                                     const TripletMarginLossOptions<N>& options) {
    return this->unreduced(detail::triplet_margin_loss(anchor, positive, negative, options));
  }

  /// triplet_margin_loss with another distance. The mean divides by the number of rows.
  /// @param anchor (..., D); float.
  /// @param positive The shape of anchor; float.
  /// @param negative The shape of anchor; float.
  /// @see torch.nn.functional.triplet_margin_with_distance_loss
  Reduced triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                            const TripletMarginWithDistanceLossOptions<>& options = {}) {
    return this->reduced(detail::triplet_margin_with_distance_loss(anchor, positive, negative, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      triplet_margin_with_distance_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                                        const TripletMarginWithDistanceLossOptions<N>& options) {
    return this->unreduced(detail::triplet_margin_with_distance_loss(anchor, positive, negative, options));
  }
};

}  // namespace lossd
