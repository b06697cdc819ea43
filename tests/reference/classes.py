# SPDX-License-Identifier: Apache-2.0
"""Reference of the losses over the classes of an input (C), (N, C) or (N, C, d1, ..., dK)."""

from collections.abc import Sequence

import numpy as np

from reference.result import Array, Result, log_softmax, plain


def nll_loss(input: Array, target: Array, weight: Array | None = None, ignore_index: int = -100) -> Result:
    """-w_y x_y, over the sum of w_y of the targets not ignored."""
    return _at_labels(input, target, weight, ignore_index, smoothing=0.0)


def cross_entropy(
    input: Array, target: Array, weight: Array | None = None, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Result:
    axis = 0 if input.ndim == 1 else 1
    log_p = log_softmax(input, axis)
    if target.dtype.kind == "i":
        return _at_labels(log_p, target, weight, ignore_index, label_smoothing)
    smooth = (1 - label_smoothing) * target + label_smoothing / input.shape[axis]
    return plain(-(_along(weight, input, axis) * smooth * log_p).sum(axis))


def linear_cross_entropy(input: Array, linear_weight: Array, target: Array, *, linear_bias: Array | None = None,
                         weight: Array | None = None, ignore_index: int | None = None, label_smoothing: float = 0.0) -> Result:  # fmt: skip
    """cross_entropy of x W^T + b; W may be (C, d1, ..., dK, F)."""
    logits = np.tensordot(input, linear_weight, axes=([-1], [-1]))
    if linear_bias is not None:
        logits = logits + linear_bias
    return cross_entropy(logits, target, weight, -100 if ignore_index is None else ignore_index, label_smoothing)


def adaptive_log_softmax_with_loss(input: Array, target: Array, *, head_weight: Array, tail: Sequence[tuple[Array, Array]],
                                   cutoffs: Sequence[int], head_bias: Array | None = None) -> Result:  # fmt: skip
    """-log p(y) = -log p(cluster of y) - log p(y | cluster), after Grave et al., "Efficient softmax approximation for GPUs"."""
    rows = np.atleast_2d(input)
    head = log_softmax(rows @ head_weight.T + (0 if head_bias is None else head_bias), 1)
    log_p = [head[:, : cutoffs[0]]]
    for index, (projection, output) in enumerate(tail):
        log_p.append(head[:, cutoffs[0] + index, None] + log_softmax(rows @ projection.T @ output.T, 1))
    every = np.concatenate(log_p, axis=1)
    chosen = -every[np.arange(len(rows)), np.atleast_1d(target)]
    return plain(chosen.reshape(target.shape))


def _along(weight: Array | None, like: Array, axis: int) -> Array:
    """The per-class weights, shaped to multiply scores."""
    classes = like.shape[axis]
    return (np.ones(classes) if weight is None else weight).reshape(classes, *[1] * (like.ndim - axis - 1))


def _at_labels(log_p: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float) -> Result:
    """(1 - s)(-w_y lp_y) + s/C sum_c(-w_c lp_c), over the sum of w_y of the targets not ignored; ignored ones are 0."""
    axis = 0 if log_p.ndim == 1 else 1
    keep = target != ignore_index
    y = np.where(keep, target, 0)
    w = np.ones(log_p.shape[axis]) if weight is None else weight
    loss = -w[y] * np.take_along_axis(log_p, np.expand_dims(y, axis), axis).squeeze(axis)
    if smoothing > 0:
        loss = (1 - smoothing) * loss - smoothing / log_p.shape[axis] * (_along(weight, log_p, axis) * log_p).sum(axis)
    return plain(np.where(keep, loss, 0.0), w[y][keep].sum(), int((~keep).sum()))
