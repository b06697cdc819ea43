# SPDX-License-Identifier: Apache-2.0
"""NLL, cross entropy, the binary cross entropies, soft margin and multi margin."""

# fmt: off - the overloads read as a table

from typing import Any, Unpack, overload

from lossd._codec import CallOptions, request
from lossd._losses._base import ArrayLike, ArrayT, Caller, FloatT, No, Reduced, ResultT, Unreduced, Yes
from lossd._tensors import optional, values


class ClassificationLosses(Caller[FloatT, ArrayT, ResultT]):
    """Losses of class scores against one class, or one probability, per element or row."""

    @overload
    def nll_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., ignore_index: int = ...,
                 reduction: Reduced = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def nll_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., ignore_index: int = ..., *,
                 reduction: Unreduced, return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def nll_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., ignore_index: int = ...,
                 reduction: str = ..., *, return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def nll_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., ignore_index: int = ...,
                 reduction: str = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def nll_loss(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = -100,
                 reduction: str = "mean", *, return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """-weight[y] input[y]; the mean divides by the sum of weight[y] over the targets not ignored, and is NaN if all are.

        Args:
            input: Log-probabilities: (C), (N, C) or (N, C, d1, ..., dK); float.
            target: Class indices in [0, C) or ignore_index: (), (N) or (N, d1, ..., dK); any integer type.
            weight: (C), finite.
            ignore_index: May be a valid class.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE,
                VALUE_OUT_OF_RANGE.

        Source: torch.nn.functional.nll_loss.
        """
        return self._call(
            request("NllLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    weight=optional(weight, "weight"), ignore_index=ignore_index),
            return_statistics,
        )

    @overload
    def cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., ignore_index: int = ...,
                      reduction: Reduced = ..., label_smoothing: float = ..., *, return_statistics: No = ...,
                      **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., ignore_index: int = ..., *,
                      reduction: Unreduced, label_smoothing: float = ..., return_statistics: No = ..., **options: Unpack[CallOptions]
                      ) -> ArrayT: ...
    @overload
    def cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., ignore_index: int = ...,
                      reduction: str = ..., label_smoothing: float = ..., *, return_statistics: Yes, **options: Unpack[CallOptions]
                      ) -> ResultT: ...
    @overload
    def cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., ignore_index: int = ...,
                      reduction: str = ..., label_smoothing: float = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]
                      ) -> FloatT | ArrayT: ...
    def cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = -100,
                      reduction: str = "mean", label_smoothing: float = 0.0, *, return_statistics: bool = False,
                      **options: Unpack[CallOptions]) -> Any:
        """(1 - s) (-w[y] lp[y]) + s/C sum_c(-w[c] lp[c]) for class indices, -sum_c w[c] t'[c] lp[c] for class probabilities.

        lp = log_softmax(input), s = label_smoothing, t' = (1 - s) target + s/C. The mean divides by the sum of w[y] over the targets
        not ignored for indices, by the number of targets for probabilities.

        Args:
            input: Logits: (C), (N, C) or (N, C, d1, ..., dK); float.
            target: An integer type holds class indices in [0, C) or ignore_index: (), (N) or (N, d1, ..., dK). A float type holds
                class probabilities of the shape of input.
            weight: (C), finite.
            ignore_index: May be a valid class. Only with class indices.
            label_smoothing: In [0, 1].
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE, VALUE_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.cross_entropy.
        """
        targets = values(target, "target")
        indices = not targets.is_float
        return self._call(
            request("CrossEntropyLoss", reduction, options, input=values(input, "input"), weight=optional(weight, "weight"),
                    class_indices=targets if indices else None, class_probabilities=None if indices else targets,
                    ignore_index=ignore_index if indices or ignore_index != -100 else None, label_smoothing=label_smoothing),
            return_statistics,
        )

    @overload
    def binary_cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., reduction: Reduced = ..., *,
                             return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def binary_cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., *, reduction: Unreduced,
                             return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def binary_cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., reduction: str = ..., *,
                             return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def binary_cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., reduction: str = ..., *,
                             return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def binary_cross_entropy(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, reduction: str = "mean", *,
                             return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """-weight (t ln x + (1 - t) ln(1 - x)), the logs clamped at -100; the mean divides by the number of elements.

        Args:
            input: Probabilities in [0, 1], any shape; float.
            target: In [0, 1], the shape of input; any type, cast to input's.
            weight: Broadcasts to input's shape without enlarging it.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, VALUE_OUT_OF_RANGE,
                TARGET_OUT_OF_RANGE.

        Source: torch.nn.functional.binary_cross_entropy.
        """
        return self._call(
            request("BceLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    weight=optional(weight, "weight")),
            return_statistics,
        )

    @overload
    def binary_cross_entropy_with_logits(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ...,
                                         reduction: Reduced = ..., pos_weight: ArrayLike | None = ..., *, return_statistics: No = ...,
                                         **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def binary_cross_entropy_with_logits(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ..., *,
                                         reduction: Unreduced, pos_weight: ArrayLike | None = ..., return_statistics: No = ...,
                                         **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def binary_cross_entropy_with_logits(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ...,
                                         reduction: str = ..., pos_weight: ArrayLike | None = ..., *, return_statistics: Yes,
                                         **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def binary_cross_entropy_with_logits(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = ...,
                                         reduction: str = ..., pos_weight: ArrayLike | None = ..., *, return_statistics: No = ...,
                                         **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def binary_cross_entropy_with_logits(self, input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None,
                                         reduction: str = "mean", pos_weight: ArrayLike | None = None, *,
                                         return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """binary_cross_entropy of sigmoid(input), stably; pos_weight multiplies the positive term.

        The mean divides by the number of elements.

        Args:
            input: Logits, any shape; float.
            target: The shape of input; any type, cast to input's.
            weight: Broadcasts to input's shape without enlarging it.
            pos_weight: Broadcasts to input's shape without enlarging it; (C) for inputs of (N, C).
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH.

        Source: torch.nn.functional.binary_cross_entropy_with_logits.
        """
        return self._call(
            request("BceWithLogitsLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    weight=optional(weight, "weight"), pos_weight=optional(pos_weight, "pos_weight")),
            return_statistics,
        )

    @overload
    def soft_margin_loss(self, input: ArrayLike, target: ArrayLike, reduction: Reduced = ..., *, return_statistics: No = ...,
                         allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def soft_margin_loss(self, input: ArrayLike, target: ArrayLike, *, reduction: Unreduced, return_statistics: No = ...,
                         allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def soft_margin_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., *, return_statistics: Yes,
                         allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def soft_margin_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = ..., *, return_statistics: No = ...,
                         allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def soft_margin_loss(self, input: ArrayLike, target: ArrayLike, reduction: str = "mean", *, return_statistics: bool = False,
                         allow_any_target: bool = False, **options: Unpack[CallOptions]) -> Any:
        """ln(1 + exp(-target input)), stably; the mean divides by the number of elements.

        Args:
            input: Any shape; float.
            target: 1 or -1; any type, cast to input's. It broadcasts to the shape of input.
            allow_any_target: Also compute targets other than 1 and -1, with the same formula, as torch does; by default they are refused.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE.

        Source: torch.nn.functional.soft_margin_loss.
        """
        return self._call(
            request("SoftMarginLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    allow_any_target=allow_any_target),
            return_statistics,
        )

    @overload
    def multi_margin_loss(self, input: ArrayLike, target: ArrayLike, p: int = ..., margin: float = ..., weight: ArrayLike | None = ...,
                          reduction: Reduced = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def multi_margin_loss(self, input: ArrayLike, target: ArrayLike, p: int = ..., margin: float = ..., weight: ArrayLike | None = ...,
                          *, reduction: Unreduced, return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def multi_margin_loss(self, input: ArrayLike, target: ArrayLike, p: int = ..., margin: float = ..., weight: ArrayLike | None = ...,
                          reduction: str = ..., *, return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def multi_margin_loss(self, input: ArrayLike, target: ArrayLike, p: int = ..., margin: float = ..., weight: ArrayLike | None = ...,
                          reduction: str = ..., *, return_statistics: No = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def multi_margin_loss(self, input: ArrayLike, target: ArrayLike, p: int = 1, margin: float = 1.0, weight: ArrayLike | None = None,
                          reduction: str = "mean", *, return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """sum over j != y of weight[y] max(0, margin - input[y] + input[j])^p / C; the mean divides by N.

        Args:
            input: (C) or (N, C); float.
            target: Class indices in [0, C): () or (N); any integer type.
            p: 1 or 2.
            margin: Finite.
            weight: (C), finite.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE, VALUE_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.multi_margin_loss.
        """
        return self._call(
            request("MultiMarginLoss", reduction, options, input=values(input, "input"), target=values(target, "target"), p=p,
                    margin=margin, weight=optional(weight, "weight")),
            return_statistics,
        )
