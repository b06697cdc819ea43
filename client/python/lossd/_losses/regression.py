# SPDX-License-Identifier: Apache-2.0
"""L1, MSE, smooth L1 and Huber."""

# fmt: off - the overloads read as a table

from typing import Any, Unpack, overload

from lossd._codec import CallOptions, request
from lossd._losses._base import ArrayLike, ArrayT, Caller, FloatT, No, Reduced, ResultT, Unreduced, Yes
from lossd._tensors import optional, values


class RegressionLosses(Caller[FloatT, ArrayT, ResultT]):
    """Element-wise distances between an input and a target of one shape."""

    @overload
    def l1_loss(self, input: ArrayLike, target: ArrayLike, reduction: Reduced = ..., weight: ArrayLike | None = ..., *,
                return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def l1_loss(self, input: ArrayLike, target: ArrayLike, *, reduction: Unreduced, weight: ArrayLike | None = ...,
                return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def l1_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., weight: ArrayLike | None = ..., *,
                return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def l1_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., weight: ArrayLike | None = ..., *,
                return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def l1_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = "mean", weight: ArrayLike | None = None, *,
                return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """|input - target|, times weight; the mean divides by the number of elements, or by sum(weight).

        Args:
            input: Any shape; float.
            target: The shape of input; any type, cast to input's.
            weight: The shape of input.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH.

        Source: torch.nn.functional.l1_loss.
        """
        return self._call(
            request("L1Loss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    weight=optional(weight, "weight")),
            return_statistics,
        )

    @overload
    def mse_loss(self, input: ArrayLike, target: ArrayLike, reduction: Reduced = ..., weight: ArrayLike | None = ..., *,
                 return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def mse_loss(self, input: ArrayLike, target: ArrayLike, *, reduction: Unreduced, weight: ArrayLike | None = ...,
                 return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def mse_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., weight: ArrayLike | None = ..., *,
                 return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def mse_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., weight: ArrayLike | None = ..., *,
                 return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def mse_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = "mean", weight: ArrayLike | None = None, *,
                 return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """(input - target)^2, times weight; the mean divides by the number of elements, or by sum(weight).

        Args:
            input: Any shape; float.
            target: The shape of input; any type, cast to input's.
            weight: The shape of input.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH.

        Source: torch.nn.functional.mse_loss.
        """
        return self._call(
            request("MseLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    weight=optional(weight, "weight")),
            return_statistics,
        )

    @overload
    def smooth_l1_loss(self, input: ArrayLike, target: ArrayLike, reduction: Reduced = ..., beta: float = ..., *,
                       return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def smooth_l1_loss(self, input: ArrayLike, target: ArrayLike, *, reduction: Unreduced, beta: float = ...,
                       return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def smooth_l1_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., beta: float = ..., *, return_statistics: Yes,
                       **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def smooth_l1_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., beta: float = ..., *, return_statistics: No = ...,
                       **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def smooth_l1_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = "mean", beta: float = 1.0, *,
                       return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """0.5 d^2 / beta if d = |input - target| < beta, else d - 0.5 beta; the mean divides by the number of elements.

        Args:
            input: Any shape; float.
            target: The shape of input; any type, cast to input's.
            beta: Finite, >= 0; 0 makes it the L1 loss.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.smooth_l1_loss.
        """
        return self._call(
            request("SmoothL1Loss", reduction, options, input=values(input, "input"), target=values(target, "target"), beta=beta),
            return_statistics,
        )

    @overload
    def huber_loss(self, input: ArrayLike, target: ArrayLike, reduction: Reduced = ..., delta: float = ...,
                   weight: ArrayLike | None = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def huber_loss(self, input: ArrayLike, target: ArrayLike, *, reduction: Unreduced, delta: float = ...,
                   weight: ArrayLike | None = ..., return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def huber_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., delta: float = ..., weight: ArrayLike | None = ...,
                   *, return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def huber_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., delta: float = ..., weight: ArrayLike | None = ...,
                   *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def huber_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = "mean", delta: float = 1.0,
                   weight: ArrayLike | None = None, *, return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """0.5 d^2 if d = |input - target| <= delta, else delta (d - 0.5 delta), times weight.

        The mean divides by the number of elements, even with a weight.

        Args:
            input: Any shape; float.
            target: The shape of input; any type, cast to input's.
            delta: > 0; infinity is allowed.
            weight: The shape of input.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.huber_loss.
        """
        return self._call(
            request("HuberLoss", reduction, options, input=values(input, "input"), target=values(target, "target"), delta=delta,
                    weight=optional(weight, "weight")),
            return_statistics,
        )
