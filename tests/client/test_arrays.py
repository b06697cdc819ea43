# SPDX-License-Identifier: Apache-2.0
"""What arguments tensors may be: what can be taken without loss is taken, and all else is refused with the cure."""

from typing import Any

import numpy as np
import pytest

import lossd
from lossd._tensors import values

pyarrow = pytest.importorskip("pyarrow")


def column(*items: Any) -> Any:
    made = np.empty(len(items), object)
    made[:] = items
    return made


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (column(1, 2, 3), "i8"),
        (column(1.0, 2.0, 3.0), "f8"),
        (column(np.float64(1), 2, 3), "f8"),
        (pyarrow.array([1, 2, 3]), "i8"),
        (pyarrow.array([1, 2, 3], pyarrow.float32()), "f4"),
        (pyarrow.chunked_array([[1.0], [2.0, 3.0]]), "f8"),
        (np.ma.masked_array([1.0, 2.0, 3.0]), "f8"),
        (np.ma.masked_array([1.0, 2.0, 3.0], [False, False, False]), "f8"),
    ],
)
def test_columns_of_numbers_are_taken(data: Any, dtype: str) -> None:
    taken = values(data, "input").array
    assert taken.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(np.asarray(taken), [1, 2, 3])


@pytest.mark.parametrize(
    ("data", "cure"),
    [
        (np.ma.masked_array([1.0, 2.0], [False, True]), "input is a masked array, .* ignore_index"),
        (column(1, None), "fill or drop missing values"),
        (column("a", "b"), "convert the rest with astype"),
        (column(np.zeros(2), np.zeros(3)), "numpy.stack"),
        (pyarrow.array([1, None]), "input holds missing values: fill or drop them"),
        (pyarrow.chunked_array([[1.0], [None]]), "input holds missing values: fill or drop them"),
        ([1.0, None], "fill or drop missing values"),
    ],
)
def test_what_would_lose_something_is_refused_with_the_cure(client: lossd.Client, data: Any, cure: str) -> None:
    with pytest.raises(TypeError, match=cure):
        client.mse_loss(data, [0.0, 0.0])
