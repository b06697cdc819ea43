# SPDX-License-Identifier: Apache-2.0
"""Losses that hold an output layer: adaptive softmax and linear cross entropy."""

# fmt: off - the overloads read as a table

from collections.abc import Sequence
from typing import Any, Unpack, overload

from lossd._codec import CallOptions, request
from lossd._losses._base import ArrayLike, ArrayT, Caller, FloatT, No, Reduced, ResultT, Unreduced, Yes
from lossd._tensors import optional, values


class VocabularyLosses(Caller[FloatT, ArrayT, ResultT]):
    """Losses over large vocabularies, computed from features."""

    @overload
    def linear_cross_entropy(self, input: ArrayLike, linear_weight: ArrayLike, target: ArrayLike, *,
                             linear_bias: ArrayLike | None = ..., weight: ArrayLike | None = ..., reduction: Reduced = ...,
                             ignore_index: int | None = ..., label_smoothing: float = ..., return_statistics: No = ...,
                             **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def linear_cross_entropy(self, input: ArrayLike, linear_weight: ArrayLike, target: ArrayLike, *,
                             linear_bias: ArrayLike | None = ..., weight: ArrayLike | None = ..., reduction: Unreduced,
                             ignore_index: int | None = ..., label_smoothing: float = ..., return_statistics: No = ...,
                             **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def linear_cross_entropy(self, input: ArrayLike, linear_weight: ArrayLike, target: ArrayLike, *,
                             linear_bias: ArrayLike | None = ..., weight: ArrayLike | None = ..., reduction: str = ...,
                             ignore_index: int | None = ..., label_smoothing: float = ..., return_statistics: Yes,
                             **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def linear_cross_entropy(self, input: ArrayLike, linear_weight: ArrayLike, target: ArrayLike, *,
                             linear_bias: ArrayLike | None = ..., weight: ArrayLike | None = ..., reduction: str = ...,
                             ignore_index: int | None = ..., label_smoothing: float = ..., return_statistics: No = ...,
                             **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def linear_cross_entropy(self, input: ArrayLike, linear_weight: ArrayLike, target: ArrayLike, *,
                             linear_bias: ArrayLike | None = None, weight: ArrayLike | None = None, reduction: str = "mean",
                             ignore_index: int | None = None, label_smoothing: float = 0.0, return_statistics: bool = False,
                             **options: Unpack[CallOptions]) -> Any:
        """cross_entropy of input linear_weight^T + linear_bias, without holding all logits in memory at once.

        Args:
            input: (N, F) or (F); float.
            linear_weight: (C, F), or (C, d1, ..., dK, F) with input of (N, F); float.
            target: As cross_entropy's for logits of (C), (N, C) or (N, C, d1, ..., dK).
            linear_bias: (C) or (C, d1, ..., dK); float.
            weight: (C), finite.
            ignore_index: None is -100. Only with class indices.
            label_smoothing: In [0, 1].
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE, VALUE_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.linear_cross_entropy.
        """
        targets = values(target, "target")
        indices = not targets.is_float
        return self._call(
            request("LinearCrossEntropyLoss", reduction, options, input=values(input, "input"),
                    linear_weight=values(linear_weight, "linear_weight"), linear_bias=optional(linear_bias, "linear_bias"),
                    class_indices=targets if indices else None, class_probabilities=None if indices else targets,
                    weight=optional(weight, "weight"), ignore_index=ignore_index, label_smoothing=label_smoothing),
            return_statistics,
        )

    @overload
    def adaptive_log_softmax_with_loss(self, input: ArrayLike, target: ArrayLike, *, head_weight: ArrayLike,
                                       tail: Sequence[tuple[ArrayLike, ArrayLike]], cutoffs: Sequence[int],
                                       head_bias: ArrayLike | None = ..., reduction: Reduced = ..., return_statistics: No = ...,
                                       **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def adaptive_log_softmax_with_loss(self, input: ArrayLike, target: ArrayLike, *, head_weight: ArrayLike,
                                       tail: Sequence[tuple[ArrayLike, ArrayLike]], cutoffs: Sequence[int],
                                       head_bias: ArrayLike | None = ..., reduction: Unreduced, return_statistics: No = ...,
                                       **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def adaptive_log_softmax_with_loss(self, input: ArrayLike, target: ArrayLike, *, head_weight: ArrayLike,
                                       tail: Sequence[tuple[ArrayLike, ArrayLike]], cutoffs: Sequence[int],
                                       head_bias: ArrayLike | None = ..., reduction: str = ..., return_statistics: Yes,
                                       **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def adaptive_log_softmax_with_loss(self, input: ArrayLike, target: ArrayLike, *, head_weight: ArrayLike,
                                       tail: Sequence[tuple[ArrayLike, ArrayLike]], cutoffs: Sequence[int],
                                       head_bias: ArrayLike | None = ..., reduction: str = ..., return_statistics: No = ...,
                                       **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def adaptive_log_softmax_with_loss(self, input: ArrayLike, target: ArrayLike, *, head_weight: ArrayLike,
                                       tail: Sequence[tuple[ArrayLike, ArrayLike]], cutoffs: Sequence[int],
                                       head_bias: ArrayLike | None = None, reduction: str = "mean", return_statistics: bool = False,
                                       **options: Unpack[CallOptions]) -> Any:
        """-log p(target) of torch.nn.AdaptiveLogSoftmaxWithLoss with these parameters; the mean divides by N.

        "sum" and "none" are extensions: "none" is minus the module's `output`.

        Args:
            input: (N, F) or (F); float.
            target: Class indices in [0, n_classes): (N) or (); any integer type.
            head_weight: (cutoffs[0] + number of tails, F); the module's head.weight.
            tail: For each cutoff the module's (tail.i.0.weight, tail.i.1.weight): (h, F) and (classes of the cluster, h).
            cutoffs: Increasing, >= 1, without n_classes.
            head_bias: (cutoffs[0] + number of tails); the module's head.bias.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.AdaptiveLogSoftmaxWithLoss.
        """
        clusters = [
            {"projection": values(projection, f"tail[{i}].projection"), "output": values(output, f"tail[{i}].output")}
            for i, (projection, output) in enumerate(tail)
        ]
        return self._call(
            request("AdaptiveLogSoftmaxWithLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    head_weight=values(head_weight, "head_weight"), head_bias=optional(head_bias, "head_bias"),
                    tail=clusters, cutoffs=[int(cutoff) for cutoff in cutoffs]),
            return_statistics,
        )
