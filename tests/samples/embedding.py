# SPDX-License-Identifier: Apache-2.0
"""Samples of margin ranking, hinge embedding, cosine embedding and the triplet margins."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st

from lossd import CosineDistance, PairwiseDistance, SquaredEuclideanDistance
from samples.embedding_errors import broadcast_errors, distance_errors, hyperparameter_errors, label_errors, shape_errors
from samples.record import ErrorInput, Kwargs, LossSamples, Sample, Sizes, apart, normal, poked, rng, scales, seeds, sign_types, signs

INF, NAN = math.inf, math.nan

_margins = st.sampled_from([-2.0, 0.0, 0.3, 1.0, 20.0])


@st.composite
def _elements(draw: st.DrawFn, sizes: Sizes, *, inputs: tuple[str, ...]) -> Kwargs:
    generator, shape, scale = draw(seeds), draw(sizes.shapes), draw(scales)
    kwargs: Kwargs = {name: normal(generator, *shape, scale=scale) for name in inputs}
    kwargs["target"] = signs(generator, *shape).to(draw(sign_types))
    return kwargs | ({"margin": draw(_margins)} if draw(st.booleans()) else {})


@st.composite
def _vectors(draw: st.DrawFn, sizes: Sizes) -> Kwargs:
    generator, width, batch, scale = draw(seeds), draw(sizes.width), draw(st.one_of(st.none(), sizes.batch)), draw(scales)
    outer = () if batch is None else (batch,)
    kwargs: Kwargs = {name: normal(generator, *outer, width, scale=scale) for name in ("input1", "input2")}
    kwargs["target"] = signs(generator, *outer).to(draw(sign_types))
    return kwargs | ({"margin": draw(st.sampled_from([-1.5, -0.5, 0.0, 0.3, 1.0]))} if draw(st.booleans()) else {})


@st.composite
def _triplets(draw: st.DrawFn, sizes: Sizes, *, params: st.SearchStrategy[Kwargs]) -> Kwargs:
    generator, width, scale = draw(seeds), draw(sizes.width), draw(scales)
    outer = draw(st.one_of(st.just(()), st.tuples(sizes.batch), st.builds(lambda batch, inner: (batch, *inner), sizes.batch, sizes.inner)))
    kwargs: Kwargs = {name: normal(generator, *outer, width, scale=scale) for name in ("anchor", "positive", "negative")}
    return (
        kwargs
        | draw(params)
        | draw(st.fixed_dictionaries({}, optional={"swap": st.booleans(), "margin": st.sampled_from([1e-3, 1.0, 40.0])}))
    )


_norms = st.fixed_dictionaries({}, optional={"p": st.sampled_from([0.5, 1.0, 1.5, 2, 3.0, INF]), "eps": st.sampled_from([0.0, 1e-6, 0.1])})
_distances = st.one_of(
    _norms.map(lambda norm: PairwiseDistance(**norm)),
    st.sampled_from([None, CosineDistance(), CosineDistance(eps=0.5), SquaredEuclideanDistance()]),
).map(lambda distance: {"distance_function": distance})


def _signed(x: Kwargs, t: torch.Tensor) -> list[Sample]:
    """Edges of the element-wise losses; `x` holds the inputs."""
    good = x | {"target": t}
    return [
        Sample("a batch", good),
        Sample("0-d", {n: v[0, 0] for n, v in good.items()}),
        Sample("one extent", {n: v[0] for n, v in good.items()}),
        Sample("three extents", {n: v.reshape(2, 2, 3) for n, v in good.items()}),
        Sample("an empty batch", {n: v[:0] for n, v in good.items()}),
        Sample("an empty inner extent", {n: v[:, :0] for n, v in good.items()}),
        Sample("not contiguous", {n: apart(v) for n, v in good.items()}),
        Sample("int64 labels", good | {"target": t.to(torch.int64)}),
        Sample("float64 labels", good | {"target": t.double()}),
        Sample("ones that are uint8", good | {"target": t.abs().to(torch.uint8)}),
        Sample("0/1 labels, allowed", good | {"target": (t > 0).to(torch.int64), "allow_any_target": True}),
        Sample("any labels", good | {"target": poked(t, 0.0, 0.5, 2.0, NAN), "allow_any_target": True}),
        Sample("labels that broadcast", good | {"target": t[:1]}),
        Sample("labels of a column", good | {"target": t[:, :1]}),
        Sample("inputs that broadcast", {n: v[:1] for n, v in x.items()} | {"target": t}),
        Sample("no rows, broadcast", {n: v[:0] for n, v in x.items()} | {"target": t[:1]}),
        Sample("equal inputs", {n: v * 0 for n, v in x.items()} | {"target": t}),
        Sample("infinities and NaN", {n: poked(v, INF, -INF, NAN) for n, v in x.items()} | {"target": t}),
        *(Sample(f"margin {m:g}", good | {"margin": m}) for m in (0.0, 0.5, -0.5, 1e6)),
    ]


def _other_ranks(good: Kwargs) -> list[Sample]:
    """Of which one argument has the shape of the result."""
    return [
        Sample("labels of a lower rank", good | {"target": good["target"][0]}),
        Sample("0-d labels", good | {"target": good["target"][0, 0]}),
        Sample("an input of a lower rank", good | {"input": good["input"][0]}),
    ]


def _cosine() -> list[Sample]:
    generator = rng(2)
    a, b, t = normal(generator, 6, 5), normal(generator, 6, 5), signs(generator, 6)
    good: Kwargs = {"input1": a, "input2": b, "target": t}
    return [
        Sample("a batch", good),
        Sample("unbatched", {"input1": a[0], "input2": b[0], "target": t[0]}),
        Sample("one extent", {"input1": a[:, :1], "input2": b[:, :1], "target": t}),
        Sample("the same vectors", good | {"input2": a}),
        Sample("opposite vectors", good | {"input2": -a}),
        Sample("zero vectors", good | {"input1": a * 0}),
        Sample("two zero vectors", good | {"input1": a * 0, "input2": a * 0}),
        Sample("tiny vectors", good | {"input1": a * 1e-5}),
        Sample("large vectors", good | {"input1": a * 1e8}),
        Sample("an empty batch", {n: v[:0] for n, v in good.items()}),
        Sample("int32 labels", good | {"target": t.to(torch.int32)}),
        Sample("not contiguous", good | {"input1": apart(a), "input2": b.T.contiguous().T}),
        Sample("infinities and NaN", good | {"input1": poked(a, NAN), "input2": b.flip(0)}),
        *(Sample(f"margin {m:g}", good | {"margin": m}) for m in (0.5, -0.5, 1.0, -3.0, 3.0)),
        Sample("other labels are 0", good | {"target": poked(t, 0.0, 2.0, NAN), "allow_any_target": True, "margin": 0.3}),
    ]


def _triplet() -> list[Sample]:
    generator = rng(3)
    good: Kwargs = {name: normal(generator, 6, 5) for name in ("anchor", "positive", "negative")}
    a = good["anchor"]
    return [
        Sample("a batch", good),
        Sample("unbatched", {n: v[0] for n, v in good.items()}),
        Sample("three extents", {n: v.reshape(2, 3, 5) for n, v in good.items()}),
        Sample("one extent of one", {n: v[:, :1] for n, v in good.items()}),
        Sample("an empty batch", {n: v[:0] for n, v in good.items()}),
        Sample("no rows of many", {n: v.reshape(2, 3, 5)[:, :0] for n, v in good.items()}),
        Sample("not contiguous", {n: apart(v) for n, v in good.items()}),
        Sample("all the same", dict.fromkeys(good, a)),
        Sample("swap", good | {"swap": True}),
        Sample("swap that matters", {"anchor": a, "positive": a + 1, "negative": a + 1.1, "swap": True}),
        Sample("margin 0.1", good | {"margin": 0.1}),
        Sample("infinities and NaN", good | {"anchor": poked(a, INF, *[0.0] * 4, NAN)}),
        Sample("mixed types", good | {"negative": good["negative"].double()}),
    ]


def _norm_samples() -> list[Sample]:
    good = _triplet()[0].kwargs
    return [
        *(Sample(f"p {p:g}", good | {"p": p}) for p in (0.5, 1.0, 1.5, 3.0, INF)),
        Sample("p an integer", good | {"p": 3}),
        *(Sample(f"eps {eps:g}", good | {"eps": eps}) for eps in (0.0, 0.1)),
        Sample("p 1, eps 0, swap", good | {"p": 1.0, "eps": 0.0, "swap": True}),
    ]


def _distance_samples() -> list[Sample]:
    good = _triplet()[0].kwargs
    cases = {
        "the default": None,
        "Euclidean": PairwiseDistance(),
        "p 1, eps 0": PairwiseDistance(p=1.0, eps=0.0),
        "p infinite": PairwiseDistance(p=INF),
        "cosine": CosineDistance(),
        "cosine, large eps": CosineDistance(eps=2.0),
        "squared": SquaredEuclideanDistance(),
    }
    zero = {"anchor": good["anchor"] * 0, "distance_function": CosineDistance()}
    return [
        *(Sample(f"distance: {n}", good | {"distance_function": d, "swap": d is not None}) for n, d in cases.items()),
        Sample("cosine of zero vectors", good | zero),
        Sample("squared, unbatched", {n: v[0] for n, v in good.items()} | {"distance_function": SquaredEuclideanDistance()}),
    ]


def torch_with_distance(distance_function: Any = None, **kwargs: Any) -> torch.Tensor:
    """The closed set of distances, as functions."""
    functions = {
        PairwiseDistance: lambda u, v: F.pairwise_distance(u, v, distance_function.p, distance_function.eps),
        CosineDistance: lambda u, v: 1 - F.cosine_similarity(u, v, -1, distance_function.eps),
        SquaredEuclideanDistance: lambda u, v: (u - v).square().sum(-1),
    }
    return F.triplet_margin_with_distance_loss(distance_function=functions.get(type(distance_function)), **kwargs)


_GENERATOR = rng(1)
_X, _Y, _T = normal(_GENERATOR, 4, 3), normal(_GENERATOR, 4, 3), signs(_GENERATOR, 4, 3)
_RANKED: Kwargs = {"input1": _X, "input2": _Y, "target": _T}
_HINGED: Kwargs = {"input": _X, "target": _T}
_COSINE: Kwargs = {"input1": _X, "input2": _Y, "target": _T[:, 0]}
_TRIPLET: Kwargs = {"anchor": _X, "positive": _Y, "negative": -_X}
_ROWS = {"anchor": 0, "positive": 0, "negative": 0}

LOSSES = (
    LossSamples(
        name="margin_ranking_loss",
        rpc="MarginRankingLoss",
        samples=_signed({"input1": _X, "input2": _Y}, _T),
        errors=[
            *broadcast_errors(_RANKED, "input2", "target"),
            ErrorInput("another rank", _RANKED | {"input2": _Y[0]}, "SHAPE_MISMATCH", "input2"),
            *label_errors(_RANKED),
            *hyperparameter_errors(_RANKED, "margin", INF, NAN),
        ],
        cases=lambda sizes: _elements(sizes, inputs=("input1", "input2")),
        batched={"input1": 0, "input2": 0, "target": 0},
        free=("input1", "input2"),
    ),
    LossSamples(
        name="hinge_embedding_loss",
        rpc="HingeEmbeddingLoss",
        samples=[*_signed({"input": _X}, _T), *_other_ranks({"input": _X, "target": _T})],
        errors=[*broadcast_errors(_HINGED, "target"), *label_errors(_HINGED), *hyperparameter_errors(_HINGED, "margin", INF, NAN)],
        cases=lambda sizes: _elements(sizes, inputs=("input",)),
        batched={"input": 0, "target": 0},
    ),
    LossSamples(
        name="cosine_embedding_loss",
        rpc="CosineEmbeddingLoss",
        samples=_cosine(),
        errors=[
            *shape_errors(_COSINE, "input2", "target"),
            *label_errors(_COSINE),
            *hyperparameter_errors(_COSINE, "margin", INF, NAN),
            ErrorInput("a column of labels", _COSINE | {"target": _T[:, :1]}, "SHAPE_MISMATCH", "target"),
            ErrorInput("three extents", {n: v[None] for n, v in _COSINE.items()}, "SHAPE_MISMATCH", "input1"),
            ErrorInput("0-d", {n: v.reshape(-1)[0] for n, v in _COSINE.items()}, "SHAPE_MISMATCH", "input1"),
            ErrorInput("no extent", _COSINE | {"input1": _X[:, :0], "input2": _X[:, :0]}, "SHAPE_MISMATCH", "input1"),
        ],
        cases=_vectors,
        batched={"input1": 0, "input2": 0, "target": 0},
        row_rank=1,
        free=("input1", "input2"),
    ),
    LossSamples(
        name="triplet_margin_loss",
        rpc="TripletMarginLoss",
        samples=[*_triplet(), *_norm_samples()],
        errors=[
            *shape_errors(_TRIPLET, "positive", "negative"),
            *hyperparameter_errors(_TRIPLET, "margin", 0.0, -1.0, INF, NAN),
            *hyperparameter_errors(_TRIPLET, "p", 0.0, -1.0, -INF, NAN),
            *hyperparameter_errors(_TRIPLET, "eps", -1e-6, INF, NAN),
            ErrorInput("0-d", {n: v[0, 0] for n, v in _TRIPLET.items()}, "SHAPE_MISMATCH", "anchor"),
            ErrorInput("no extent", {n: v[:, :0] for n, v in _TRIPLET.items()}, "SHAPE_MISMATCH", "anchor"),
        ],
        cases=lambda sizes: _triplets(sizes, params=_norms),
        batched=_ROWS,
        row_rank=1,
        free=tuple(_ROWS),
    ),
    LossSamples(
        name="triplet_margin_with_distance_loss",
        rpc="TripletMarginWithDistanceLoss",
        samples=[*_triplet(), *_distance_samples()],
        errors=[
            *shape_errors(_TRIPLET, "positive", "negative"),
            *hyperparameter_errors(_TRIPLET, "margin", 0.0, -1.0, INF, NAN),
            *distance_errors(_TRIPLET),
            ErrorInput("0-d", {n: v[0, 0] for n, v in _TRIPLET.items()}, "SHAPE_MISMATCH", "anchor"),
            ErrorInput("no extent", {n: v[:, :0] for n, v in _TRIPLET.items()}, "SHAPE_MISMATCH", "anchor"),
        ],
        cases=lambda sizes: _triplets(sizes, params=_distances),
        batched=_ROWS,
        row_rank=1,
        free=tuple(_ROWS),
        function=torch_with_distance,
    ),
)
