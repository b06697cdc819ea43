# SPDX-License-Identifier: Apache-2.0
"""Losses that include their output layer: adaptive softmax and linear cross entropy.

The scores of all classes are computed for some rows at a time, so that they are never all in memory. Requests for these losses never
share a batch, because the bits of a matrix product depend on the number of its rows.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from lossd_server.errors import HyperparameterOutOfRange, ShapeMismatch, TensorMissing
from lossd_server.losses import checks
from lossd_server.losses.classification import index_denominator
from lossd_server.losses.spec import Arguments, Arrangement, Coalescing, Group, Integer, Kind, Lengths, LossSpec, Real, Tensor
from lossd_server.losses.tensor import Array

# Scores in memory at a time: 16 MiB of float32. More rows do not make the matrix product faster.
_CHUNK_SCORES = 4 << 20

# A score costs its multiply-adds, and about this many more for the softmax.
_SOFTMAX_OPERATIONS = 30


def linear_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    ignore_index: int,
    label_smoothing: float,
    linear_bias: torch.Tensor | None = None,
    class_indices: torch.Tensor | None = None,
    class_probabilities: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """cross_entropy(x W^T + b), some rows at a time. torch.nn.functional.linear_cross_entropy."""
    loss = input.new_empty((input.shape[0], *linear_weight.shape[1:-1]))
    for rows, log_probs in _log_probs(input, linear_weight, linear_bias):
        if class_probabilities is not None:
            loss[rows] = _of_probabilities(log_probs, class_probabilities[rows], label_smoothing, weight)
        else:
            assert class_indices is not None
            loss[rows] = _of_indices(log_probs, class_indices[rows], ignore_index, label_smoothing, weight)
    return loss


def _of_indices(
    log_probs: torch.Tensor, target: torch.Tensor, ignore_index: int, label_smoothing: float, weight: torch.Tensor | None
) -> torch.Tensor:
    """(1-s)(-w[y] lp[y]) + s/C sum_c(-w[c] lp[c]), of (N, C, d1..dK); writes to `log_probs`."""
    loss = F.nll_loss(log_probs, target, weight, ignore_index=ignore_index, reduction="none")
    if not label_smoothing:
        return loss
    weighted = log_probs if weight is None else log_probs.mul_(_along_classes(weight, log_probs))
    smooth = weighted.sum(1).neg_().masked_fill_(target == ignore_index, 0.0)
    return loss.mul_(1 - label_smoothing).add_(smooth, alpha=label_smoothing / log_probs.shape[1])


def _of_probabilities(log_probs: torch.Tensor, target: torch.Tensor, label_smoothing: float, weight: torch.Tensor | None) -> torch.Tensor:
    """-sum_c w[c] t'[c] lp[c] with t' = (1-s) t + s/C, of (N, C, d1..dK); writes to `log_probs`."""
    if label_smoothing:
        target = (target * (1 - label_smoothing)).add_(label_smoothing / log_probs.shape[1])
    weighted = log_probs.mul_(target)
    return (weighted if weight is None else weighted.mul_(_along_classes(weight, weighted))).sum(1).neg_()


def _along_classes(weight: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    return weight.view(-1, *[1] * (log_probs.ndim - 2))


def adaptive_log_softmax_with_loss(
    input: torch.Tensor,
    target: torch.Tensor,
    head_weight: torch.Tensor,
    cutoffs: tuple[int, ...],
    head_bias: torch.Tensor | None = None,
    **tail: torch.Tensor,
) -> torch.Tensor:
    """-log p(y); p(y) is the head's if y < cutoffs[0], else p(y's cluster) p(y within it).

    torch.nn.AdaptiveLogSoftmaxWithLoss. `tail` holds projection_i and output_i for each cutoff.
    """
    loss = input.new_empty(input.shape[0])
    cluster = torch.bucketize(target, torch.tensor(cutoffs, device=target.device), right=True)
    entry = torch.where(cluster == 0, target, cutoffs[0] + cluster - 1)
    for rows, log_probs in _log_probs(input, head_weight, head_bias):
        loss[rows] = F.nll_loss(log_probs, entry[rows], reduction="none")
    # `order` has the rows of each cluster one after another: one pass over the targets, whatever the number of clusters.
    ends = torch.bincount(cluster, minlength=len(cutoffs) + 1).cumsum(0).tolist()
    order = cluster.argsort(stable=True)
    for index, (low, (start, end)) in enumerate(zip(cutoffs, itertools.pairwise(ends), strict=True)):
        if start < end:
            members = order[start:end]
            hidden = F.linear(input[members], tail[f"projection_{index}"])
            for rows, log_probs in _log_probs(hidden, tail[f"output_{index}"]):
                chosen = members[rows]
                loss[chosen] += F.nll_loss(log_probs, target[chosen] - low, reduction="none")
    return loss


def _log_probs(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Iterator[tuple[slice, torch.Tensor]]:
    """log_softmax over C of x W^T + b, for some rows of (N, F) at a time; `weight` is (C, d1..dK, F), the result (rows, C, d1..dK).

    All rows use the same memory, so a result is valid until the next one is yielded. Allocating memory for each would fragment the
    heap: small results that are kept would occupy the space of earlier scores.
    """
    matrix = weight.reshape(-1, weight.shape[-1]).t()
    count, step = input.shape[0], min(input.shape[0], _chunk_rows(matrix.shape[1]))
    scores = input.new_empty((step, matrix.shape[1]))
    log_probs = input.new_empty((step, *weight.shape[:-1]))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        part, result = scores[: rows.stop - start], log_probs[: rows.stop - start]
        if bias is None:
            torch.mm(input[rows], matrix, out=part)
        else:
            torch.addmm(bias.reshape(-1), input[rows], matrix, out=part)
        torch.log_softmax(part.view_as(result), 1, out=result)
        yield rows, result


def _chunk_rows(scores_per_row: int) -> int:
    """The number of rows with _CHUNK_SCORES scores."""
    return max(1, _CHUNK_SCORES // scores_per_row)


# -- columns


def _rows(arguments: Arguments) -> tuple[Array, tuple[int, ...]]:
    """(N, F) view of `input`, which may lack N; and the extents before F."""
    array: Array = arguments["input"]
    checks.expect_rank(array, "input", (1, 2))
    features = checks.expect_extent(array, "input", -1, "the number of features")
    return array.reshaped(math.prod(array.shape[:-1]), features), array.shape[:-1]


def _workspace(arrangement: Arrangement, scores_per_row: int) -> int:
    """Elements for a chunk of scores, their log-softmax and one more of this size."""
    return 3 * min(arrangement.rows, _chunk_rows(scores_per_row)) * scores_per_row


def _linear_cross_entropy_columns(arguments: Arguments) -> Arrangement:
    column, batch = _rows(arguments)
    matrix: Array = arguments["linear_weight"]
    features = column.shape[1]
    checks.expect_rank_at_least(matrix, "linear_weight", 2)
    if matrix.shape[-1] != features:
        raise ShapeMismatch("linear_weight", f"has shape {list(matrix.shape)}; its last extent must be input's, {features}")
    classes, *inner = matrix.shape[:-1]
    checks.expect_extent(matrix, "linear_weight", 0, "the number of classes")
    if inner and not batch:
        raise ShapeMismatch("input", f"has shape {[features]}; linear_weight of rank {len(matrix.shape)} takes (N, F)")
    shared = {"linear_weight": matrix, **checks.per_class(arguments, "weight", classes)}
    if "linear_bias" in arguments:
        checks.expect_shape(arguments["linear_bias"], (classes, *inner), "linear_bias", "linear_weight")
        shared["linear_bias"] = arguments["linear_bias"]

    count = column.shape[0]
    arrangement = Arrangement(
        columns={"input": column},
        rows=count,
        output_shape=(*batch, *inner),
        values_per_row=math.prod(inner),
        shared=shared,
    )
    why = f"input of shape {list(arguments['input'].shape)} and linear_weight of shape {list(matrix.shape)}"
    if "class_indices" in arguments:
        target: Array = arguments["class_indices"]
        checks.expect_shape(target, arrangement.output_shape, "class_indices", why)
        ignore_index = arguments["ignore_index"]
        ignored = checks.class_indices(target, "class_indices", classes, ignore_index)
        arrangement.columns["class_indices"] = target.reshaped(count, *inner)
        arrangement.ignored_count = ignored
        arrangement.mean_denominator = index_denominator(target, shared.get("weight"), ignored, ignore_index)
    else:
        if "ignore_index" in arguments.given:
            raise HyperparameterOutOfRange("ignore_index", "goes with class_indices only; class_probabilities have none")
        target = arguments["class_probabilities"]
        checks.expect_shape(target, (*batch, classes, *inner), "class_probabilities", why)
        arrangement.columns["class_probabilities"] = target.reshaped(count, classes, *inner)
    scores = classes * math.prod(inner)
    arrangement.extra_workspace_elements = _workspace(arrangement, max(1, scores))
    arrangement.operations = count * scores * (features + _SOFTMAX_OPERATIONS)
    return arrangement


def _adaptive_columns(arguments: Arguments) -> Arrangement:
    column, batch = _rows(arguments)
    count, features = column.shape
    tail: list[Arguments] = arguments.get("tail", [])
    if not arguments.get("cutoffs"):
        raise TensorMissing("cutoffs", "is required: at least one")
    cutoffs: tuple[int, ...] = tuple(itertools.islice(arguments["cutoffs"], len(tail) + 1))
    if cutoffs[0] < 1 or any(left >= right for left, right in itertools.pairwise(cutoffs)):
        raise HyperparameterOutOfRange("cutoffs", "must be increasing and >= 1")
    if len(tail) != len(arguments["cutoffs"]):
        raise ShapeMismatch("tail", f"has {len(tail)} clusters; there must be one for each of {len(arguments['cutoffs'])} cutoffs")

    head = cutoffs[0] + len(tail)
    checks.expect_shape(arguments["head_weight"], (head, features), "head_weight", f"the first cutoff and {len(tail)} clusters")
    shared = {"head_weight": arguments["head_weight"]}
    if "head_bias" in arguments:
        checks.expect_shape(arguments["head_bias"], (head,), "head_bias", f"the first cutoff and {len(tail)} clusters")
        shared["head_bias"] = arguments["head_bias"]
    widths, sizes = [], []
    for index, cluster in enumerate(tail):
        size = cutoffs[index + 1] - cutoffs[index] if index + 1 < len(cutoffs) else None
        width, size = _check_cluster(cluster, f"tail[{index}].", features, size)
        shared[f"projection_{index}"], shared[f"output_{index}"] = cluster["projection"], cluster["output"]
        widths.append(width)
        sizes.append(size)

    checks.expect_shape(arguments["target"], batch, "target", f"input of shape {list(arguments['input'].shape)}")
    checks.class_indices(arguments["target"], "target", cutoffs[-1] + sizes[-1])
    arrangement = Arrangement(
        columns={"input": column, "target": arguments["target"].reshaped(count)},
        rows=count,
        output_shape=batch,
        shared=shared,
        params={"cutoffs": cutoffs},
    )
    # Of the head and of one tail; and for the rows of a cluster their features, hidden layer and indices.
    arrangement.extra_workspace_elements = _workspace(arrangement, head) + _workspace(arrangement, max(sizes))
    arrangement.extra_workspace_elements += count * (features + max(widths) + 12)
    members = _cluster_counts(arguments["target"], cutoffs)
    arrangement.operations = count * head * (features + _SOFTMAX_OPERATIONS) + sum(
        n * (features * h + size * (h + _SOFTMAX_OPERATIONS)) for n, h, size in zip(members, widths, sizes, strict=True)
    )
    return arrangement


def _check_cluster(cluster: Arguments, prefix: str, features: int, size: int | None) -> tuple[int, int]:
    """The width and the number of classes of a tail cluster, which must be `size` if that is known."""
    for name in ("projection", "output"):
        if name not in cluster:
            raise TensorMissing(prefix + name, "is required")
        checks.expect_rank(cluster[name], prefix + name, (2,))
    width = checks.expect_extent(cluster["projection"], prefix + "projection", 0, "the width of the cluster")
    checks.expect_shape(cluster["projection"], (width, features), prefix + "projection", "input's last extent")
    found = checks.expect_extent(cluster["output"], prefix + "output", 0, "the number of classes of the cluster")
    expected = found if size is None else size
    checks.expect_shape(cluster["output"], (expected, width), prefix + "output", "the cluster's cutoffs and projection")
    return width, expected


def _cluster_counts(target: Array, cutoffs: tuple[int, ...]) -> list[int]:
    """The number of targets in each cluster, in one pass over the targets."""
    below = np.bincount(checks.flat(target), minlength=cutoffs[-1]).cumsum()
    starts = [int(below[cutoff - 1]) for cutoff in cutoffs]
    return [end - start for start, end in itertools.pairwise([*starts, target.size])]


_FLOAT = Tensor(Kind.FLOAT)
_OPTIONAL_FLOAT = Tensor(Kind.FLOAT, required=False)

SPECS = (
    LossSpec(
        name="adaptive_log_softmax_with_loss",
        rpc="AdaptiveLogSoftmaxWithLoss",
        arguments={
            "input": _FLOAT,
            "target": Tensor(Kind.INDEX),
            "head_weight": _FLOAT,
            "head_bias": _OPTIONAL_FLOAT,
            "tail": Group({"projection": _FLOAT, "output": _FLOAT}, repeated=True),
            "cutoffs": Lengths(),
        },
        coalescing=Coalescing.ALONE,
        to_columns=_adaptive_columns,
        columns_by_shape=False,
        kernel=adaptive_log_softmax_with_loss,
        nanoseconds_per_operation=0.045,
    ),
    LossSpec(
        name="linear_cross_entropy",
        rpc="LinearCrossEntropyLoss",
        arguments={
            "input": _FLOAT,
            "linear_weight": _FLOAT,
            "linear_bias": _OPTIONAL_FLOAT,
            "class_indices": Tensor(Kind.INDEX, required=False),
            "class_probabilities": _OPTIONAL_FLOAT,
            "weight": Tensor(Kind.PER_CLASS, required=False),
            "ignore_index": Integer(-100),
            "label_smoothing": Real(0.0, minimum=0.0, maximum=1.0),
        },
        one_of=(("class_indices", "class_probabilities"),),
        coalescing=Coalescing.ALONE,
        to_columns=_linear_cross_entropy_columns,
        columns_by_shape=False,
        kernel=linear_cross_entropy,
        nanoseconds_per_operation=0.035,
    ),
)
