# SPDX-License-Identifier: Apache-2.0
"""Samples of the binary cross entropies, soft margin and multi-label soft margin: one target an element, weights that broadcast."""

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
    normal,
    poked,
    rng,
    scales,
    seeds,
    sign_types,
    signs,
    uniform,
)

INF, NAN = math.inf, math.nan


@st.composite
def _weights(draw: st.DrawFn, generator: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Broadcasts to the shape without enlarging it."""
    kept = shape[draw(st.integers(0, len(shape))) :]
    extents = [1 if draw(st.booleans()) and draw(st.booleans()) else extent for extent in kept]
    weight: torch.Tensor = draw(st.sampled_from([uniform, normal]))(generator, *extents)
    return weight


@st.composite
def _targets(draw: st.DrawFn, generator: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """In [0, 1], of any element type."""
    dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.int64, torch.bool, torch.uint8]))
    return uniform(generator, *shape) if dtype.is_floating_point else (uniform(generator, *shape) > 0.5).to(dtype)


@st.composite
def _cases(draw: st.DrawFn, sizes: Sizes, *, optional: tuple[str, ...], logits: bool = True, rows: bool = False) -> Kwargs:
    generator, shape = draw(seeds), draw(sizes.shapes)
    if rows:
        shape = (*shape, draw(sizes.width)) if len(shape) < 2 or not shape[-1] else shape
    x = normal(generator, *shape, scale=draw(scales)) if logits else draw(_targets(generator, shape)).float()
    kwargs: Kwargs = {"input": x, "target": draw(_targets(generator, shape))}
    return kwargs | {name: draw(_weights(generator, shape)) for name in optional if draw(st.booleans())}


@st.composite
def _signed(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, shape = draw(seeds), draw(sizes.shapes)
    return {"input": normal(generator, *shape, scale=draw(scales)), "target": signs(generator, *shape).to(draw(sign_types))}


def _common(x: torch.Tensor, t: torch.Tensor) -> list[Sample]:
    return [
        Sample("a batch", {"input": x, "target": t}),
        Sample("one extent", {"input": x[0], "target": t[0]}),
        Sample("three extents", {"input": x.reshape(2, 2, 3), "target": t.reshape(2, 2, 3)}),
        Sample("an empty batch", {"input": x[:0], "target": t[:0]}),
        Sample("not contiguous", {"input": apart(x), "target": apart(t)}),
        Sample("integer targets", {"input": x, "target": t.to(torch.int64)}),
        Sample("float64 targets", {"input": x, "target": t.double()}),
    ]


def _elements(x: torch.Tensor, t: torch.Tensor) -> list[Sample]:
    return [
        *_common(x, t),
        Sample("0-d", {"input": x[0, 0], "target": t[0, 0]}),
        Sample("an empty inner extent", {"input": x[:, :0], "target": t[:, :0]}),
    ]


def _weighted(x: torch.Tensor, t: torch.Tensor, name: str) -> list[Sample]:
    w = uniform(rng(9), *x.shape)
    kinds = {
        "full": w,
        "a column each": w[0],
        "a row each": w[:, :1],
        "0-d": w[0, 0],
        "one": w[:1, :1],
        "zero": w * 0,
        "negative": -w,
        "float64": w.double(),
        "infinite": poked(w, INF),
    }
    return [Sample(f"{name}: {kind}", {"input": x, "target": t, name: value}) for kind, value in kinds.items()]


def _bce() -> list[Sample]:
    p, t = uniform(rng(1), 4, 3), uniform(rng(2), 4, 3)
    certain = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.5, 1e-45, 1 - 2**-24])
    return [
        *_elements(p, t),
        *_weighted(p, t, "weight"),
        Sample("certain and wrong", {"input": certain, "target": torch.tensor([0.0, 1.0, 0.0, 1.0, 0.5, 1.0, 0.0])}),
        Sample("bool targets", {"input": p, "target": t > 0.5}),
    ]


def _extreme(x: torch.Tensor, t: torch.Tensor) -> list[Sample]:
    return [
        Sample("extreme logits", {"input": x * 1e4, "target": t}),
        Sample("tiny logits", {"input": x * 1e-30, "target": t}),
        Sample("infinities and NaN", {"input": poked(x, INF, -INF, NAN, INF), "target": poked(t, 1.0, 0.0, 1.0, 0.0)}),
        Sample("targets outside [0, 1]", {"input": x, "target": t * 5 - 2}),
        Sample("bool targets", {"input": x, "target": t > 0.5}),
    ]


def _logits() -> list[Sample]:
    x, t = normal(rng(3), 4, 3), uniform(rng(4), 4, 3)
    image = normal(rng(5), 2, 3, 2, 2)
    both: Kwargs = {"weight": t[:, :1], "pos_weight": t[0] * 3}
    return [
        *_elements(x, t),
        *_extreme(x, t),
        *_weighted(x, t, "weight"),
        *_weighted(x, t, "pos_weight"),
        Sample("weight and pos_weight", {"input": x, "target": t, **both}),
        Sample(
            "pos_weight of an image", {"input": image, "target": image.sigmoid(), "pos_weight": torch.tensor([[[1.0]], [[2.0]], [[3.0]]])}
        ),
    ]


def _multilabel_soft() -> list[Sample]:
    x, t = normal(rng(6), 4, 3), uniform(rng(7), 4, 3)
    return [
        *_common(x, t),
        *_extreme(x, t),
        *_weighted(x, t, "weight"),
        Sample("one class", {"input": x[:, :1], "target": t[:, :1]}),
        Sample("no rows of many", {"input": x.reshape(2, 2, 3)[:, :0], "target": t.reshape(2, 2, 3)[:, :0]}),
    ]


def _soft_margin() -> list[Sample]:
    x, t = normal(rng(8), 4, 3), signs(rng(9), 4, 3)
    return [
        *_elements(x, t),
        Sample("int32 targets", {"input": x, "target": t.to(torch.int32)}),
        Sample("ones that are bool", {"input": x, "target": t.abs() > 0}),
        Sample("logits near torch's limit", {"input": poked(x, 80.0, -80.0), "target": t}),
        Sample("torch overflows: logits of 1e4", {"input": x * 1e4, "target": t}, torch=False),
        Sample("infinities and NaN", {"input": poked(x, INF, -INF, NAN), "target": t}),
        Sample("any targets", {"input": x, "target": poked(t, 0.0, 0.5, 2.0, NAN), "allow_any_target": True}),
        Sample("targets of a column", {"input": x, "target": t[:, :1]}),
        Sample("0-d targets", {"input": x, "target": t[0, 0]}),
    ]


# -- errors


def _pair_errors(x: torch.Tensor, t: torch.Tensor) -> list[ErrorInput]:
    return [
        ErrorInput("a target that would broadcast", {"input": x, "target": t[:1]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("a target of another rank", {"input": x, "target": t[0, 0]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("integer inputs", {"input": x.to(torch.int64), "target": t}, "DTYPE_UNSUPPORTED", "input"),
        ErrorInput("rejected NaN", {"input": x, "target": poked(t, NAN), "reject_non_finite": True}, "NON_FINITE_INPUT", "target"),
    ]


def _weight_errors(x: torch.Tensor, t: torch.Tensor, name: str) -> list[ErrorInput]:
    good: Kwargs = {"input": x, "target": t}
    shapes = {"too few": t[0, :2], "a row's shape": t[:, 0], "more rows": t.repeat(2, 1), "more extents": t[None].expand(2, 4, 3)}
    return [
        *(ErrorInput(f"{name}: {kind}", good | {name: value}, "SHAPE_MISMATCH", name) for kind, value in shapes.items()),
        ErrorInput(f"{name} that would enlarge", {"input": x[:, :1], "target": t[:, :1], name: t[0]}, "SHAPE_MISMATCH", name),
    ]


def _out_of_range(good: Kwargs, name: str, reason: str, *values: float) -> list[ErrorInput]:
    return [ErrorInput(f"{name} {v}", good | {name: poked(good[name], v)}, reason, name) for v in values]


_X, _P, _T = normal(rng(10), 4, 3), uniform(rng(11), 4, 3), uniform(rng(12), 4, 3)
_SIGNED = {"input": _X, "target": signs(rng(13), 4, 3)}
_AXES = {"input": 0, "target": 0, "weight": 0, "pos_weight": 0}

LOSSES = (
    LossSamples(
        name="binary_cross_entropy",
        rpc="BceLoss",
        samples=_bce(),
        errors=[
            *_pair_errors(_P, _T)[:3],
            *_weight_errors(_P, _T, "weight"),
            *_out_of_range({"input": _P, "target": _T}, "input", "VALUE_OUT_OF_RANGE", -1e-6, 1.000001, NAN, INF),
            *_out_of_range({"input": _P, "target": _T}, "target", "TARGET_OUT_OF_RANGE", -1e-6, 1.000001, NAN, -INF),
        ],
        cases=lambda sizes: _cases(sizes, optional=("weight",), logits=False),
        batched=_AXES,
        broadcast=("weight",),
        per_class=(),
        free=(),
    ),
    LossSamples(
        name="binary_cross_entropy_with_logits",
        rpc="BceWithLogitsLoss",
        samples=_logits(),
        errors=[*_pair_errors(_X, _T), *_weight_errors(_X, _T, "weight"), *_weight_errors(_X, _T, "pos_weight")],
        cases=lambda sizes: _cases(sizes, optional=("weight", "pos_weight")),
        batched=_AXES,
        broadcast=("weight", "pos_weight"),
        per_class=(),
        free=("input", "target"),
    ),
    LossSamples(
        name="soft_margin_loss",
        rpc="SoftMarginLoss",
        samples=_soft_margin(),
        errors=[
            _pair_errors(_X, _SIGNED["target"])[2],
            ErrorInput("a row and a column", {"input": _X[:1], "target": _SIGNED["target"][:, :1]}, "SHAPE_MISMATCH", "target"),
            ErrorInput("an input of a lower rank", {"input": _X[0], "target": _SIGNED["target"]}, "SHAPE_MISMATCH", "target"),
            ErrorInput("one row fewer", {"input": _X, "target": _SIGNED["target"][1:]}, "SHAPE_MISMATCH", "target"),
            *_out_of_range(_SIGNED, "target", "TARGET_OUT_OF_RANGE", 0.0, 0.5, 2.0, NAN),
            ErrorInput("0/1 labels", {"input": _X, "target": (_X > 0).to(torch.int64)}, "TARGET_OUT_OF_RANGE", "target"),
            ErrorInput("bool labels", {"input": _X, "target": _X > 0}, "TARGET_OUT_OF_RANGE", "target"),
        ],
        cases=_signed,
        batched=_AXES,
    ),
    LossSamples(
        name="multilabel_soft_margin_loss",
        rpc="MultiLabelSoftMarginLoss",
        samples=_multilabel_soft(),
        errors=[
            *_pair_errors(_X, _T),
            *_weight_errors(_X, _T, "weight"),
            ErrorInput("0-d", {"input": _X[0, 0], "target": _T[0, 0]}, "SHAPE_MISMATCH", "input"),
            ErrorInput("no classes", {"input": _X[:, :0], "target": _T[:, :0]}, "SHAPE_MISMATCH", "input"),
        ],
        cases=lambda sizes: _cases(sizes, optional=("weight",), rows=True),
        batched=_AXES,
        row_rank=1,
        broadcast=("weight",),
        per_class=(),
        free=("input", "target"),
    ),
)
