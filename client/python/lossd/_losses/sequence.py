# SPDX-License-Identifier: Apache-2.0
"""CTC."""

# fmt: off - the overloads read as a table

from typing import Any, Unpack, overload

from lossd._codec import CallOptions, request
from lossd._losses._base import ArrayLike, ArrayT, Caller, FloatT, No, Reduced, ResultT, Unreduced, Yes
from lossd._tensors import lengths, values


class SequenceLosses(Caller[FloatT, ArrayT, ResultT]):
    """Losses of scores over time against sequences of labels."""

    @overload
    def ctc_loss(self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike, blank: int = ...,
                 reduction: Reduced = ..., zero_infinity: bool = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]
                 ) -> FloatT: ...
    @overload
    def ctc_loss(self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike, blank: int = ...,
                 *, reduction: Unreduced, zero_infinity: bool = ..., return_statistics: No = ..., **options: Unpack[CallOptions]
                 ) -> ArrayT: ...
    @overload
    def ctc_loss(self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike, blank: int = ...,
                 reduction: str = ..., zero_infinity: bool = ..., *, return_statistics: Yes, **options: Unpack[CallOptions]
                 ) -> ResultT: ...
    @overload
    def ctc_loss(self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike, blank: int = ...,
                 reduction: str = ..., zero_infinity: bool = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]
                 ) -> FloatT | ArrayT: ...
    def ctc_loss(self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: ArrayLike, target_lengths: ArrayLike, blank: int = 0,
                 reduction: str = "mean", zero_infinity: bool = False, *, return_statistics: bool = False,
                 **options: Unpack[CallOptions]) -> Any:
        """-ln p(targets | log_probs) under connectionist temporal classification.

        The mean is the mean over N of loss / max(target_length, 1).

        Args:
            log_probs: Log-probabilities: (T, N, C) or (T, C); float.
            targets: Class indices in [0, C) without blank, any integer type: (N, S), or (S) with log_probs of (T, C); or
                concatenated, (sum of target_lengths).
            input_lengths: N lengths in [0, T]; one, or a number, with log_probs of (T, C).
            target_lengths: N lengths in [0, S]; one, or a number, with log_probs of (T, C).
            blank: In [0, C).
            zero_infinity: Infinite losses, of inputs too short for their targets, become zero and count as ignored.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE, VALUE_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.ctc_loss.
        """
        scores, labels = values(log_probs, "log_probs"), values(targets, "targets")
        padded = labels.array.ndim == 2 or scores.array.ndim == 2
        return self._call(
            request("CtcLoss", reduction, options, log_probs=scores,
                    padded_targets=labels if padded else None, concatenated_targets=None if padded else labels,
                    input_lengths=lengths(input_lengths, "input_lengths"), target_lengths=lengths(target_lengths, "target_lengths"),
                    blank=blank, zero_infinity=zero_infinity),
            return_statistics,
        )
