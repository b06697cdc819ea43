# SPDX-License-Identifier: Apache-2.0
"""Per-segment sums in float64, and what the reductions make of them.

Every request of a batch is one segment. A segment is summed by itself, in index order, by the same routine whether it is
alone or one of many, so the bits of its sum depend on its own values only.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Up to so many elements are added one by one, which a segment alone makes quicker than a ufunc. The rule looks at the segment's
# own size, as everything here.
_SHORT = 64


def segment_sums(values: NDArray[Any], counts: Sequence[int]) -> list[float]:
    """The float64 sum of each segment of 1-D `values`. `counts` are the segments' sizes; none is 0."""
    if max(counts) <= _SHORT:
        floats = values.tolist()
        if len(counts) == 1:
            return [sum(floats, -0.0)]
        ends = list(accumulate(counts))
        return [sum(floats[end - count : end], -0.0) for end, count in zip(ends, counts, strict=True)]
    starts = np.zeros(len(counts), np.intp)
    np.cumsum(counts[:-1], out=starts[1:])
    with np.errstate(all="ignore"):
        sums: list[float] = np.add.reduceat(values.astype(np.float64), starts).tolist()
    for index, count in enumerate(counts):
        if count <= _SHORT:
            sums[index] = sum(values[starts[index] : starts[index] + count].tolist(), -0.0)
    return sums


def mean(numerator: float, denominator: float) -> float:
    """numerator / denominator as IEEE 754 has it: 0/0 is NaN, x/0 an infinity."""
    if denominator:
        return numerator / denominator
    if not numerator or math.isnan(numerator):
        return math.nan
    return math.copysign(math.inf, numerator) * math.copysign(1.0, denominator)
