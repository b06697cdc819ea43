# SPDX-License-Identifier: Apache-2.0
"""KL divergence, Poisson and Gaussian negative log-likelihood."""

# fmt: off - the overloads read as a table

from typing import Any, Literal, Unpack, overload

from lossd._codec import CallOptions, request
from lossd._losses._base import ArrayLike, ArrayT, Caller, FloatT, No, Reduced, ResultT, Unreduced, Yes
from lossd._tensors import values


class DistributionLosses(Caller[FloatT, ArrayT, ResultT]):
    """Negative log-likelihoods and divergences of distributions."""

    @overload
    def kl_div(self, input: ArrayLike, target: ArrayLike, reduction: Literal["mean", "sum", "batchmean"] = ..., log_target: bool = ...,
               *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def kl_div(self, input: ArrayLike, target: ArrayLike, *, reduction: Unreduced, log_target: bool = ..., return_statistics: No = ...,
               **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def kl_div(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., log_target: bool = ..., *, return_statistics: Yes,
               **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def kl_div(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., log_target: bool = ..., *, return_statistics: No = ...,
               **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def kl_div(self, input: ArrayLike, target: ArrayLike, reduction: str = "mean", log_target: bool = False, *,
               return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """target (ln target - input), or exp(target) (target - input) with log_target.

        "mean" divides by the number of elements and is not the KL divergence; "batchmean", which is, divides by the first extent.

        Args:
            input: Log-probabilities, any shape; float.
            target: Probabilities, or log-probabilities with log_target; the shape of input.
            reduction: "mean", "sum", "batchmean" or "none" (one value per element).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH.

        Source: torch.nn.functional.kl_div.
        """
        return self._call(
            request("KlDivLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    log_target=log_target),
            return_statistics,
        )

    @overload
    def poisson_nll_loss(self, input: ArrayLike, target: ArrayLike, log_input: bool = ..., full: bool = ..., eps: float = ...,
                         reduction: Reduced = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def poisson_nll_loss(self, input: ArrayLike, target: ArrayLike, log_input: bool = ..., full: bool = ..., eps: float = ..., *,
                         reduction: Unreduced, return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def poisson_nll_loss(self, input: ArrayLike, target: ArrayLike, log_input: bool = ..., full: bool = ..., eps: float = ...,
                         reduction: str = ..., *, return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def poisson_nll_loss(self, input: ArrayLike, target: ArrayLike, log_input: bool = ..., full: bool = ..., eps: float = ...,
                         reduction: str = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def poisson_nll_loss(self, input: ArrayLike, target: ArrayLike, log_input: bool = True, full: bool = False, eps: float = 1e-08,
                         reduction: str = "mean", *, return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """exp(input) - target input, or input - target ln(input + eps) without log_input.

        full adds Stirling's term if target > 1. The mean divides by the number of elements.

        Args:
            input: The log of the rate, or the rate, >= 0, without log_input. Any shape; float.
            target: The shape of input; any type, cast to input's.
            eps: Finite, > 0.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, VALUE_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.poisson_nll_loss.
        """
        return self._call(
            request("PoissonNllLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    log_input=log_input, full=full, eps=eps),
            return_statistics,
        )

    @overload
    def gaussian_nll_loss(self, input: ArrayLike, target: ArrayLike, var: ArrayLike | float, full: bool = ..., eps: float = ...,
                          reduction: Reduced = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def gaussian_nll_loss(self, input: ArrayLike, target: ArrayLike, var: ArrayLike | float, full: bool = ..., eps: float = ..., *,
                          reduction: Unreduced, return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def gaussian_nll_loss(self, input: ArrayLike, target: ArrayLike, var: ArrayLike | float, full: bool = ..., eps: float = ...,
                          reduction: str = ..., *, return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def gaussian_nll_loss(self, input: ArrayLike, target: ArrayLike, var: ArrayLike | float, full: bool = ..., eps: float = ...,
                          reduction: str = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def gaussian_nll_loss(self, input: ArrayLike, target: ArrayLike, var: ArrayLike | float, full: bool = False, eps: float = 1e-06,
                          reduction: str = "mean", *, return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """0.5 (ln v + (input - target)^2 / v) with v = max(var, eps); full adds 0.5 ln(2 pi).

        The mean divides by the number of elements.

        Args:
            input: Any shape; float.
            target: Any type, cast to input's. It broadcasts, if the result has no more elements than the largest argument.
            var: >= 0. A number; or the shape of input, that shape without its last extent, or its rank with exactly one extent of 1.
            eps: Finite, > 0.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, VALUE_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.gaussian_nll_loss.
        """
        scalar = isinstance(var, int | float)
        return self._call(
            request("GaussianNllLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    variance_scalar=float(var) if scalar else None, variance_values=None if scalar else values(var, "var"),
                    full=full, eps=eps),
            return_statistics,
        )
