// SPDX-License-Identifier: Apache-2.0
/// @file
/// CTC.

#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "lossd/caller.h"

namespace lossd {

/// Options of ctc_loss.
template <typename R = Reduction>
struct CtcLossOptions {
  std::int64_t blank = 0;      ///< In [0, C).
  R reduction{};               ///< kMean, kSum, or kNone for one value for each row.
  bool zero_infinity = false;  ///< Infinite losses, of inputs too short for their targets, become zero and count as ignored.
  CallOptions call{};
};

namespace detail {

template <typename R>
Request ctc_loss(const Tensor& log_probs, const Tensor& targets, const std::vector<std::int64_t>& input_lengths,
                 const std::vector<std::int64_t>& target_lengths, const CtcLossOptions<R>& options);

}  // namespace detail

/// Losses of scores over time against sequences of labels.
template <typename Reduced, typename Unreduced>
class SequenceLosses : public virtual Caller<Reduced, Unreduced> {
 public:
  /// -ln p(targets | log_probs) under connectionist temporal classification. The mean is the mean over N of loss / max(target_length, 1).
  /// @param log_probs Log-probabilities: (T, N, C) or (T, C); float.
  /// @param targets Class indices in [0, C) without blank, any integer type: (N, S), or (S) with log_probs of (T, C); or concatenated, (sum
  ///     of target_lengths).
  /// @param input_lengths N lengths in [0, T]; one with log_probs of (T, C).
  /// @param target_lengths N lengths in [0, S]; one with log_probs of (T, C).
  /// @see torch.nn.functional.ctc_loss
  Reduced ctc_loss(const Tensor& log_probs, const Tensor& targets, const std::vector<std::int64_t>& input_lengths,
                   const std::vector<std::int64_t>& target_lengths, const CtcLossOptions<>& options = {}) {
    return this->reduced(detail::ctc_loss(log_probs, targets, input_lengths, target_lengths, options));
  }
  /// One value for each row, for `.reduction = kNone`.
  template <std::same_as<None> N = None>
  requires(!std::is_void_v<Unreduced>) Unreduced
      ctc_loss(const Tensor& log_probs, const Tensor& targets, const std::vector<std::int64_t>& input_lengths,
               const std::vector<std::int64_t>& target_lengths, const CtcLossOptions<N>& options) {
    return this->unreduced(detail::ctc_loss(log_probs, targets, input_lengths, target_lengths, options));
  }
};

}  // namespace lossd
