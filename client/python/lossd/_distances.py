# SPDX-License-Identifier: Apache-2.0
"""The distances of triplet_margin_with_distance_loss: a function cannot cross the wire, so the set is closed."""

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
