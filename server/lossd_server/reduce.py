# SPDX-License-Identifier: Apache-2.0
"""Per-segment sums in float64, and what the reductions make of them.

Every request of a batch is one segment. A segment is summed by itself, in index order, by the same routine whether it is
alone or one of many, so the bits of its sum depend on its own values only.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Statistics:
    """LossStatistics: what is needed to merge answers exactly."""

    sum: float
    mean_numerator: float
    mean_denominator: float
    element_count: int
    ignored_count: int


def segment_sums(values: NDArray[Any], starts: NDArray[np.intp]) -> list[float]:
    """The float64 sum of each segment of 1-D `values`. `starts` are the segments' first indices; no segment is empty."""
    with np.errstate(all="ignore"):
        sums: list[float] = np.add.reduceat(values.astype(np.float64), starts).tolist()
    return sums


def mean(numerator: float, denominator: float) -> float:
    """numerator / denominator as IEEE 754 has it: 0/0 is NaN, x/0 an infinity."""
    if denominator:
        return numerator / denominator
    if not numerator or math.isnan(numerator):
        return math.nan
    return math.copysign(math.inf, numerator) * math.copysign(1.0, denominator)
