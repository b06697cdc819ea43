# SPDX-License-Identifier: Apache-2.0
"""The distances of triplet_margin_with_distance_loss: a function cannot be sent, so the set is closed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class PairwiseDistance:
    """The p-norm of u - v + eps. Source: torch.nn.PairwiseDistance. p > 0, infinity allowed; eps finite, >= 0."""

    p: float = 2.0
    eps: float = 1e-6

    field: ClassVar[str] = "pairwise_distance"

    def arguments(self) -> dict[str, Any]:
        """The fields of its message."""
        return {"p": self.p, "eps": self.eps}


@dataclass(frozen=True, slots=True)
class CosineDistance:
    """1 - cosine similarity. Source: torch.nn.CosineSimilarity. eps finite, > 0."""

    eps: float = 1e-8

    field: ClassVar[str] = "cosine_distance"

    def arguments(self) -> dict[str, Any]:
        """The fields of its message."""
        return {"eps": self.eps}


@dataclass(frozen=True, slots=True)
class SquaredEuclideanDistance:
    """The sum over the last extent of (u - v)^2."""

    field: ClassVar[str] = "squared_euclidean_distance"

    def arguments(self) -> dict[str, Any]:
        """The fields of its message."""
        return {}


Distance = PairwiseDistance | CosineDistance | SquaredEuclideanDistance
# What a caller may pass as `distance_function`.
DistanceFunction = Distance | Callable[[Any, Any], Any]


def distance_of(function: DistanceFunction | None) -> Distance:
    """The distance that an argument means: one of lossd's, torch's module or function of the p-norm, or None for torch's default.

    Raises TypeError for any other function, which cannot be sent.
    """
    if function is None:
        return PairwiseDistance()
    if isinstance(function, Distance):
        return function
    torch = sys.modules.get("torch")
    module: Any = function
    if torch is not None:
        if function is torch.nn.functional.pairwise_distance:
            return PairwiseDistance()
        if type(function) is torch.nn.PairwiseDistance:
            if module.keepdim:
                raise TypeError("distance_function keeps the last extent, which the server does not: omit keepdim")
            return PairwiseDistance(p=module.norm, eps=module.eps)
        if type(function) is torch.nn.CosineSimilarity or function is torch.nn.functional.cosine_similarity:
            raise TypeError("distance_function is a cosine similarity, which is not a distance: use lossd.CosineDistance()")
    name = getattr(function, "__qualname__", None) or repr(function)
    if isinstance(function, type):
        raise TypeError(f"distance_function is the class {name}: pass an instance, {name}()")
    known = "torch.nn.PairwiseDistance(p, eps), lossd.PairwiseDistance, lossd.CosineDistance or lossd.SquaredEuclideanDistance"
    raise TypeError(f"distance_function is {name}, which the server does not have, and code cannot be sent: use {known}")
