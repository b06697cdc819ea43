# SPDX-License-Identifier: Apache-2.0
"""NLL, cross entropy and the binary cross entropies."""

import math
import threading
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from lossd_server.errors import HyperparameterOutOfRange, TargetOutOfRange
from lossd_server.losses import checks
from lossd_server.losses.spec import Arguments, Arrangement, Coalescing, Integer, Kind, LossSpec, Real, Tensor
from lossd_server.losses.tensor import Array

# On a CPU, torch computes rows that are shorter than a vector register element by element, which takes ten times as long. Further
# classes of probability 0 fill such rows up (tests/bench/few_classes.py); for the shortest rows that does not pay.
_VECTOR = 16
_SHORT_ROW = 4

# Up to this many filled-up rows are kept: making them anew would cost a small batch as much as its loss.
_KEPT_ROWS = 512

# -- class indices and probabilities


def class_rows(arguments: Arguments) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
    """(N, C, d1..dK) view of `input`, which may lack N; its shape; and the shape of the unreduced loss."""
    array = arguments["input"]
    checks.expect_rank_at_least(array, "input", 1)
    shape = array.shape if len(array.shape) > 1 else (1, *array.shape)
    checks.expect_extent(array, "input", 0 if len(array.shape) == 1 else 1, "the number of classes")
    output_shape = () if len(array.shape) == 1 else (shape[0], *shape[2:])
    return array.reshaped(*shape), shape, output_shape


def index_denominator(target: Array, weight: Array | None, ignored: int, ignore_index: int) -> float:
    """The sum of weight[y] over the targets that are not ignored, in float64."""
    if weight is None:
        return float(target.size - ignored)
    labels = checks.flat(target)
    if ignored:
        labels = labels[labels != ignore_index]
    with np.errstate(over="ignore"):
        return float(weight.values.astype(np.float64)[labels].sum())


def _index_columns(arguments: Arguments, name: str) -> Arrangement:
    """Rows of class scores, and a class index for each row."""
    column, shape, output_shape = class_rows(arguments)
    target: Array = arguments[name]
    checks.expect_shape(target, output_shape, name, f"input of shape {list(arguments['input'].shape)}")
    shared = checks.per_class(arguments, "weight", shape[1])
    return Arrangement(
        columns={"input": column, name: target.reshaped(shape[0], *shape[2:])},
        rows=shape[0],
        output_shape=output_shape,
        values_per_row=math.prod(shape[2:]),
        shared=shared,
    )


def _check_index_values(arguments: Arguments, arrangement: Arrangement, name: str, count: int) -> None:
    target: Array = arguments[name]
    weight, ignore_index = arrangement.shared.get("weight"), arguments["ignore_index"]
    ignored = checks.class_indices(target, name, arrangement.columns["input"].shape[1], ignore_index)
    if count == 1:
        arrangement.mean_denominator = index_denominator(target, weight, ignored, ignore_index)
        arrangement.ignored_count = ignored
    elif ignored or weight is not None:
        size = target.size // count
        width = size * target.dtype.itemsize
        each = [Array(target.dtype, (size,), target.payload[start : start + width]) for start in range(0, len(target.payload), width)]
        counts = [int(np.count_nonzero(part.values == ignore_index)) for part in each] if ignored else [0] * count
        arrangement.mean_denominator = [
            index_denominator(part, weight, number, ignore_index) for part, number in zip(each, counts, strict=True)
        ]
        arrangement.ignored_count = counts
    else:
        arrangement.mean_denominator, arrangement.ignored_count = None, 0


def _nll_columns(arguments: Arguments) -> Arrangement:
    return _index_columns(arguments, "target")


def _check_nll_values(arguments: Arguments, arrangement: Arrangement, count: int) -> None:
    _check_index_values(arguments, arrangement, "target", count)


def _cross_entropy_columns(arguments: Arguments) -> Arrangement:
    if "class_probabilities" not in arguments:
        arrangement = _index_columns(arguments, "class_indices")
    else:
        if "ignore_index" in arguments.given:
            raise HyperparameterOutOfRange("ignore_index", "goes with class_indices only; class_probabilities have none")
        column, shape, output_shape = class_rows(arguments)
        checks.same_shape(arguments, "class_probabilities", "input")
        arrangement = Arrangement(
            columns={"input": column, "class_probabilities": arguments["class_probabilities"].reshaped(*shape)},
            rows=shape[0],
            output_shape=output_shape,
            values_per_row=math.prod(shape[2:]),
            shared=checks.per_class(arguments, "weight", shape[1]),
        )
    if "class_probabilities" in arguments or arguments["label_smoothing"]:
        arrangement.extra_workspace_elements = 5 * arguments["input"].size  # weighted and smoothed, for every class
    elif _SHORT_ROW < arrangement.columns["input"].shape[1] < _VECTOR:
        arrangement.extra_workspace_elements = 2 * _VECTOR * arrangement.rows
    return arrangement


def _check_cross_entropy_values(arguments: Arguments, arrangement: Arrangement, count: int) -> None:
    if "class_indices" in arguments:
        _check_index_values(arguments, arrangement, "class_indices", count)


def nll_loss(input: torch.Tensor, target: torch.Tensor, ignore_index: int, weight: torch.Tensor | None = None) -> torch.Tensor:
    """-w[y] x[y]; ignored targets are 0. torch.nn.functional.nll_loss."""
    return F.nll_loss(input, target, weight, ignore_index=ignore_index, reduction="none")


def _whole_rows(input: torch.Tensor) -> torch.Tensor:
    """The rows filled up to _VECTOR classes. The tensor is valid until the next call on this thread."""
    rows, classes = input.shape
    if rows > _KEPT_ROWS:
        return F.pad(input, (0, _VECTOR - classes), value=-math.inf)
    whole, part = _kept.rows(rows, classes, input.dtype)
    part.copy_(input)
    return whole


def _make_rows(rows: int, classes: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of _VECTOR classes with probability 0, and the view of them that receives the input."""
    whole = torch.full((rows, _VECTOR), -math.inf, dtype=dtype)
    return whole, whole[:, :classes]


class _Kept(threading.local):
    """The kept rows of each thread."""

    def __init__(self) -> None:
        self.rows = lru_cache(maxsize=64)(_make_rows)


_kept = _Kept()


def cross_entropy(
    input: torch.Tensor,
    ignore_index: int,
    label_smoothing: float,
    class_indices: torch.Tensor | None = None,
    class_probabilities: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Indices: (1-s)(-w[y] lp[y]) + s/C sum_c(-w[c] lp[c]); probabilities: -sum_c w[c] t'[c] lp[c].

    torch.nn.functional.cross_entropy, lp = log_softmax(x).
    """
    if class_probabilities is not None:
        return F.cross_entropy(input, class_probabilities, weight, label_smoothing=label_smoothing, reduction="none")
    assert class_indices is not None
    if input.ndim == 2 and _SHORT_ROW < input.shape[1] < _VECTOR and not label_smoothing and input.device.type == "cpu":
        weight = None if weight is None else F.pad(weight, (0, _VECTOR - input.shape[1]))
        input = _whole_rows(input)
    return F.cross_entropy(input, class_indices, weight, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction="none")


# -- binary


def binary_cross_entropy(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """-w (t ln x + (1-t) ln(1-x)), logs clamped at -100. torch.nn.functional.binary_cross_entropy."""
    return F.binary_cross_entropy(input, target, weight, reduction="none")


def binary_cross_entropy_with_logits(
    input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, pos_weight: torch.Tensor | None = None
) -> torch.Tensor:
    """w ((1-t) x + (1 + (pos_weight-1) t) ln(1 + exp(-x))). torch.nn.functional.binary_cross_entropy_with_logits."""
    return F.binary_cross_entropy_with_logits(input, target, weight, pos_weight=pos_weight, reduction="none")


_FLOAT = Tensor(Kind.FLOAT)
_REAL = Tensor(Kind.REAL)
_PER_CLASS = Tensor(Kind.PER_CLASS, required=False)
_OPTIONAL_REAL = Tensor(Kind.REAL, required=False)

SPECS = (
    LossSpec(
        name="nll_loss",
        rpc="NllLoss",
        arguments={"input": _FLOAT, "target": Tensor(Kind.INDEX), "weight": _PER_CLASS, "ignore_index": Integer(-100)},
        coalescing=Coalescing.ROWS,
        to_columns=_nll_columns,
        check_values=_check_nll_values,
        kernel=nll_loss,
    ),
    LossSpec(
        name="cross_entropy",
        rpc="CrossEntropyLoss",
        arguments={
            "input": _FLOAT,
            "class_indices": Tensor(Kind.INDEX, required=False),
            "class_probabilities": Tensor(Kind.FLOAT, required=False),
            "weight": _PER_CLASS,
            "ignore_index": Integer(-100),
            "label_smoothing": Real(0.0, minimum=0.0, maximum=1.0),
        },
        one_of=(("class_indices", "class_probabilities"),),
        coalescing=Coalescing.ROWS,
        to_columns=_cross_entropy_columns,
        check_values=_check_cross_entropy_values,
        kernel=cross_entropy,
    ),
    LossSpec(
        name="binary_cross_entropy",
        rpc="BceLoss",
        arguments={"input": _FLOAT, "target": _REAL, "weight": _OPTIONAL_REAL},
        coalescing=Coalescing.ELEMENTS,
        to_columns=checks.elementwise("input", "target", broadcast=("weight",)),
        check_values=checks.all_of(checks.unit_interval("input"), checks.unit_interval("target", TargetOutOfRange)),
        kernel=binary_cross_entropy,
        workspace_factor=3.0,
    ),
    LossSpec(
        name="binary_cross_entropy_with_logits",
        rpc="BceWithLogitsLoss",
        arguments={"input": _FLOAT, "target": _REAL, "weight": _OPTIONAL_REAL, "pos_weight": _OPTIONAL_REAL},
        coalescing=Coalescing.ELEMENTS,
        to_columns=checks.elementwise("input", "target", broadcast=("weight", "pos_weight")),
        kernel=binary_cross_entropy_with_logits,
        workspace_factor=4.0,
    ),
)
