# SPDX-License-Identifier: Apache-2.0
"""Calls -> one concatenated batch, computed, and back: one answer for each call.

The calls of a batch have equal keys: the same loss, compute dtype, column dtypes and trailing extents, hyper-parameters and
shared tensors. Their reductions may differ; each is applied to its own segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lossd_server import reduce
from lossd_server.losses.spec import Kind, Tensor, Unreduced
from lossd_server.memory import Memory, Parts
from lossd_server.reduce import Statistics
from lossd_server.validate import BATCH_MEAN, NONE, SUM, Call
from lossd_server.wire import DType


@dataclass(slots=True)
class Answer:
    """What a call came to. Exactly one of `value` and `values` (the payload of `double` or single floats) is set."""

    statistics: Statistics
    value: float | None = None
    values: bytes | None = None
    shape: tuple[int, ...] = ()
    double: bool = False


def answer_empty(call: Call) -> Answer:
    """An empty batch is answered by rule: torch returns uninitialised memory for two losses. MEAN NaN, SUM 0, NONE empty."""
    denominator = float(call.arrangement.batch_extent if call.reduction == BATCH_MEAN else 0)
    return _answer(call, b"", Statistics(0.0, 0.0, denominator, 0, 0))


def compute(calls: Sequence[Call], memory: Memory) -> list[Answer]:
    """One answer for each call, in order. No call is empty; all keys are equal.

    Blocks until the device is done. Whatever it raises concerns the whole batch; the caller finds the culprit.
    """
    first = calls[0]
    dtype = torch.float64 if first.double else torch.float32
    columns = _gather(calls)
    with torch.inference_mode():
        tensors = memory.load(columns, [call.values_count for call in calls])
        for name, tensor in tensors.items():
            wanted = torch.int64 if _is_index(first, name, columns[name].dtype) else dtype
            if tensor.dtype != wanted:
                tensors[name] = tensor.to(wanted)
        result = first.spec.kernel(**tensors, **first.params)
        unreduced = result if isinstance(result, Unreduced) else Unreduced(result)
        return _split(calls, unreduced, memory)


# Implementation details follow.


def _gather(calls: Sequence[Call]) -> dict[str, Parts]:
    """The batch's columns, not yet concatenated, and its shared tensors."""
    first = calls[0]
    arrangements = [call.arrangement for call in calls]
    if first.spec.merge is not None:
        parts = {name: Parts(array.dtype, array.shape, (array.payload,)) for name, array in first.spec.merge(arrangements).items()}
    else:
        rows = sum([arrangement.rows for arrangement in arrangements])
        parts = {
            name: Parts(column.dtype, (rows, *column.shape[1:]), [arrangement.columns[name].payload for arrangement in arrangements])
            for name, column in first.arrangement.columns.items()
        }
    for name, array in first.arrangement.shared.items():
        parts[name] = Parts(array.dtype, array.shape, (array.payload,))
    return parts


def _is_index(call: Call, name: str, dtype: DType) -> bool:
    argument = call.spec.arguments.get(name)
    return argument.kind is Kind.INDEX if type(argument) is Tensor else dtype.kind == "i"


def _split(calls: Sequence[Call], unreduced: Unreduced, memory: Memory) -> list[Answer]:
    quantities = {
        "loss": unreduced.loss,
        "mean_numerator": unreduced.mean_numerator,
        "mean_denominator": unreduced.mean_denominator,
        "ignored": unreduced.ignored,
    }
    present = {name: tensor.reshape(-1) for name, tensor in quantities.items() if tensor is not None}
    reduced = memory.reduce(list(present.values()), keep_values=any(call.reduction == NONE for call in calls))
    sums = dict(zip(present, reduced.sums, strict=True))
    numerators, denominators, ignored = sums.get("mean_numerator", sums["loss"]), sums.get("mean_denominator"), sums.get("ignored")

    start = 0
    answers = []
    for index, call in enumerate(calls):
        arrangement, count = call.arrangement, call.values_count
        if call.reduction == BATCH_MEAN:
            denominator = float(arrangement.batch_extent)
        elif denominators is not None:
            denominator = denominators[index]
        else:
            denominator = float(count) if arrangement.mean_denominator is None else arrangement.mean_denominator
        statistics = Statistics(
            sums["loss"][index],
            numerators[index],
            denominator,
            count,
            arrangement.ignored_count if ignored is None else int(ignored[index]),
        )
        values = b""
        if call.reduction == NONE:
            assert reduced.values is not None
            values = reduced.values[start : start + count].tobytes()
        start += count
        answers.append(_answer(call, values, statistics))
    return answers


def _answer(call: Call, values: bytes, statistics: Statistics) -> Answer:
    if call.reduction == NONE:
        return Answer(statistics, values=values, shape=call.arrangement.output_shape, double=call.double)
    if call.reduction == SUM:
        return Answer(statistics, value=statistics.sum)
    return Answer(statistics, value=reduce.mean(statistics.mean_numerator, statistics.mean_denominator))
