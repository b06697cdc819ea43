# SPDX-License-Identifier: Apache-2.0
"""Sums have the same bits on every supported Python and numpy, recorded once, and alone or among others."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lossd_server.compute.reduce import segment_sums

RECORDED = Path(__file__).with_name("recorded_sums.json")
SIZES = [*range(1, 140), 255, 256, 257, 1000, 4096, 10_001]


def numbers(size: int, dtype: type) -> NDArray[np.floating]:
    """Numbers of both signs and very different size, from arithmetic that no library version changes."""
    state, found = size * 7919 + 1, []
    for _ in range(size):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        found.append(((state >> 11) / 2**52 - 1) * 2.0 ** ((state >> 5) % 24))
    return np.array(found, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_sums_are_those_that_were_recorded(dtype: type) -> None:
    recorded = json.loads(RECORDED.read_text())[np.dtype(dtype).name]
    found = {str(size): segment_sums(numbers(size, dtype), [size])[0].hex() for size in SIZES}
    assert found == recorded


def test_a_segment_among_others_has_the_sum_that_it_has_alone() -> None:
    for order in (SIZES, SIZES[::-1], SIZES[1::2]):
        edges = np.cumsum([0, *order]).tolist()
        whole = np.concatenate([numbers(size, np.float32) for size in order])
        alone = [segment_sums(whole[start:end], [end - start])[0].hex() for start, end in pairwise(edges)]
        assert [total.hex() for total in segment_sums(whole, order)] == alone


def test_zeros_keep_their_sign_and_infinities_do_not_warn() -> None:
    assert [total.hex() for total in segment_sums(np.array([-0.0] * 11), [1, 10])] == ["-0x0.0p+0"] * 2
    totals = segment_sums(np.array([np.inf, 1.0, np.inf, -np.inf, 1e308, 1e308]), [2, 2, 2])
    np.testing.assert_array_equal(totals, [np.inf, np.nan, np.inf])


if __name__ == "__main__":  # records
    by_type = {
        np.dtype(dtype).name: {str(size): segment_sums(numbers(size, dtype), [size])[0].hex() for size in SIZES}
        for dtype in (np.float32, np.float64)
    }
    RECORDED.write_text(json.dumps(by_type, indent=1) + "\n")
