# SPDX-License-Identifier: Apache-2.0
"""Connectionist temporal classification."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lossd_server.errors import HyperparameterOutOfRange, ShapeMismatch, TargetOutOfRange, TensorMissing, ValueOutOfRange
from lossd_server.losses import checks
from lossd_server.losses.spec import Arguments, Arrangement, Coalescing, Flag, Integer, Kind, Lengths, LossSpec, Tensor, Unreduced
from lossd_server.losses.tensor import INT64, Array

# One state of one time step, three exponentials and a logarithm, takes as long as this many multiply-adds.
_STATE_OPERATIONS = 400


def ctc_loss(
    log_probs: torch.Tensor,
    targets: torch.Tensor,
    input_lengths: torch.Tensor,
    target_lengths: torch.Tensor,
    blank: int,
    zero_infinity: bool,
) -> Unreduced:
    """-ln p(y | x); MEAN is the mean of loss / max(target_length, 1). torch.nn.functional.ctc_loss.

    `log_probs` is (T, N, C); `targets` holds all sequences in a row and one more element, which is not read.
    """
    loss = F.ctc_loss(log_probs, targets[:-1], input_lengths, target_lengths, blank=blank, reduction="none")
    ignored = None
    if zero_infinity:
        ignored = loss == math.inf
        loss = loss.masked_fill(ignored, 0.0)
    return Unreduced(loss, mean_numerator=loss / target_lengths.clamp(min=1), ignored=ignored)


def merge(arrangements: Sequence[Arrangement]) -> dict[str, Array]:
    """Joins requests, padded to the longest T. Log-probabilities beyond a request's own T are zero and never read."""
    first = arrangements[0].columns["log_probs"]
    classes, rows = first.shape[-1], sum(arrangement.rows for arrangement in arrangements)
    steps = [arrangement.columns["log_probs"].shape[0] // arrangement.rows for arrangement in arrangements]
    payload = first.payload
    if len(arrangements) > 1:
        merged = np.zeros((max(steps), rows, classes), first.dtype.numpy)
        row = 0
        for arrangement, length in zip(arrangements, steps, strict=True):
            part = np.frombuffer(arrangement.columns["log_probs"].payload, first.dtype.numpy)
            merged[:length, row : row + arrangement.rows] = part.reshape(length, arrangement.rows, classes)
            row += arrangement.rows
        payload = merged.tobytes()
    joined = {
        name: b"".join([arrangement.columns[name].payload for arrangement in arrangements])
        for name in ("targets", "input_lengths", "target_lengths")
    }
    joined["targets"] += bytes(INT64.itemsize)  # no tensor is empty
    return {
        "log_probs": Array(first.dtype, (max(steps), rows, classes), payload),
        **{name: Array(INT64, (len(parts) // INT64.itemsize,), parts) for name, parts in joined.items()},
    }


# -- columns


def _ctc_columns(arguments: Arguments) -> Arrangement:
    log_probs: Array = arguments["log_probs"]
    checks.expect_rank(log_probs, "log_probs", (2, 3))
    output_shape = log_probs.shape[1:-1]
    steps, count, classes = log_probs.shape[0], math.prod(output_shape), log_probs.shape[-1]
    checks.expect_extent(log_probs, "log_probs", -1, "the number of classes")
    if count:
        checks.expect_extent(log_probs, "log_probs", 0, "the number of time steps")
    if not 0 <= arguments["blank"] < classes:
        raise HyperparameterOutOfRange("blank", f"is {arguments['blank']}; it must be in [0, {classes})")

    input_lengths = _lengths(arguments, "input_lengths", count, steps)
    field = "padded_targets" if "padded_targets" in arguments else "concatenated_targets"
    labels, target_lengths = _targets(arguments, field, output_shape)
    bad = (labels < 0) | (labels >= classes) | (labels == arguments["blank"])
    if bad.any():
        found = f"{np.count_nonzero(bad)} of {bad.size} labels are not"
        raise TargetOutOfRange(field, f"must be in [0, {classes}) and not blank ({arguments['blank']}); {found}")

    states = 2 * int(target_lengths.max(initial=0)) + 1
    return Arrangement(
        columns={
            "log_probs": log_probs.reshaped(steps * count, classes),
            "targets": Array.of(labels),
            "input_lengths": Array.of(input_lengths),
            "target_lengths": Array.of(target_lengths),
        },
        rows=count,
        output_shape=output_shape,
        extra_workspace_elements=count * steps * states,
        affinity=(steps.bit_length(), states.bit_length()),
        operations=log_probs.size + _STATE_OPERATIONS * int((input_lengths * (2 * target_lengths + 1)).sum()),
    )


def _lengths(arguments: Arguments, name: str, count: int, most: int) -> NDArray[np.int64]:
    """`count` lengths in [0, most]."""
    given = arguments.get(name, ())
    if not given and count:
        raise TensorMissing(name, f"is required: {count} lengths")
    if len(given) != count:
        raise ShapeMismatch(name, f"has {len(given)} lengths; log_probs of {count} sequences takes as many")
    lengths = np.fromiter(given, np.int64, count)
    if count and not 0 <= lengths.min() <= lengths.max() <= most:
        bad = (lengths < 0) | (lengths > most)
        checks.reject(ValueOutOfRange, name, Array.of(lengths), bad, f"in [0, {most}]")
    return lengths


def _targets(arguments: Arguments, field: str, output_shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The labels that count, one sequence after the other, and the number of labels of each sequence."""
    array: Array = arguments[field]
    count = math.prod(output_shape)
    labels = checks.flat(array)
    if field == "concatenated_targets":
        checks.expect_rank(array, field, (1,))
        lengths = _lengths(arguments, "target_lengths", count, array.size)
        if int(lengths.sum()) != array.size:
            raise ShapeMismatch(field, f"has {array.size} labels; the target_lengths add up to {int(lengths.sum())}")
    else:
        checks.expect_rank(array, field, (1 + len(output_shape),))
        longest = array.shape[-1]
        checks.expect_shape(array, (*output_shape, longest), field, f"log_probs of {count} sequences")
        lengths = _lengths(arguments, "target_lengths", count, longest)
        if labels.size:
            labels = labels.reshape(count, longest)[np.arange(longest) < lengths[:, None]]
    return labels.astype(np.int64), lengths


SPECS = (
    LossSpec(
        name="ctc_loss",
        rpc="CtcLoss",
        arguments={
            "log_probs": Tensor(Kind.FLOAT),
            "padded_targets": Tensor(Kind.INDEX, required=False),
            "concatenated_targets": Tensor(Kind.INDEX, required=False),
            "input_lengths": Lengths(),
            "target_lengths": Lengths(),
            "blank": Integer(0),
            "zero_infinity": Flag(),
        },
        one_of=(("padded_targets", "concatenated_targets"),),
        coalescing=Coalescing.PADDED,
        to_columns=_ctc_columns,
        columns_by_shape=False,
        kernel=ctc_loss,
        merge=merge,
        nanoseconds_per_operation=0.035,
    ),
)
