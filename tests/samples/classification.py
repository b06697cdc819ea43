# SPDX-License-Identifier: Apache-2.0
"""Samples of NLL and cross entropy."""

import math
from typing import Any

import torch
from hypothesis import strategies as st

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


@st.composite
def class_targets(draw: st.DrawFn, generator: Any, classes: int, shape: tuple[int, ...]) -> Kwargs:
    """`target` as class indices, some of them ignored, with or without ignore_index."""
    target = labels(generator, classes, *shape)
    ignore = draw(st.sampled_from([None, None, -100, -1, 0, classes - 1, 255, 2**40, -(2**63)]))
    if ignore is None:
        return {"target": target.to(draw(index_types))} if classes < 256 else {"target": target}
    some = uniform(generator, *shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    return {"target": torch.where(some, torch.tensor(ignore), target), "ignore_index": ignore}


@st.composite
def _scores(draw: st.DrawFn, sizes: Sizes, *, smoothing: bool) -> Kwargs:
    generator, classes = draw(seeds), draw(sizes.width)
    outer = draw(st.one_of(st.just(None), st.builds(lambda batch, inner: (batch, *inner), sizes.batch, sizes.inner)))
    shape = (classes,) if outer is None else (outer[0], classes, *outer[1:])
    kwargs: Kwargs = {"input": normal(generator, *shape, scale=draw(scales))}
    if smoothing and draw(st.booleans()):
        kwargs["target"] = draw(st.sampled_from([uniform, normal]))(generator, *shape)
    else:
        kwargs |= draw(class_targets(generator, classes, outer or ()))
    if draw(st.booleans()):
        kwargs["weight"] = draw(st.sampled_from([uniform, normal]))(generator, classes)
    if smoothing and draw(st.booleans()):
        kwargs["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return kwargs


def index_samples(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> list[Sample]:
    """Edges of every loss of (N, C) scores and class indices with weights and ignore_index."""
    good: Kwargs = {"input": x, "target": y}
    hole = torch.full_like(y, -100)
    return [
        Sample("a batch", good),
        Sample("weights", good | {"weight": w}),
        Sample("unbatched", {"input": x[0], "target": y[0]}),
        Sample("unbatched, weights", {"input": x[0], "target": y[0], "weight": w}),
        Sample("one row", {"input": x[:1], "target": y[:1]}),
        Sample("one class", {"input": x[:, :1], "target": y * 0}),
        Sample("an empty batch", {"input": x[:0], "target": y[:0]}),
        Sample("an empty batch, weights", {"input": x[:0], "target": y[:0], "weight": w}),
        Sample("some ignored", {"input": x, "target": torch.where(y == 1, -100, y)}),
        Sample("some ignored, weights", {"input": x, "target": torch.where(y == 1, -100, y), "weight": w}),
        Sample("all ignored", {"input": x, "target": hole}),
        Sample("all ignored, unbatched", {"input": x[0], "target": hole[0]}),
        Sample("a valid class ignored", good | {"ignore_index": 1}),
        Sample("a valid class ignored, weights", good | {"ignore_index": 0, "weight": w}),
        Sample(
            "an ignored label above the classes", {"input": x, "target": torch.where(y == 1, 255, y).to(torch.uint8), "ignore_index": 255}
        ),
        Sample("the smallest label ignored", {"input": x, "target": torch.where(y == 1, -(2**63), y), "ignore_index": -(2**63)}),
        Sample("zero weights", good | {"weight": w * 0}),
        Sample("a zero weight", good | {"weight": poked(w, 0.0)}),
        Sample("negative weights", good | {"weight": -w}),
        Sample("float64 weights", good | {"weight": w.double()}),
        Sample("float16 weights", good | {"weight": w.half()}),
        Sample("not contiguous", {"input": apart(x), "target": y.repeat_interleave(2)[::2]}),
        Sample("infinities and NaN", {"input": poked(x, INF, NAN, -INF), "target": y}),
    ]


def _inner(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> list[Sample]:
    return [
        Sample("K = 1", {"input": x[..., 0, 0], "target": y[..., 0, 0]}) if x.ndim > 3 else Sample("K = 1", {"input": x, "target": y}),
        Sample("K = 2", {"input": x, "target": y}),
        Sample("K = 2, weights, ignored", {"input": x, "target": y, "weight": w, "ignore_index": 1}),
        Sample("K = 3", {"input": x.unsqueeze(-1), "target": y.unsqueeze(-1)}),
        Sample("channels last", {"input": x.to(memory_format=torch.channels_last), "target": y}),
        Sample("an empty inner extent", {"input": x[..., :0], "target": y[..., :0]}),
        Sample("an empty batch, K = 2", {"input": x[:0], "target": y[:0]}),
    ]


def _samples(prepare: Any) -> list[Sample]:
    generator = rng(1)
    x, y = prepare(normal(generator, 6, 4)), labels(generator, 4, 6)
    image, mask = prepare(normal(generator, 2, 4, 3, 2)), labels(generator, 4, 2, 3, 2)
    w = uniform(generator, 4, low=0.1)
    return [
        *index_samples(x, y, w),
        *_inner(image, mask, w),
        Sample("int32 labels", {"input": x, "target": y.to(torch.int32)}),
        Sample("many classes", {"input": prepare(normal(generator, 3, 1000)), "target": labels(generator, 1000, 3)}),
    ]


def _cross_entropy() -> list[Sample]:
    generator = rng(2)
    x, y, w = normal(generator, 6, 4), labels(generator, 4, 6), uniform(generator, 4, low=0.1)
    t = normal(generator, 6, 4).softmax(1)
    image = normal(generator, 2, 4, 3, 2)
    return [
        *_samples(lambda scores: scores),
        Sample("extreme logits", {"input": x * 1e4, "target": y}),
        Sample("logits far from zero", {"input": x + 1e6, "target": y}),
        Sample("minus infinity at another class", {"input": torch.tensor([[0.0, -INF, 1.0]]), "target": torch.tensor([0])}),
        Sample("minus infinity at the class", {"input": torch.tensor([[0.0, -INF, 1.0]]), "target": torch.tensor([1])}),
        *(Sample(f"smoothing {s:g}", {"input": x, "target": y, "weight": w, "label_smoothing": s}) for s in (0.1, 0.9, 1.0)),
        Sample("smoothing, ignored", {"input": x, "target": y, "weight": w, "label_smoothing": 0.1, "ignore_index": 2}),
        Sample("smoothing, all ignored", {"input": x, "target": y * 0 - 100, "label_smoothing": 0.1}),
        Sample("smoothing, K = 2", {"input": image, "target": labels(generator, 4, 2, 3, 2), "label_smoothing": 0.3}),
        Sample("probabilities", {"input": x, "target": t}),
        Sample("probabilities, weights", {"input": x, "target": t, "weight": w}),
        Sample("probabilities, smoothing", {"input": x, "target": t, "weight": w, "label_smoothing": 0.2}),
        Sample("probabilities, unbatched", {"input": x[0], "target": t[0]}),
        Sample("probabilities, K = 2", {"input": image, "target": image.softmax(1)}),
        Sample("probabilities, float64", {"input": x, "target": t.double()}),
        Sample("probabilities that do not add up to one", {"input": x, "target": t * 3 - 1}),
        Sample("probabilities, an empty batch", {"input": x[:0], "target": t[:0]}),
        Sample("probabilities, zero weights", {"input": x, "target": t, "weight": w * 0}),
        Sample("minus infinity at a zero probability", {"input": torch.tensor([[0.0, -INF]]), "target": torch.tensor([[1.0, 0.0]])}),
    ]


def index_errors(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, target: str) -> list[ErrorInput]:
    """Error inputs of every loss of (N, C) scores and class indices with weights and ignore_index."""
    good: Kwargs = {"input": x, "target": y}
    classes = x.shape[1]
    wrong = {"the number of classes": classes, "minus one": -1, "the largest integer": 2**63 - 1, "the smallest integer": -(2**63)}
    shapes = {"one row fewer": y[:-1], "a column": y[:, None], "0-d": y[0], "a row": y[None]}
    return [
        *(ErrorInput(f"a label that is {n}", good | {"target": poked(y, v)}, "TARGET_OUT_OF_RANGE", target) for n, v in wrong.items()),
        ErrorInput(
            "the default ignore_index, replaced", good | {"target": poked(y, -100), "ignore_index": -1}, "TARGET_OUT_OF_RANGE", target
        ),
        ErrorInput("an int32 label out of range", good | {"target": poked(y, -1).to(torch.int32)}, "TARGET_OUT_OF_RANGE", target),
        ErrorInput("a uint8 label out of range", good | {"target": poked(y, 200).to(torch.uint8)}, "TARGET_OUT_OF_RANGE", target),
        *(ErrorInput(f"labels: {n}", good | {"target": v}, "SHAPE_MISMATCH", target) for n, v in shapes.items()),
        ErrorInput("no classes", {"input": x[:, :0], "target": y}, "SHAPE_MISMATCH", "input"),
        ErrorInput("no classes, unbatched", {"input": x[0, :0], "target": y[0]}, "SHAPE_MISMATCH", "input"),
        ErrorInput("0-d scores", {"input": x[0, 0], "target": y[0]}, "SHAPE_MISMATCH", "input"),
        ErrorInput("integer scores", good | {"input": y[:, None]}, "DTYPE_UNSUPPORTED", "input"),
        ErrorInput("bool labels", good | {"target": y > 1}, "DTYPE_UNSUPPORTED", target),
        ErrorInput("too few weights", good | {"weight": w[:-1]}, "SHAPE_MISMATCH", "weight"),
        ErrorInput("2-d weights", good | {"weight": w[None]}, "SHAPE_MISMATCH", "weight"),
        ErrorInput("integer weights", good | {"weight": w.to(torch.int64)}, "DTYPE_UNSUPPORTED", "weight"),
        ErrorInput("a NaN weight", good | {"weight": poked(w, NAN)}, "VALUE_OUT_OF_RANGE", "weight"),
        ErrorInput("an infinite weight", good | {"weight": poked(w, INF)}, "VALUE_OUT_OF_RANGE", "weight"),
        ErrorInput("rejected NaN", good | {"input": poked(x, NAN), "reject_non_finite": True}, "NON_FINITE_INPUT", "input"),
    ]


def _errors(target: str) -> list[ErrorInput]:
    generator = rng(3)
    x, y, w = normal(generator, 6, 4), labels(generator, 4, 6), uniform(generator, 4, low=0.1)
    image = normal(generator, 2, 4, 3, 2)
    masks = {"without d2": (2, 3), "with the classes": (2, 4, 3, 2), "with d1 and d2 exchanged": (2, 2, 3)}
    return [
        *index_errors(x, y, w, target),
        *(
            ErrorInput(f"K = 2, labels {n}", {"input": image, "target": labels(generator, 4, *s)}, "SHAPE_MISMATCH", target)
            for n, s in masks.items()
        ),
    ]


def smoothing_errors(good: Kwargs, of: str = "") -> list[ErrorInput]:
    """label_smoothing outside [0, 1]."""
    return [
        ErrorInput(f"smoothing {s}{of}", good | {"label_smoothing": s}, "HYPERPARAMETER_OUT_OF_RANGE", "label_smoothing")
        for s in (-0.1, 1.1, INF, NAN)
    ]


def _probability_errors() -> list[ErrorInput]:
    generator = rng(4)
    x, t = normal(generator, 6, 4), uniform(generator, 6, 4)
    good: Kwargs = {"input": x, "target": t}
    shapes = {"float labels": t[:, 0], "one row fewer": t[:-1], "one class fewer": t[:, 1:], "0-d": t[0, 0]}
    return [
        *(ErrorInput(f"probabilities: {n}", good | {"target": v}, "SHAPE_MISMATCH", "class_probabilities") for n, v in shapes.items()),
        ErrorInput("ignore_index with probabilities", good | {"ignore_index": 1}, "HYPERPARAMETER_OUT_OF_RANGE", "ignore_index"),
        *smoothing_errors(good, " of probabilities"),
        *smoothing_errors({"input": x, "target": labels(generator, 4, 6)}),
    ]


_AXES = {"input": 0, "target": 0}

LOSSES = (
    LossSamples(
        name="nll_loss",
        rpc="NllLoss",
        samples=_samples(lambda scores: scores.log_softmax(1)),
        errors=[
            *_errors("target"),
            ErrorInput("float labels", {"input": normal(rng(5), 2, 3), "target": torch.zeros(2)}, "DTYPE_UNSUPPORTED", "target"),
        ],
        cases=lambda sizes: _scores(sizes, smoothing=False),
        batched=_AXES,
        row_rank=1,
        indices=True,
    ),
    LossSamples(
        name="cross_entropy",
        rpc="CrossEntropyLoss",
        samples=_cross_entropy(),
        errors=[*_errors("class_indices"), *_probability_errors()],
        cases=lambda sizes: _scores(sizes, smoothing=True),
        batched=_AXES,
        row_rank=1,
        indices=True,
    ),
)
