# SPDX-License-Identifier: Apache-2.0
"""Sums of segments in float64, and the mean of two sums.

Every request of a batch is one segment. Each segment is summed by itself, by the same routine whether it is alone or one of many,
so the bits of its sum depend on its own values only.

numpy adds in an order that depends on the number of elements alone, on every Python, processor and number of threads.
Python's own sum() does not: from 3.12 on it compensates for rounding. tests/compute/recorded_sums.json holds the sums.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST = np.zeros(1, np.intp)


def segment_sums(values: NDArray[Any], counts: Sequence[int]) -> list[float]:
    """The float64 sum of each segment of 1-D `values`. `counts` are the segments' sizes; none is 0."""
    starts = _FIRST
    if len(counts) > 1:
        starts = np.zeros(len(counts), np.intp)
        np.cumsum(counts[:-1], out=starts[1:])
    with np.errstate(all="ignore"):
        sums: list[float] = np.add.reduceat(values.astype(np.float64, copy=False), starts).tolist()
    return sums
