# SPDX-License-Identifier: Apache-2.0
"""Margin ranking, hinge and cosine embedding, and the triplet losses."""

import math

import torch
import torch.nn.functional as F

from lossd_server.losses import checks, row_sums
from lossd_server.losses.spec import Arguments, Arrangement, Coalescing, Flag, Group, Kind, LossSpec, Real, Tensor

Distance = tuple[str, float, float]  # the field of its message, p, eps

# A general power of an element takes as long as this many multiply-adds.
_POWER_OPERATIONS = 10
_CHEAP_POWERS = (1.0, 2.0, math.inf)


def margin_ranking_loss(
    input1: torch.Tensor, input2: torch.Tensor, target: torch.Tensor, margin: float, allow_any_target: bool
) -> torch.Tensor:
    """max(0, -t (x1 - x2) + margin). torch.nn.functional.margin_ranking_loss."""
    return F.margin_ranking_loss(input1, input2, target, margin=margin, reduction="none")


def hinge_embedding_loss(input: torch.Tensor, target: torch.Tensor, margin: float, allow_any_target: bool) -> torch.Tensor:
    """t = 1: x; t = -1: max(0, margin - x); any other t: both. torch.nn.functional.hinge_embedding_loss."""
    return F.hinge_embedding_loss(input, target, margin=margin, reduction="none")


def cosine_embedding_loss(
    input1: torch.Tensor, input2: torch.Tensor, target: torch.Tensor, margin: float, allow_any_target: bool
) -> torch.Tensor:
    """t = 1: 1 - cos; t = -1: max(0, cos - margin); any other t: 0. cos = x1 x2 / sqrt((|x1|^2 + e) (|x2|^2 + e)) with torch's e = 1e-12.

    torch.nn.functional.cosine_embedding_loss.
    """
    square1, square2 = row_sums.total(input1 * input1) + 1e-12, row_sums.total(input2 * input2) + 1e-12
    cosine = row_sums.total(input1 * input2) / (square1 * square2).sqrt()
    far = (cosine - margin).clamp(min=0)
    return torch.where(target == 1, 1 - cosine, torch.where(target == -1, far, 0.0) if allow_any_target else far)


def triplet_margin_loss(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float, p: float, eps: float, swap: bool
) -> torch.Tensor:
    """max(0, d(a, p) - d(a, n) + margin), d the p-norm of u - v + eps. torch.nn.functional.triplet_margin_loss."""
    return triplet_margin_with_distance_loss(anchor, positive, negative, margin, swap, ("pairwise_distance", p, eps))


def triplet_margin_with_distance_loss(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float, swap: bool, distance: Distance
) -> torch.Tensor:
    """max(0, d(a, p) - d(a, n) + margin); swap replaces d(a, n) by min(d(a, n), d(p, n)).

    torch.nn.functional.triplet_margin_with_distance_loss.
    """
    far = _distance(anchor, negative, distance)
    if swap:
        # torch.minimum writes NaN with other bits at the end of a tensor than inside one.
        other = _distance(positive, negative, distance)
        far = torch.where((other < far) | other.isnan(), other, far)
    return (margin + _distance(anchor, positive, distance) - far).clamp(min=0)


def _distance(u: torch.Tensor, v: torch.Tensor, distance: Distance) -> torch.Tensor:
    """torch.nn.functional.pairwise_distance, 1 - cosine_similarity, or sum (u - v)^2."""
    kind, p, eps = distance
    if kind == "pairwise_distance":
        return row_sums.norm(u - v + eps, p)
    if kind == "squared_euclidean_distance":
        return row_sums.total((u - v).square())
    lengths = [row_sums.norm(x, 2.0).clamp(min=eps).unsqueeze(-1) for x in (u, v)]
    return 1 - row_sums.total((u / lengths[0]) * (v / lengths[1]))


# -- columns


def _row_columns(arguments: Arguments, first: str, *others: str) -> Arrangement:
    """Vectors of the first one's shape, flattened to rows."""
    array = arguments[first]
    width = checks.expect_extent(array, first, -1, "the length of the vectors")
    for name in others:
        checks.same_shape(arguments, name, first)
    output_shape = array.shape[:-1]
    count = math.prod(output_shape)
    columns = {name: arguments[name].reshaped(count, width) for name in (first, *others)}
    # The norms and products of a row from which the distances are computed.
    return Arrangement(columns=columns, rows=count, output_shape=output_shape, extra_workspace_elements=10 * count)


_signs = checks.all_of(checks.plus_minus_one())


def _cosine_columns(arguments: Arguments) -> Arrangement:
    checks.expect_rank(arguments["input1"], "input1", (1, 2))
    arrangement = _row_columns(arguments, "input1", "input2")
    target = arguments["target"]
    checks.expect_shape(target, arrangement.output_shape, "target", f"input1 of shape {list(arguments['input1'].shape)}")
    arrangement.columns["target"] = target.reshaped(arrangement.rows)
    return arrangement


def _triplet_row_columns(arguments: Arguments, p: float) -> Arrangement:
    checks.expect_rank_at_least(arguments["anchor"], "anchor", 1)
    arrangement = _row_columns(arguments, "anchor", "positive", "negative")
    distances = 3 if arguments["swap"] else 2
    arrangement.operations = distances * arguments["anchor"].size * (1 if p in _CHEAP_POWERS else _POWER_OPERATIONS)
    return arrangement


def _triplet_columns(arguments: Arguments) -> Arrangement:
    return _triplet_row_columns(arguments, arguments["p"])


def _triplet_with_distance_columns(arguments: Arguments) -> Arrangement:
    kind = next((name for name in _DISTANCES if name in arguments), "pairwise_distance")
    chosen = arguments.get(kind, {})
    distance: Distance = (kind, chosen.get("p", 2.0), chosen.get("eps", 1e-6))
    arrangement = _triplet_row_columns(arguments, distance[1])
    arrangement.params["distance"] = distance
    return arrangement


_FLOAT = Tensor(Kind.FLOAT)
_REAL = Tensor(Kind.REAL)
_TRIPLET = {"anchor": _FLOAT, "positive": _FLOAT, "negative": _FLOAT}
_TRIPLET_MARGIN = Real(1.0, above=0.0)
_NORM = {"p": Real(2.0, above=0.0, finite=False), "eps": Real(1e-6, minimum=0.0)}
_DISTANCES = {
    "pairwise_distance": Group(_NORM),
    "cosine_distance": Group({"eps": Real(1e-8, above=0.0)}),
    "squared_euclidean_distance": Group({}),
}

SPECS = (
    LossSpec(
        name="margin_ranking_loss",
        rpc="MarginRankingLoss",
        arguments={"input1": _FLOAT, "input2": _FLOAT, "target": _REAL, "margin": Real(0.0), "allow_any_target": Flag()},
        coalescing=Coalescing.ELEMENTS,
        to_columns=checks.broadcasting("input1", "input2", "target", equal_ranks=True),
        check_values=_signs,
        kernel=margin_ranking_loss,
        workspace_factor=4.0,
        nanoseconds_per_operation=2.5,
    ),
    LossSpec(
        name="hinge_embedding_loss",
        rpc="HingeEmbeddingLoss",
        arguments={"input": _FLOAT, "target": _REAL, "margin": Real(1.0), "allow_any_target": Flag()},
        coalescing=Coalescing.ELEMENTS,
        to_columns=checks.broadcasting("input", "target"),
        check_values=_signs,
        kernel=hinge_embedding_loss,
        workspace_factor=6.0,
        nanoseconds_per_operation=8.0,
    ),
    LossSpec(
        name="cosine_embedding_loss",
        rpc="CosineEmbeddingLoss",
        arguments={"input1": _FLOAT, "input2": _FLOAT, "target": _REAL, "margin": Real(0.0), "allow_any_target": Flag()},
        coalescing=Coalescing.ROWS,
        to_columns=_cosine_columns,
        check_values=_signs,
        kernel=cosine_embedding_loss,
        workspace_factor=3.0,
        nanoseconds_per_operation=2.0,
    ),
    LossSpec(
        name="triplet_margin_loss",
        rpc="TripletMarginLoss",
        arguments={**_TRIPLET, "margin": _TRIPLET_MARGIN, **_NORM, "swap": Flag()},
        coalescing=Coalescing.ROWS,
        to_columns=_triplet_columns,
        kernel=triplet_margin_loss,
        workspace_factor=5.0,
    ),
    LossSpec(
        name="triplet_margin_with_distance_loss",
        rpc="TripletMarginWithDistanceLoss",
        arguments={**_TRIPLET, "margin": _TRIPLET_MARGIN, "swap": Flag(), **_DISTANCES},
        coalescing=Coalescing.ROWS,
        to_columns=_triplet_with_distance_columns,
        kernel=triplet_margin_with_distance_loss,
        workspace_factor=7.0,
    ),
)
