# SPDX-License-Identifier: Apache-2.0
"""Requests of the embedding losses that are refused."""

import math
from typing import Any

import torch

from lossd import CosineDistance, PairwiseDistance
from samples.record import ErrorInput, Kwargs, poked

INF, NAN = math.inf, math.nan


def shape_errors(good: Kwargs, *others: str) -> list[ErrorInput]:
    """Anything but the shape of the first argument."""
    first = next(iter(good))
    return [
        *(ErrorInput(f"{n} that would broadcast", good | {n: good[n][:1]}, "SHAPE_MISMATCH", n) for n in others),
        *(ErrorInput(f"{n} with one row fewer", good | {n: good[n][1:]}, "SHAPE_MISMATCH", n) for n in others),
        ErrorInput(f"integer {first}", good | {first: good[first].to(torch.int64)}, "DTYPE_UNSUPPORTED", first),
        ErrorInput("rejected NaN", good | {first: poked(good[first], NAN), "reject_non_finite": True}, "NON_FINITE_INPUT", first),
    ]


def broadcast_errors(good: Kwargs, *others: str) -> list[ErrorInput]:
    """Shapes that do not broadcast, and those whose result would be larger than every argument."""
    first = next(iter(good))
    row, column = good | {first: good[first][:1]}, {n: good[n][:, :1] for n in others}
    return [
        *(error for error in shape_errors(good, *others) if "broadcast" not in error.label),
        ErrorInput("a row and columns", row | column, "SHAPE_MISMATCH", others[0]),
    ]


def label_errors(good: Kwargs) -> list[ErrorInput]:
    t = good["target"]
    return [
        *(ErrorInput(f"a label of {v}", good | {"target": poked(t, v)}, "TARGET_OUT_OF_RANGE", "target") for v in (0.0, 0.5, 2.0, NAN)),
        ErrorInput("0/1 labels", good | {"target": (t > 0).to(torch.int64)}, "TARGET_OUT_OF_RANGE", "target"),
        ErrorInput("bool labels", good | {"target": t > 0}, "TARGET_OUT_OF_RANGE", "target"),
        ErrorInput("uint8 labels of 255", good | {"target": poked(t.abs(), 255).to(torch.uint8)}, "TARGET_OUT_OF_RANGE", "target"),
    ]


def hyperparameter_errors(good: Kwargs, name: str, *values: float) -> list[ErrorInput]:
    return [ErrorInput(f"{name} {v}", good | {name: v}, "HYPERPARAMETER_OUT_OF_RANGE", name) for v in values]


def distance_errors(good: Kwargs) -> list[ErrorInput]:
    wrong: dict[str, list[Any]] = {
        "pairwise_distance.p": [PairwiseDistance(p=p) for p in (0.0, -1.0, NAN)],
        "pairwise_distance.eps": [PairwiseDistance(eps=eps) for eps in (-1e-6, INF, NAN)],
        "cosine_distance.eps": [CosineDistance(eps=eps) for eps in (0.0, -1.0, INF, NAN)],
    }
    return [
        ErrorInput(str(distance), good | {"distance_function": distance}, "HYPERPARAMETER_OUT_OF_RANGE", field)
        for field, distances in wrong.items()
        for distance in distances
    ]
