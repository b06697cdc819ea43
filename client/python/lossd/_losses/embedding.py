# SPDX-License-Identifier: Apache-2.0
"""Margin ranking, hinge, cosine and triplet losses."""

# fmt: off - the overloads read as a table

from typing import Any, Unpack, overload

from lossd._codec import CallOptions, request
from lossd._distances import DistanceFunction, distance_of
from lossd._losses._base import ArrayLike, ArrayT, Caller, FloatT, No, Reduced, ResultT, Unreduced, Yes
from lossd._tensors import values


class EmbeddingLosses(Caller[FloatT, ArrayT, ResultT]):
    """Distances and similarities of embeddings."""

    @overload
    def margin_ranking_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = ...,
                            reduction: Reduced = ..., *, return_statistics: No = ...,
                            allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def margin_ranking_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = ..., *, reduction: Unreduced,
                            return_statistics: No = ...,
                            allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def margin_ranking_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = ..., reduction: str = ..., *,
                            return_statistics: Yes,
                            allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def margin_ranking_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = ..., reduction: str = ..., *,
                            return_statistics: No = ...,
                            allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def margin_ranking_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = 0, reduction: str = "mean",
                            *, return_statistics: bool = False,
                            allow_any_target: bool = False, **options: Unpack[CallOptions]) -> Any:
        """max(0, -target (input1 - input2) + margin); the mean divides by the number of elements.

        Args:
            input1: Any shape; float.
            input2: Of input1's rank; float. It broadcasts, if the result has no more elements than the largest argument.
            target: 1 or -1, of input1's rank; any type, cast to the inputs'. It broadcasts likewise.
            margin: Finite.
            allow_any_target: Also compute targets other than 1 and -1, with the same formula, as torch does; by default they are refused.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.margin_ranking_loss.
        """
        return self._call(
            request("MarginRankingLoss", reduction, options, input1=values(input1, "input1"), input2=values(input2, "input2"),
                    target=values(target, "target"), margin=margin, allow_any_target=allow_any_target),
            return_statistics,
        )

    @overload
    def hinge_embedding_loss(self, input: ArrayLike, target: ArrayLike, margin: float = ..., reduction: Reduced = ..., *,
                             return_statistics: No = ...,
                             allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def hinge_embedding_loss(self, input: ArrayLike, target: ArrayLike, margin: float = ..., *, reduction: Unreduced,
                             return_statistics: No = ...,
                             allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def hinge_embedding_loss(self, input: ArrayLike, target: ArrayLike, margin: float = ..., reduction: str = ..., *,
                             return_statistics: Yes,
                             allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def hinge_embedding_loss(self, input: ArrayLike, target: ArrayLike, margin: float = ..., reduction: str = ..., *,
                             return_statistics: No = ...,
                             allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def hinge_embedding_loss(self, input: ArrayLike, target: ArrayLike, margin: float = 1.0, reduction: str = "mean", *,
                             return_statistics: bool = False,
                             allow_any_target: bool = False, **options: Unpack[CallOptions]) -> Any:
        """input if target is 1, max(0, margin - input) if it is -1; the mean divides by the number of elements.

        Args:
            input: Any shape; float.
            target: 1 or -1; any type, cast to input's. It broadcasts, if the result has no more elements than the largest argument.
            margin: Finite.
            allow_any_target: Also compute targets other than 1 and -1, as torch does: the sum of both formulas. By default refused.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.hinge_embedding_loss.
        """
        return self._call(
            request("HingeEmbeddingLoss", reduction, options, input=values(input, "input"), target=values(target, "target"),
                    margin=margin, allow_any_target=allow_any_target),
            return_statistics,
        )

    @overload
    def cosine_embedding_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = ...,
                              reduction: Reduced = ..., *, return_statistics: No = ...,
                              allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def cosine_embedding_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = ..., *,
                              reduction: Unreduced, return_statistics: No = ...,
                              allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def cosine_embedding_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = ..., reduction: str = ...,
                              *, return_statistics: Yes,
                              allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def cosine_embedding_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = ..., reduction: str = ...,
                              *, return_statistics: No = ...,
                              allow_any_target: bool = ..., **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def cosine_embedding_loss(self, input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = 0, reduction: str = "mean",
                              *, return_statistics: bool = False,
                              allow_any_target: bool = False, **options: Unpack[CallOptions]) -> Any:
        """1 - cos(input1, input2) if target is 1, max(0, cos - margin) if it is -1; the mean divides by N.

        Args:
            input1: (N, D) or (D); float.
            input2: The shape of input1; float.
            target: 1 or -1: (N) or (); any type, cast to the inputs'.
            margin: Finite.
            allow_any_target: Also accept targets other than 1 and -1, whose loss is 0, as in torch; by default they are refused.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, TARGET_OUT_OF_RANGE,
                HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.cosine_embedding_loss.
        """
        return self._call(
            request("CosineEmbeddingLoss", reduction, options, input1=values(input1, "input1"), input2=values(input2, "input2"),
                    target=values(target, "target"), margin=margin, allow_any_target=allow_any_target),
            return_statistics,
        )

    @overload
    def triplet_margin_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float = ..., p: float = ...,
                            eps: float = ..., swap: bool = ..., reduction: Reduced = ..., *, return_statistics: No = ...,
                            **options: Unpack[CallOptions]) -> FloatT: ...
    @overload
    def triplet_margin_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float = ..., p: float = ...,
                            eps: float = ..., swap: bool = ..., *, reduction: Unreduced, return_statistics: No = ...,
                            **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def triplet_margin_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float = ..., p: float = ...,
                            eps: float = ..., swap: bool = ..., reduction: str = ..., *, return_statistics: Yes,
                            **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def triplet_margin_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float = ..., p: float = ...,
                            eps: float = ..., swap: bool = ..., reduction: str = ..., *, return_statistics: No = ...,
                            **options: Unpack[CallOptions]) -> FloatT | ArrayT: ...
    def triplet_margin_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, margin: float = 1.0, p: float = 2,
                            eps: float = 1e-06, swap: bool = False, reduction: str = "mean", *, return_statistics: bool = False,
                            **options: Unpack[CallOptions]) -> Any:
        """max(0, d(a, p) - d(a, n) + margin) with d the p-norm of u - v + eps; the mean divides by the number of rows.

        swap replaces d(a, n) by min(d(a, n), d(p, n)).

        Args:
            anchor: (..., D); float.
            positive: The shape of anchor; float.
            negative: The shape of anchor; float.
            margin: Finite, > 0.
            p: > 0; infinity is allowed.
            eps: Finite, >= 0.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.triplet_margin_loss.
        """
        return self._call(
            request("TripletMarginLoss", reduction, options, anchor=values(anchor, "anchor"), positive=values(positive, "positive"),
                    negative=values(negative, "negative"), margin=margin, p=p, eps=eps, swap=swap),
            return_statistics,
        )

    @overload
    def triplet_margin_with_distance_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, *,
                                          distance_function: DistanceFunction | None = ..., margin: float = ..., swap: bool = ...,
                                          reduction: Reduced = ..., return_statistics: No = ..., **options: Unpack[CallOptions]
                                          ) -> FloatT: ...
    @overload
    def triplet_margin_with_distance_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, *,
                                          distance_function: DistanceFunction | None = ..., margin: float = ..., swap: bool = ...,
                                          reduction: Unreduced, return_statistics: No = ..., **options: Unpack[CallOptions]) -> ArrayT: ...
    @overload
    def triplet_margin_with_distance_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, *,
                                          distance_function: DistanceFunction | None = ..., margin: float = ..., swap: bool = ...,
                                          reduction: str = ..., return_statistics: Yes, **options: Unpack[CallOptions]) -> ResultT: ...
    @overload
    def triplet_margin_with_distance_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, *,
                                          distance_function: DistanceFunction | None = ..., margin: float = ..., swap: bool = ...,
                                          reduction: str = ..., return_statistics: No = ..., **options: Unpack[CallOptions]
                                          ) -> FloatT | ArrayT: ...
    def triplet_margin_with_distance_loss(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, *,
                                          distance_function: DistanceFunction | None = None, margin: float = 1.0, swap: bool = False,
                                          reduction: str = "mean", return_statistics: bool = False, **options: Unpack[CallOptions]) -> Any:
        """triplet_margin_loss with another distance; the mean divides by the number of rows.

        Args:
            anchor: (..., D); float.
            positive: The shape of anchor; float.
            negative: The shape of anchor; float.
            distance_function: lossd.PairwiseDistance (the default, with its defaults), CosineDistance or SquaredEuclideanDistance, or
                torch.nn.PairwiseDistance. Other functions raise TypeError.
            margin: Finite, > 0.
            swap: As in triplet_margin_loss.
            reduction: "mean", "sum" or "none" (one value per element or row).

        Raises:
            InvalidArgumentError: TENSOR_MISSING, DTYPE_UNSUPPORTED, SHAPE_MISMATCH, HYPERPARAMETER_OUT_OF_RANGE.

        Source: torch.nn.functional.triplet_margin_with_distance_loss.
        """
        distance = distance_of(distance_function)
        return self._call(
            request("TripletMarginWithDistanceLoss", reduction, options, anchor=values(anchor, "anchor"),
                    positive=values(positive, "positive"), negative=values(negative, "negative"), margin=margin, swap=swap,
                    **{distance.field: distance.arguments()}),
            return_statistics,
        )
