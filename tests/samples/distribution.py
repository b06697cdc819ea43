# SPDX-License-Identifier: Apache-2.0
"""Samples of KL divergence, Poisson and Gaussian negative log-likelihood."""

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
    labels,
    map_tensors,
    normal,
    poked,
    real_targets,
    rng,
    scales,
    seeds,
    uniform,
)

INF, NAN = math.inf, math.nan


def _log_softmax(x: torch.Tensor) -> torch.Tensor:
    return x.log_softmax(-1) if x.ndim else x


def _softmax(x: torch.Tensor) -> torch.Tensor:
    return x.softmax(-1) if x.ndim else x.sigmoid()


# -- KL divergence


@st.composite
def _divergences(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, shape, log_target = draw(seeds), draw(sizes.shapes), draw(st.booleans())
    target = normal(generator, *shape, scale=2.0)
    kind = draw(st.sampled_from(["probabilities", "zeros", "integers"]))
    if kind == "integers":
        target = labels(generator, 3, *shape)
    elif log_target:
        target = _log_softmax(target)
    else:
        target = _softmax(target) * (uniform(generator, *shape) > 0.3 if kind == "zeros" else 1)
    return {"input": _log_softmax(normal(generator, *shape, scale=2.0)), "target": target, "log_target": log_target}


def _kl_samples() -> list[Sample]:
    generator = rng(1)
    x, t = _log_softmax(normal(generator, 4, 3)), _softmax(normal(generator, 4, 3))
    hot = torch.eye(4, 3)
    return [
        Sample("a batch", {"input": x, "target": t}),
        Sample("log targets", {"input": x, "target": t.log(), "log_target": True}),
        Sample("0-d", {"input": x[0, 0], "target": t[0, 0]}),
        Sample("one extent", {"input": x[0], "target": t[0]}),
        Sample("three extents", {"input": x.reshape(2, 2, 3), "target": t.reshape(2, 2, 3)}),
        Sample("an empty batch", {"input": x[:0], "target": t[:0]}),
        Sample("an empty inner extent", {"input": x[:, :0], "target": t[:, :0]}),
        Sample("not contiguous", {"input": apart(x), "target": t.T.contiguous().T}),
        Sample("zero targets", {"input": x, "target": hot}),
        Sample("integer targets", {"input": x, "target": hot.to(torch.int64)}),
        Sample("bool targets", {"input": x, "target": hot.to(torch.bool)}),
        Sample("minus infinity at a zero target", {"input": poked(x, -INF, -INF), "target": poked(t, 0.0, 0.5)}),
        Sample("minus infinity in log targets", {"input": x, "target": poked(t.log(), -INF), "log_target": True}),
        Sample("negative targets", {"input": x, "target": -t}),
        Sample("NaN", {"input": poked(x, NAN), "target": t}),
    ]


def _pair_errors(x: torch.Tensor, t: torch.Tensor, **rest: Any) -> list[ErrorInput]:
    return [
        ErrorInput("a target that would broadcast", {"input": x, "target": t[:1], **rest}, "SHAPE_MISMATCH", "target"),
        ErrorInput("a target of another rank", {"input": x, "target": t.reshape(-1), **rest}, "SHAPE_MISMATCH", "target"),
        ErrorInput("integer inputs", {"input": x.to(torch.int64), "target": t, **rest}, "DTYPE_UNSUPPORTED", "input"),
        ErrorInput("rejected NaN", {"input": poked(x, NAN), "target": t, "reject_non_finite": True, **rest}, "NON_FINITE_INPUT", "input"),
    ]


# -- Poisson


@st.composite
def _counts(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, shape, log_input = draw(seeds), draw(sizes.shapes), draw(st.booleans())
    x = normal(generator, *shape, scale=2.0) if log_input else uniform(generator, *shape, high=draw(st.sampled_from([1.0, 50.0])))
    target = draw(real_targets(generator, shape, 2.0))
    kwargs = {"input": x, "target": target, "log_input": log_input, "full": draw(st.booleans())}
    return kwargs | ({"eps": draw(st.sampled_from([1e-8, 1e-3, 0.5]))} if draw(st.booleans()) else {})


def _poisson_samples() -> list[Sample]:
    generator = rng(2)
    x, t = normal(generator, 4, 3), labels(generator, 6, 4, 3).float()
    rate, steps = x.abs(), torch.tensor([0.0, 0.5, 1.0, 1.0000001, 2.0, 1e4, -1.0])
    return [
        Sample("a batch", {"input": x, "target": t}),
        Sample("full", {"input": x, "target": t, "full": True}),
        Sample("rates", {"input": rate, "target": t, "log_input": False}),
        Sample("rates, full", {"input": rate, "target": t, "log_input": False, "full": True}),
        Sample("a rate of zero", {"input": poked(rate, 0.0, 0.0), "target": poked(t, 0.0, 2.0), "log_input": False}),
        Sample("a large eps", {"input": rate, "target": t, "log_input": False, "eps": 0.5}),
        Sample("targets around one, full", {"input": steps.abs(), "target": steps, "full": True, "log_input": False}),
        Sample("negative targets", {"input": x, "target": -t}),
        Sample("0-d", {"input": x[0, 0], "target": t[0, 0]}),
        Sample("an empty batch", {"input": x[:0], "target": t[:0]}),
        Sample("an empty inner extent", {"input": x[:, :0], "target": t[:, :0]}),
        Sample("not contiguous", {"input": apart(x), "target": apart(t)}),
        Sample("integer targets", {"input": x, "target": t.to(torch.int32), "full": True}),
        Sample("bool targets", {"input": x, "target": t > 2}),
        Sample("infinities and NaN", {"input": poked(x, INF, -INF, NAN, 80.0), "target": poked(t, 1.0, 0.0, 1.0, 1.0)}),
        Sample("infinite rates", {"input": poked(rate, INF, NAN), "target": t, "log_input": False}),
    ]


def _poisson_errors() -> list[ErrorInput]:
    x = normal(rng(3), 4, 3)
    rate = {"input": x.abs(), "target": x.abs(), "log_input": False}
    return [
        *_pair_errors(x, x),
        ErrorInput("a negative rate", rate | {"input": poked(x.abs(), -1e-6)}, "VALUE_OUT_OF_RANGE", "input"),
        ErrorInput("a rate of minus infinity", rate | {"input": poked(x.abs(), -INF)}, "VALUE_OUT_OF_RANGE", "input"),
        *(ErrorInput(f"eps {v}", rate | {"eps": v}, "HYPERPARAMETER_OUT_OF_RANGE", "eps") for v in (0.0, -1.0, INF, NAN)),
    ]


# -- Gaussian


@st.composite
def _gaussians(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, shape, scale = draw(seeds), draw(sizes.shapes), draw(scales)
    x, t = normal(generator, *shape, scale=scale), draw(real_targets(generator, shape, scale))
    kinds = ["number", "full"] + ["rows"] * bool(shape and shape[-1] != 1) + ["one"] * (len(shape) > 1 and 1 not in shape)
    kind, high = draw(st.sampled_from(kinds)), draw(st.sampled_from([1.0, 100.0]))
    var: Any = draw(st.sampled_from([0.0, 1e-9, 0.5, 3, 4.0]))
    if kind == "full":
        var = uniform(generator, *shape, high=high)
    elif kind == "rows":
        var = uniform(generator, *shape[:-1], high=high)
    elif kind == "one":
        axis = draw(st.integers(0, len(shape) - 1))
        var = uniform(generator, *shape[:axis], 1, *shape[axis + 1 :], high=high)
    kwargs = {"input": x, "target": t, "var": var, "full": draw(st.booleans())}
    return kwargs | ({"eps": draw(st.sampled_from([1e-6, 1e-3, 0.5]))} if draw(st.booleans()) else {})


def torch_gaussian(var: Any, **kwargs: Any) -> torch.Tensor:
    """torch refuses variances that are Python integers, and broadcasts 0-d ones not at all."""
    return torch.nn.functional.gaussian_nll_loss(var=float(var) if isinstance(var, int) else var, **kwargs)


def _split_gaussian(kwargs: Kwargs, extents: list[int]) -> list[Kwargs]:
    x, var = kwargs["input"], kwargs["var"]
    if isinstance(var, torch.Tensor):
        kwargs = kwargs | {"var": (var.unsqueeze(-1) if var.ndim < x.ndim else var).expand(x.shape)}
    parts = [map_tensors(kwargs, lambda _, tensor: tensor.split(extents)) for _ in extents]
    return [map_parts(part, index) for index, part in enumerate(parts)]


def map_parts(kwargs: Kwargs, index: int) -> Kwargs:
    """The index-th piece of each argument that was split."""
    return {name: value[index] if isinstance(value, tuple) else value for name, value in kwargs.items()}


def _gaussian_samples() -> list[Sample]:
    generator = rng(4)
    x, t, v = normal(generator, 4, 3), normal(generator, 4, 3), uniform(generator, 4, 3)
    return [
        Sample("a batch", {"input": x, "target": t, "var": v}),
        Sample("full", {"input": x, "target": t, "var": v, "full": True}),
        Sample("one variance a row", {"input": x, "target": t, "var": v[:, 0]}),
        Sample("one variance a row, kept extent", {"input": x, "target": t, "var": v[:, :1]}),
        Sample("one variance a column", {"input": x, "target": t, "var": v[:1]}),
        Sample("a variance that is a number", {"input": x, "target": t, "var": 0.3}),
        Sample("a variance that is an integer", {"input": x, "target": t, "var": 2}),
        Sample("a variance of zero", {"input": x, "target": t, "var": 0.0}),
        Sample("variances under eps", {"input": x, "target": t, "var": poked(v, 0.0, 1e-12), "eps": 1e-2}),
        Sample("0-d", {"input": x[0, 0], "target": t[0, 0], "var": v[0, 0]}),
        Sample("0-d, a number", {"input": x[0, 0], "target": t[0, 0], "var": 0.5}),
        Sample("one extent, 0-d variance", {"input": x[0], "target": t[0], "var": v[0, 0]}),
        Sample("three extents", {"input": x.reshape(2, 2, 3), "target": t.reshape(2, 2, 3), "var": v.reshape(2, 2, 3)[:, :1]}),
        Sample("a target of a column", {"input": x, "target": t[:, :1], "var": v}),
        Sample("a target of a row", {"input": x, "target": t[0], "var": v[:, 0]}),
        Sample("a 0-d target", {"input": x, "target": t[0, 0], "var": v[:1]}),
        Sample("an input of a lower rank", {"input": x[0], "target": t, "var": v[0]}),
        Sample("an input of one row", {"input": x[:1], "target": t, "var": v[:1, 0]}),
        Sample("an empty batch", {"input": x[:0], "target": t[:0], "var": v[:0]}),
        Sample("an empty batch, a number", {"input": x[:0], "target": t[:0], "var": 1.0}),
        Sample("not contiguous", {"input": apart(x), "target": apart(t), "var": apart(v)}),
        Sample("integer targets", {"input": x, "target": t.to(torch.int64), "var": v}),
        Sample("float64 variances", {"input": x, "target": t, "var": v.double()}),
        Sample("infinities and NaN", {"input": poked(x, INF, NAN), "target": t, "var": poked(v, 1.0, 1.0, INF, NAN)}),
    ]


def _gaussian_errors() -> list[ErrorInput]:
    x, v = normal(rng(5), 4, 3), uniform(rng(6), 4, 3)
    good = {"input": x, "target": -x, "var": v}
    shapes = {"another shape": v[:2], "two extents of one": v[:1, :1], "a larger shape": v.expand(2, 4, 3), "a column's shape": v[0]}
    return [
        *_pair_errors(x, x, var=v)[1:],
        ErrorInput("a row and a column", {"input": x[:1], "target": x[:, :1], "var": v[:1]}, "SHAPE_MISMATCH", "target"),
        *(ErrorInput(f"variances of {k}", good | {"var": var}, "SHAPE_MISMATCH", "variance_values") for k, var in shapes.items()),
        ErrorInput("a negative variance", good | {"var": poked(v, -1e-6)}, "VALUE_OUT_OF_RANGE", "variance_values"),
        ErrorInput("a negative number", good | {"var": -1.0}, "VALUE_OUT_OF_RANGE", "variance_scalar"),
        *(ErrorInput(f"eps {e}", good | {"eps": e}, "HYPERPARAMETER_OUT_OF_RANGE", "eps") for e in (0.0, -1.0, INF, NAN)),
    ]


_PAIR = {"input": 0, "target": 0}

LOSSES = (
    LossSamples(
        name="kl_div",
        rpc="KlDivLoss",
        samples=_kl_samples(),
        errors=_pair_errors(normal(rng(7), 4, 3), uniform(rng(8), 4, 3)),
        cases=_divergences,
        batched=_PAIR,
        reductions=("mean", "sum", "none", "batchmean"),
    ),
    LossSamples(
        name="poisson_nll_loss",
        rpc="PoissonNllLoss",
        samples=_poisson_samples(),
        errors=_poisson_errors(),
        cases=_counts,
        batched=_PAIR,
        free=("target",),
    ),
    LossSamples(
        name="gaussian_nll_loss",
        rpc="GaussianNllLoss",
        samples=_gaussian_samples(),
        errors=_gaussian_errors(),
        cases=_gaussians,
        batched=_PAIR,
        function=torch_gaussian,
        pieces=_split_gaussian,
        free=("input", "target"),
    ),
)
