# SPDX-License-Identifier: Apache-2.0
"""Samples of L1, MSE, smooth L1 and Huber."""

import math

import torch
from hypothesis import strategies as st

from samples.record import ErrorInput, Kwargs, LossSamples, Sample, Sizes, apart, normal, poked, real_targets, rng, scales, seeds, uniform

INF, NAN = math.inf, math.nan

_AXES = {"input": 0, "target": 0, "weight": 0}


@st.composite
def _pairs(draw: st.DrawFn, sizes: Sizes, *, weight: bool = False, **params: st.SearchStrategy[float]) -> Kwargs:
    generator, shape, scale = draw(seeds), draw(sizes.shapes), draw(scales)
    kwargs: Kwargs = {"input": normal(generator, *shape, scale=scale), "target": draw(real_targets(generator, shape, scale))}
    if weight and draw(st.booleans()):
        kwargs["weight"] = draw(st.sampled_from([uniform, normal]))(generator, *shape)
    return kwargs | {name: draw(values) for name, values in params.items() if draw(st.booleans())}


def _samples() -> list[Sample]:
    generator = rng(1)
    x, t = normal(generator, 4, 3), normal(generator, 4, 3)
    return [
        Sample("a batch", {"input": x, "target": t}),
        Sample("0-d", {"input": x[0, 0], "target": t[0, 0]}),
        Sample("one extent", {"input": x[0], "target": t[0]}),
        Sample("eight extents", {"input": x[:1].reshape(1, 1, 1, 3, 1, 1, 1, 1), "target": t[:1].reshape(1, 1, 1, 3, 1, 1, 1, 1)}),
        Sample("an empty batch", {"input": x[:0], "target": t[:0]}),
        Sample("an empty inner extent", {"input": x[:, :0], "target": t[:, :0]}),
        Sample("not contiguous", {"input": apart(x), "target": apart(t)}),
        Sample("transposed", {"input": x.T, "target": t.T}),
        Sample("equal", {"input": x, "target": x}),
        Sample("integer targets", {"input": x, "target": t.to(torch.int64)}),
        Sample("bool targets", {"input": x, "target": t > 0}),
        Sample("uint8 targets", {"input": x, "target": t.abs().to(torch.uint8)}),
        Sample("infinities and NaN", {"input": poked(x, INF, -INF, NAN, INF, 0.0), "target": poked(t, 0.0, 1.0, 2.0, INF, -INF)}),
        Sample("denormals", {"input": x * 1e-39, "target": t * 1e-39}),
        Sample("large", {"input": x * 1e18, "target": -t * 1e18}),
        Sample("two extents of one", {"input": x[:1, :1], "target": t[:1, :1]}),
        Sample("larger than a vector", {"input": normal(generator, 1000), "target": normal(generator, 1000)}),
    ]


def _weighted() -> list[Sample]:
    generator = rng(2)
    x, t, w = normal(generator, 4, 3), normal(generator, 4, 3), uniform(generator, 4, 3)
    return [
        Sample("weights", {"input": x, "target": t, "weight": w}),
        Sample("negative weights", {"input": x, "target": t, "weight": -w}),
        Sample("zero weights", {"input": x, "target": t, "weight": torch.zeros(4, 3)}),
        Sample("weights that add up to zero", {"input": x[:2], "target": t[:2], "weight": torch.tensor([[1.0], [-1.0]]).expand(2, 3)}),
        Sample("an infinite weight", {"input": x, "target": t, "weight": poked(w, INF)}),
        Sample("a 0-d weight", {"input": x[0, 0], "target": t[0, 0], "weight": w[0, 0]}),
        Sample("float64 weights", {"input": x, "target": t, "weight": w.double()}),
        Sample("no rows, weighted", {"input": x[:0], "target": t[:0], "weight": w[:0]}),
    ]


def _errors() -> list[ErrorInput]:
    x = normal(rng(3), 4, 3)
    return [
        ErrorInput("a target that would broadcast", {"input": x, "target": x[:1]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("a transposed target", {"input": x, "target": x.T}, "SHAPE_MISMATCH", "target"),
        ErrorInput("a 0-d target", {"input": x, "target": x[0, 0]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("a column against a row", {"input": x[:, :1], "target": x[:, 0]}, "SHAPE_MISMATCH", "target"),
        ErrorInput("integer inputs", {"input": x.to(torch.int64), "target": x}, "DTYPE_UNSUPPORTED", "input"),
        ErrorInput("bool inputs", {"input": x > 0, "target": x}, "DTYPE_UNSUPPORTED", "input"),
        ErrorInput("batchmean", {"input": x, "target": x, "reduction": "batchmean"}, "REDUCTION_UNSUPPORTED", "reduction"),
        ErrorInput("rejected NaN", {"input": poked(x, NAN), "target": x, "reject_non_finite": True}, "NON_FINITE_INPUT", "input"),
        ErrorInput("rejected infinity", {"input": x, "target": poked(x, INF), "reject_non_finite": True}, "NON_FINITE_INPUT", "target"),
    ]


def _weight_errors() -> list[ErrorInput]:
    x = normal(rng(4), 4, 3)
    return [
        ErrorInput("a weight that would broadcast", {"input": x, "target": x, "weight": x[:1]}, "SHAPE_MISMATCH", "weight"),
        ErrorInput("a weight that would enlarge", {"input": x, "target": x, "weight": x.expand(2, 4, 3)}, "SHAPE_MISMATCH", "weight"),
    ]


def _param_errors(name: str, *values: float) -> list[ErrorInput]:
    x = normal(rng(5), 4, 3)
    return [ErrorInput(f"{name} {v}", {"input": x, "target": -x, name: v}, "HYPERPARAMETER_OUT_OF_RANGE", name) for v in values]


def _params(name: str, *values: float) -> list[Sample]:
    # Distances of exactly the threshold among them.
    x = torch.tensor([0.0, 0.25, 0.5, 1.0, 2.0, 1e-9, 100.0])
    return [Sample(f"{name} {value:g}", {"input": x, "target": -x, name: value}) for value in values]


_betas = st.sampled_from([0.0, 1e-3, 0.5, 1.0, 7.0])
_deltas = st.sampled_from([1e-3, 0.5, 1.0, 7.0, INF])

LOSSES = (
    LossSamples(
        name="l1_loss",
        rpc="L1Loss",
        samples=[*_samples(), *_weighted()],
        errors=[*_errors(), *_weight_errors()],
        cases=lambda sizes: _pairs(sizes, weight=True),
        batched=_AXES,
        per_class=(),
    ),
    LossSamples(
        name="mse_loss",
        rpc="MseLoss",
        samples=[*_samples(), *_weighted()],
        errors=[*_errors(), *_weight_errors()],
        cases=lambda sizes: _pairs(sizes, weight=True),
        batched=_AXES,
        per_class=(),
    ),
    LossSamples(
        name="smooth_l1_loss",
        rpc="SmoothL1Loss",
        samples=[*_samples(), *_params("beta", 0.0, 0.5, 1.0, 1e-3, 1e6)],
        errors=[*_errors(), *_param_errors("beta", -1.0, -1e-9, INF, NAN)],
        cases=lambda sizes: _pairs(sizes, beta=_betas),
        batched=_AXES,
    ),
    LossSamples(
        name="huber_loss",
        rpc="HuberLoss",
        samples=[*_samples(), *_weighted(), *_params("delta", 0.5, 1.0, 1e-3, 1e6, INF)],
        errors=[*_errors(), *_weight_errors(), *_param_errors("delta", 0.0, -1.0, NAN)],
        cases=lambda sizes: _pairs(sizes, weight=True, delta=_deltas),
        batched=_AXES,
        per_class=(),
    ),
)
