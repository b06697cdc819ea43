# SPDX-License-Identifier: Apache-2.0
"""What arguments tensors may be: what can be taken without loss is taken, and all else is refused with the cure."""

import types
from typing import Any

import numpy as np
import pytest
import torch

import lossd
from lossd._tensors import values
from support.encoded_requests import encoded

pyarrow = pytest.importorskip("pyarrow")


def column(*items: Any) -> Any:
    made = np.empty(len(items), object)
    made[:] = items
    return made


class Nullable:
    """What the client sees of a column of a nullable type of pandas."""

    def __init__(self, items: list[float], *, missing: bool) -> None:
        self._items, self._missing = items, missing
        self.dtype = types.SimpleNamespace(na_value=None)

    def isna(self) -> Any:
        return np.array([self._missing])

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.array(self._items)


class Frame:
    """What the client sees of a data frame of pandas."""

    def __init__(self, columns: list[Nullable]) -> None:
        self.columns = columns

    def items(self) -> Any:
        return enumerate(self.columns)

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.stack([np.asarray(held) for held in self.columns], 1)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (column(1, 2, 3), "i8"),
        (column(1.0, 2.0, 3.0), "f8"),
        (column(np.float64(1), 2, 3), "f8"),
        (pyarrow.array([1, 2, 3]), "i8"),
        (pyarrow.array([1, 2, 3], pyarrow.float32()), "f4"),
        (pyarrow.chunked_array([[1.0], [2.0, 3.0]]), "f8"),
        (Nullable([1.0, 2.0, 3.0], missing=False), "f8"),
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
        ([[1.0], [1.0, 2.0]], "input is not a tensor of numbers: .* inhomogeneous"),
        (Nullable([1.0, 2.0], missing=True), "input holds missing values: fill or drop them"),
        (pyarrow.table({"a": [1.0, None]}), "input holds missing values: fill or drop them"),
        (Frame([Nullable([1.0], missing=False), Nullable([1.0], missing=True)]), "input holds missing values: fill or drop them"),
        (torch.eye(2).to_sparse(), r"input is not a dense tensor .* to_dense\(\)"),
        (torch.empty(2, device="meta"), "input is not a dense tensor with values"),
        (torch.ones(2).to(torch.float8_e5m2), "input is a Tensor of float8_e5m2, which cannot be sent"),
    ],
)
def test_what_would_lose_something_is_refused_with_the_cure(client: lossd.Client, data: Any, cure: str) -> None:
    with pytest.raises(TypeError, match=cure):
        client.mse_loss(data, [0.0, 0.0])


@pytest.mark.parametrize("shape", [(30, 40), (600, 1000)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_an_array_of_any_layout_is_sent_as_its_elements(shape: tuple[int, int], dtype: str) -> None:
    rows, columns = shape
    plain = np.arange(rows * columns).reshape(shape).astype(dtype)
    row = plain[0]
    layouts = [
        (plain.copy(order="F"), plain),
        (np.repeat(plain, 2, axis=1)[:, ::2], plain),
        (plain[::-1], plain[::-1].copy()),
        (plain.T, plain.T.copy()),
        (np.broadcast_to(row, shape), np.tile(row, (rows, 1))),
        (np.broadcast_to(row[:1], shape), np.full(shape, row[0])),
    ]
    for layout, same in layouts:
        assert encoded("mse_loss", input=layout, target=layout) == encoded("mse_loss", input=same, target=same)


def test_a_data_frame_is_a_matrix() -> None:
    frame = Frame([Nullable([1.0, 2.0], missing=False), Nullable([3.0, 4.0], missing=False)])
    np.testing.assert_array_equal(values(frame, "input").array, [[1.0, 3.0], [2.0, 4.0]])


def test_a_hyper_parameter_of_a_wrong_type_is_named(client: lossd.Client) -> None:
    with pytest.raises(TypeError, match="margin is 'x': "):
        client.margin_ranking_loss([1.0], [1.0], [1], margin="x")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=f"ignore_index is {2**70}: "):
        client.nll_loss([[1.0]], [0], ignore_index=2**70)
