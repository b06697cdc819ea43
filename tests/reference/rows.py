# SPDX-License-Identifier: Apache-2.0
"""Reference of the losses that have one value a row, of margins and distances."""

from typing import Any

import numpy as np

from lossd import CosineDistance, PairwiseDistance, SquaredEuclideanDistance
from reference.result import Array, Result, logit_bce, plain

# torch adds it to both squared norms: ATen/native/Loss.cpp, cosine_embedding_loss.
_COSINE_EPSILON = 1e-12


def multilabel_soft_margin_loss(input: Array, target: Array, weight: Array | None = None) -> Result:
    loss = logit_bce(input, target)
    return plain((loss if weight is None else loss * weight).mean(-1))


def multi_margin_loss(input: Array, target: Array, p: int = 1, margin: float = 1.0, weight: Array | None = None) -> Result:
    """sum over j != y of w_y max(0, margin - x_y + x_j)^p / C."""
    rows, y = np.atleast_2d(input), np.atleast_1d(target)
    loss = np.zeros(len(rows))
    for n, row in enumerate(rows):
        others = np.delete(row, y[n])
        scale = 1.0 if weight is None else weight[y[n]]
        loss[n] = (np.maximum(0, margin - row[y[n]] + others) ** p).sum() * scale / row.size
    return plain(loss.reshape(target.shape))


def multilabel_margin_loss(input: Array, target: Array) -> Result:
    """sum over labels j and non-labels i of max(0, 1 - (x_j - x_i)) / C; the first -1 ends the labels."""
    loss = np.zeros(input.shape[:-1])
    input, target = np.atleast_1d(input), np.atleast_1d(target)
    for index in np.ndindex(loss.shape):
        row, entries = input[index], target[index]
        ends = np.flatnonzero(entries == -1)
        labels = entries[: ends[0]] if ends.size else entries
        others = np.delete(row, labels)
        loss[index] = np.maximum(0, 1 - (row[labels][:, None] - others[None])).sum() / row.size
    return plain(loss)


def cosine_embedding_loss(input1: Array, input2: Array, target: Array, margin: float = 0) -> Result:
    squares = [(x * x).sum(-1) + _COSINE_EPSILON for x in (input1, input2)]
    cosine = (input1 * input2).sum(-1) / np.sqrt(squares[0] * squares[1])
    return plain(np.where(target == 1, 1 - cosine, np.where(target == -1, np.maximum(0, cosine - margin), 0.0)))


def triplet_margin_loss(anchor: Array, positive: Array, negative: Array, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
                        swap: bool = False) -> Result:  # fmt: skip
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=PairwiseDistance(p=p, eps=eps), margin=margin, swap=swap
    )


def triplet_margin_with_distance_loss(anchor: Array, positive: Array, negative: Array, *, distance_function: Any = None,
                                      margin: float = 1.0, swap: bool = False) -> Result:  # fmt: skip
    distance = _distance(distance_function or PairwiseDistance())
    apart = distance(anchor, negative)
    if swap:
        apart = np.minimum(apart, distance(positive, negative))
    return plain(np.maximum(0, distance(anchor, positive) - apart + margin))


def _distance(kind: Any) -> Any:
    def pairwise(u: Array, v: Array) -> Array:
        d = np.abs(u - v + kind.eps)
        if np.isinf(kind.p):
            return d.max(-1)
        largest = np.where((largest := d.max(-1)) == 0, 1.0, largest)  # keeps small and large norms in range
        return (((d / largest[..., None]) ** kind.p).sum(-1)) ** (1 / kind.p) * largest

    def cosine(u: Array, v: Array) -> Array:
        lengths = [np.maximum(np.sqrt((x * x).sum(-1)), kind.eps) for x in (u, v)]
        return 1 - (u * v).sum(-1) / (lengths[0] * lengths[1])

    def squared(u: Array, v: Array) -> Array:
        return ((u - v) ** 2).sum(-1)

    return {PairwiseDistance: pairwise, CosineDistance: cosine, SquaredEuclideanDistance: squared}[type(kind)]
