# SPDX-License-Identifier: Apache-2.0
"""What a reference function returns, and the functions that several of them need."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Result:
    """The unreduced loss, and what MEAN is made of: the numerators' sum over the denominator."""

    loss: Array
    denominator: float
    numerators: Array
    ignored: int = 0


def plain(loss: Array, denominator: float | None = None, ignored: int = 0) -> Result:
    """MEAN is the sum of the loss over the denominator, which is the number of its elements unless given."""
    return Result(loss, float(loss.size if denominator is None else denominator), loss, ignored)


def softplus(x: Array) -> Array:
    """ln(1 + e^x)."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def log_softmax(x: Array, axis: int) -> Array:
    """x - ln(sum e^x) along the axis."""
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def logit_bce(x: Array, t: Array, pos_weight: Array | float = 1.0) -> Array:
    """-(p t ln s(x) + (1 - t) ln s(-x)), with ln s(x) = -softplus(-x), so that ln s(-x) = ln s(x) - x."""
    return (1 - t) * x + (1 + (pos_weight - 1) * t) * softplus(-x)
