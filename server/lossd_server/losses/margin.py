# SPDX-License-Identifier: Apache-2.0
"""The margin losses of classification: soft, multi-class, multi-label and multi-label soft."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from lossd_server.errors import TargetOutOfRange
from lossd_server.losses import checks, row_sums
from lossd_server.losses.spec import Arguments, Arrangement, Coalescing, Flag, Integer, Kind, LossSpec, Real, Tensor

# A pair of a label and a class in multi-label margin takes as long as this many multiply-adds.
_PAIR_OPERATIONS = 50


def soft_margin_loss(input: torch.Tensor, target: torch.Tensor, allow_any_target: bool) -> torch.Tensor:
    """ln(1 + exp(z)) = max(z, 0) + ln(1 + exp(-|z|)) with z = -t x. torch.nn.functional.soft_margin_loss.

    torch's function overflows if z > 88 in float32. torch's softplus does not, but gives an element other bits at the end of a
    tensor than inside one.
    """
    z = (target * input).neg_()
    rest = z.abs().neg_().exp_().log1p_()
    return z.clamp_(min=0).add_(rest)


def multi_margin_loss(input: torch.Tensor, target: torch.Tensor, p: int, margin: float, weight: torch.Tensor | None = None) -> torch.Tensor:
    """sum over j != y of w[y] max(0, margin - x[y] + x[j])^p / C. torch.nn.functional.multi_margin_loss."""
    return F.multi_margin_loss(input, target, p=p, margin=margin, weight=weight, reduction="none")


def multilabel_margin_loss(input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Sum over labels j and non-labels i of max(0, 1 - (x[j] - x[i])) / C. torch.nn.functional.multilabel_margin_loss."""
    return F.multilabel_margin_loss(input, target, reduction="none")


def multilabel_soft_margin_loss(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """sum_c -w[c] (t[c] ln sigmoid(x[c]) + (1 - t[c]) ln sigmoid(-x[c])) / C. torch.nn.functional.multilabel_soft_margin_loss."""
    loss = F.logsigmoid(input).mul_(target)
    loss.add_(F.logsigmoid(-input).mul_(1 - target)).neg_()
    return row_sums.total(loss if weight is None else loss.mul_(weight)) / input.shape[-1]


# -- columns


def _score_columns(arguments: Arguments) -> Arrangement:
    """The columns of scores (N, C) or (C); () is one class."""
    array = arguments["input"]
    checks.expect_rank(array, "input", (0, 1, 2))
    classes = checks.expect_extent(array, "input", -1, "the number of classes") if array.shape else 1
    output_shape = array.shape[:-1]
    count = math.prod(output_shape)
    return Arrangement(columns={"input": array.reshaped(count, classes)}, rows=count, output_shape=output_shape)


def _multi_margin_columns(arguments: Arguments) -> Arrangement:
    arrangement = _score_columns(arguments)
    target, classes = arguments["target"], arrangement.columns["input"].shape[1]
    if arrangement.rows == 1 and target.shape in ((), (1,)):
        arrangement.output_shape = target.shape  # as in torch
    checks.expect_shape(target, arrangement.output_shape, "target", f"input of shape {list(arguments['input'].shape)}")
    arrangement.columns["target"] = target.reshaped(arrangement.rows)
    arrangement.shared = checks.per_class(arguments, "weight", classes)
    return arrangement


def _check_multi_margin_values(arguments: Arguments, arrangement: Arrangement, count: int) -> None:
    checks.class_indices(arguments["target"], "target", arrangement.columns["input"].shape[1])


def _multilabel_margin_columns(arguments: Arguments) -> Arrangement:
    arrangement = _score_columns(arguments)
    target, count, classes = arguments["target"], arrangement.rows, arrangement.columns["input"].shape[1]
    if {target.shape, arguments["input"].shape} != {(), (1,)}:
        checks.same_shape(arguments, "target", "input")
    values = checks.flat(target)
    if values.size and (values.min() < -1 or values.max() >= classes):
        bad = (values < -1) | (values >= classes)
        checks.reject(TargetOutOfRange, "target", target, bad, f"a class index in [0, {classes}), or -1 after the last one")
    arrangement.columns["target"] = target.reshaped(count, classes)
    arrangement.extra_workspace_elements = values.size
    if values.size:
        ends = (values < 0).reshape(count, classes)
        labels = np.where(ends.any(1), ends.argmax(1), classes)
        arrangement.operations = _PAIR_OPERATIONS * (values.size + int(labels.sum()) * classes)
    return arrangement


def _multilabel_soft_margin_columns(arguments: Arguments) -> Arrangement:
    array = arguments["input"]
    checks.expect_rank_at_least(array, "input", 1)
    classes = checks.expect_extent(array, "input", -1, "the number of classes")
    checks.same_shape(arguments, "target", "input")
    output_shape = array.shape[:-1]
    count = math.prod(output_shape)
    columns = {"input": array.reshaped(count, classes), "target": arguments["target"].reshaped(count, classes)}
    shared = {}
    if "weight" in arguments:
        weight = arguments["weight"]
        if weight.shape == (classes,):
            shared["weight"] = weight
        else:
            columns["weight"] = checks.expanded(weight, array.shape, "weight").reshaped(count, classes)
    return Arrangement(columns=columns, rows=count, output_shape=output_shape, shared=shared)


_FLOAT = Tensor(Kind.FLOAT)
_REAL = Tensor(Kind.REAL)
_INDEX = Tensor(Kind.INDEX)

SPECS = (
    LossSpec(
        name="soft_margin_loss",
        rpc="SoftMarginLoss",
        arguments={"input": _FLOAT, "target": _REAL, "allow_any_target": Flag()},
        coalescing=Coalescing.ELEMENTS,
        to_columns=checks.elementwise("input", broadcast=("target",)),
        check_values=checks.all_of(checks.plus_minus_one()),
        kernel=soft_margin_loss,
        workspace_factor=3.0,
        nanoseconds_per_operation=4.0,
    ),
    LossSpec(
        name="multi_margin_loss",
        rpc="MultiMarginLoss",
        arguments={
            "input": _FLOAT,
            "target": _INDEX,
            "weight": Tensor(Kind.PER_CLASS, required=False),
            "p": Integer(1, choices=(1, 2)),
            "margin": Real(1.0),
        },
        coalescing=Coalescing.ROWS,
        to_columns=_multi_margin_columns,
        check_values=_check_multi_margin_values,
        kernel=multi_margin_loss,
        nanoseconds_per_operation=4.0,
    ),
    LossSpec(
        name="multilabel_margin_loss",
        rpc="MultiLabelMarginLoss",
        arguments={"input": _FLOAT, "target": _INDEX},
        coalescing=Coalescing.ROWS,
        to_columns=_multilabel_margin_columns,
        columns_by_shape=False,
        kernel=multilabel_margin_loss,
        nanoseconds_per_operation=0.05,
    ),
    LossSpec(
        name="multilabel_soft_margin_loss",
        rpc="MultiLabelSoftMarginLoss",
        arguments={"input": _FLOAT, "target": _REAL, "weight": Tensor(Kind.REAL, required=False)},
        coalescing=Coalescing.ROWS,
        to_columns=_multilabel_soft_margin_columns,
        kernel=multilabel_soft_margin_loss,
        workspace_factor=7.0,
        nanoseconds_per_operation=5.5,
    ),
)
