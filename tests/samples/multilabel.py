# SPDX-License-Identifier: Apache-2.0
"""Samples of multi margin and multi-label margin: margins between the classes of a row."""

import math
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from samples.classification import index_errors
from samples.record import (
    ErrorInput,
    Kwargs,
    LossSamples,
    Sample,
    Sizes,
    apart,
    index_types,
    labels,
    normal,
    poked,
    rng,
    scales,
    seeds,
    uniform,
)

INF, NAN = math.inf, math.nan


# -- multi margin


@st.composite
def _margins(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, classes, batch = draw(seeds), draw(sizes.width), draw(st.one_of(st.none(), sizes.batch))
    outer = () if batch is None else (batch,)
    target = labels(generator, min(classes, 255), *outer).to(draw(index_types))
    kwargs: Kwargs = {"input": normal(generator, *outer, classes, scale=draw(scales)), "target": target}
    if draw(st.booleans()):
        kwargs["weight"] = draw(st.sampled_from([uniform, normal]))(generator, classes)
    if draw(st.booleans()):
        kwargs |= {"p": draw(st.sampled_from([1, 2])), "margin": draw(st.sampled_from([-1.0, 0.0, 0.3, 1.0, 20.0]))}
    return kwargs


def _multi_margin() -> list[Sample]:
    generator = rng(1)
    x, y, w = normal(generator, 6, 4), labels(generator, 4, 6), uniform(generator, 4)
    good: Kwargs = {"input": x, "target": y}
    return [
        Sample("a batch", good),
        Sample("p 2", good | {"p": 2}),
        Sample("weights", good | {"weight": w}),
        Sample("weights, p 2: the weight is not raised", good | {"weight": w * 3, "p": 2, "margin": 0.5}),
        Sample("zero weights", good | {"weight": w * 0}),
        Sample("negative weights", good | {"weight": -w}),
        Sample("float64 weights", good | {"weight": w.double()}),
        Sample("unbatched", {"input": x[0], "target": y[0]}),
        Sample("one class", {"input": x[:, :1], "target": y * 0}),
        Sample("unbatched, one target", {"input": x[0], "target": y[:1]}),
        Sample("one row, a 0-d target", {"input": x[:1], "target": y[0]}),
        Sample("0-d", {"input": x[0, 0], "target": y[0] * 0, "margin": 2.0}),
        Sample("0-d, one target", {"input": x[0, 0], "target": y[:1] * 0}),
        Sample("a margin of zero", good | {"margin": 0.0}),
        Sample("a negative margin", good | {"margin": -0.5}),
        Sample("differences of exactly the margin", {"input": torch.tensor([[1.0, 0.0, 2.0]]), "target": torch.tensor([0])}),
        Sample("an empty batch", {"input": x[:0], "target": y[:0]}),
        Sample("int32 labels", good | {"target": y.to(torch.int32)}),
        Sample("uint8 labels", good | {"target": y.to(torch.uint8)}),
        Sample("not contiguous", {"input": apart(x), "target": y.repeat_interleave(2)[::2]}),
        Sample("infinities", {"input": poked(x, INF, -INF), "target": y}),
        Sample("NaN: torch's comparisons pass over it", {"input": poked(x, NAN), "target": y}, reference=False),
    ]


def _multi_margin_errors() -> list[ErrorInput]:
    generator = rng(2)
    x, y, w = normal(generator, 6, 4), labels(generator, 4, 6), uniform(generator, 4)
    good: Kwargs = {"input": x, "target": y}
    others = ("0-d scores",)  # one class
    shared = [error for error in index_errors(x, y, w, "target") if "ignore_index" not in error.kwargs and error.label not in others]
    return [
        *shared,
        ErrorInput("float labels", good | {"target": y.float()}, "DTYPE_UNSUPPORTED", "target"),
        ErrorInput("three extents", {"input": x[None], "target": y[None]}, "SHAPE_MISMATCH", "input"),
        *(ErrorInput(f"p {p}", good | {"p": p}, "HYPERPARAMETER_OUT_OF_RANGE", "p") for p in (0, 3, -1)),
        *(ErrorInput(f"margin {m}", good | {"margin": m}, "HYPERPARAMETER_OUT_OF_RANGE", "margin") for m in (INF, NAN)),
    ]


# -- multi-label margin


def label_lists(generator: np.random.Generator, classes: int, rows: int) -> torch.Tensor:
    """A row each: some distinct classes, -1, and anything in range after it."""
    lists = generator.permuted(np.tile(np.arange(classes), (rows, 1)), axis=1)
    ends = generator.integers(0, classes + 1, (rows, 1))
    after = np.arange(classes)
    rest = np.where(after > ends, generator.integers(-1, classes, (rows, classes)), -1)
    return torch.from_numpy(np.where(after < ends, lists, rest))


@st.composite
def _lists(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, classes, batch = draw(seeds), min(draw(sizes.width), 1000), draw(st.one_of(st.none(), sizes.batch))
    x, y = normal(generator, batch or 1, classes, scale=draw(scales)), label_lists(generator, classes, batch or 1)
    if batch == 0:
        x, y = x[:0], y[:0]
    y = y.to(draw(st.sampled_from([torch.int64, torch.int32])))
    return {"input": x[0], "target": y[0]} if batch is None else {"input": x, "target": y}


def _multilabel_margin() -> list[Sample]:
    x, y = normal(rng(3), 5, 4), label_lists(rng(4), 4, 5)
    row: Any = torch.tensor
    one = {"input": torch.tensor([0.1, 0.2, 0.4, 0.8])}
    return [
        Sample("a batch", {"input": x, "target": y}),
        Sample("torch's example", one | {"target": row([3, 0, -1, 1])}),
        Sample("no labels", one | {"target": row([-1, -1, -1, -1])}),
        Sample("no labels, classes after the end", one | {"target": row([-1, 2, 3, 0])}),
        Sample("every class", one | {"target": row([2, 0, 3, 1])}),
        Sample("repeated labels count twice", one | {"target": row([3, 3, -1, -1])}),
        Sample("one class", {"input": x[:, :1], "target": y[:, :1] * 0}),
        Sample("0-d", {"input": x[0, 0], "target": y[0, 0] * 0}),
        Sample("0-d, one target", {"input": x[0, 0], "target": y[0, :1] * 0 - 1}),
        Sample("one class, a 0-d target", {"input": x[0, :1], "target": y[0, 0] * 0}),
        Sample("one class, no label", {"input": x[:, :1], "target": y[:, :1] * 0 - 1}),
        Sample("an empty batch", {"input": x[:0], "target": y[:0]}),
        Sample("int32 labels", {"input": x, "target": y.to(torch.int32)}),
        Sample("not contiguous", {"input": apart(x), "target": apart(y)}),
        Sample("equal scores", {"input": x * 0, "target": y}),
        Sample("infinities", {"input": poked(x, INF, -INF), "target": label_lists(rng(5), 4, 5)}, reference=False),
        Sample("many classes", {"input": normal(rng(6), 3, 300), "target": label_lists(rng(7), 300, 3)}),
    ]


def _multilabel_margin_errors() -> list[ErrorInput]:
    x, y = normal(rng(8), 5, 4), label_lists(rng(9), 4, 5)
    good: Kwargs = {"input": x, "target": y}
    wrong = {"the number of classes": 4, "minus two": -2, "the largest integer": 2**63 - 1, "the smallest integer": -(2**63)}
    return [
        *(ErrorInput(f"a label that is {n}", good | {"target": poked(y, v)}, "TARGET_OUT_OF_RANGE", "target") for n, v in wrong.items()),
        ErrorInput(
            "a label out of range after the end", {"input": x[0], "target": torch.tensor([1, -1, 9, 0])}, "TARGET_OUT_OF_RANGE", "target"
        ),
        ErrorInput("one label a row", good | {"target": y[:, 0]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("one class fewer", good | {"target": y[:, 1:]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("float labels", good | {"target": y.float()}, "DTYPE_UNSUPPORTED", "target"),
        ErrorInput("bool labels", good | {"target": y > 0}, "DTYPE_UNSUPPORTED", "target"),
        ErrorInput("integer scores", good | {"input": y}, "DTYPE_UNSUPPORTED", "input"),
        ErrorInput("three extents", {"input": x[None], "target": y[None]}, "SHAPE_MISMATCH", "input"),
        ErrorInput("0-d, two labels", {"input": x[0, 0], "target": y[0, :2]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("no classes", {"input": x[:, :0], "target": y[:, :0]}, "SHAPE_MISMATCH", "input"),
        ErrorInput("rejected NaN", good | {"input": poked(x, NAN), "reject_non_finite": True}, "NON_FINITE_INPUT", "input"),
    ]


_AXES = {"input": 0, "target": 0}

LOSSES = (
    LossSamples(
        name="multi_margin_loss",
        rpc="MultiMarginLoss",
        samples=_multi_margin(),
        errors=_multi_margin_errors(),
        cases=_margins,
        batched=_AXES,
        row_rank=1,
        indices=True,
    ),
    LossSamples(
        name="multilabel_margin_loss",
        rpc="MultiLabelMarginLoss",
        samples=_multilabel_margin(),
        errors=_multilabel_margin_errors(),
        cases=_lists,
        batched=_AXES,
        row_rank=1,
        indices=True,
    ),
)
