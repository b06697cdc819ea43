# SPDX-License-Identifier: Apache-2.0
"""The multi-label losses."""

# fmt: off - the overloads read as a table

from typing import Any, Unpack, overload

from lossd._codec import CallOptions, request
from lossd._losses._base import ArrayLike, ArrayT, Caller, FloatT, No, Reduced, ResultT, Unreduced, Yes
from lossd._tensors import optional, values


class MultiLabelLosses(Caller[FloatT, ArrayT, ResultT]):
    """Losses of class scores against any number of classes per row."""

    @overload
    def multilabel_margin_loss(self, input: ArrayLike, target: ArrayLike, reduction: Reduced = ..., *, return_statistics: No = ...,
                               **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def multilabel_margin_loss(self, input: ArrayLike, target: ArrayLike, *, reduction: Unreduced, return_statistics: No = ...,
                               **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def multilabel_margin_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., *, return_statistics: Yes,
                               **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def multilabel_margin_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., *, return_statistics: No = ...,
                               **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def multilabel_margin_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = "mean", *, return_statistics: bool = False,
                               **options: Unpack[CallOptions]) -> Any:
        """sum over labels j and non-labels i of max(0, 1 - (input[j] - input[i])) / C; the mean divides by N.

        Args:
            input: (C) or (N, C); float.
            target: Class indices in [-1, C), the shape of input; any integer type. The first -1 of a row ends its labels.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE.

        Source: torch.nn.functional.multilabel_margin_loss.
        """
        return self._call(
            request("MultiLabelMarginLoss", reduction, options, input=values(input, "input"), target=values(target, "target")),
            return_statistics,
        )

    @overload
    def multilabel_soft_margin_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., reduction: Reduced = ...,
                                    *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def multilabel_soft_margin_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., *, reduction: Unreduced,
                                    return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def multilabel_soft_margin_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., reduction: str = ..., *,
                                    return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def multilabel_soft_margin_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., reduction: str = ..., *,
                                    return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def multilabel_soft_margin_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, reduction: str = "mean",
                                    *, return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """The mean over C of -weight (t ln sigmoid(x) + (1 - t) ln sigmoid(-x)); the mean divides by the number of rows.

        Args:
            input: Logits (..., C); float.
            target: The shape of input; any type, cast to input's.
            weight: (C), or broadcasts to input's shape without enlarging it.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH.

        Source: torch.nn.functional.multilabel_soft_margin_loss.
        """
        return self._call(
            request("MultiLabelSoftMarginLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    weight=optional(weight, "weight")),
            return_statistics,
        )
