# SPDX-License-Identifier: Apache-2.0
"""Concatenates calls to one batch, computes it, and splits the result: one answer for each call.

The calls of a batch have equal keys: the same loss, compute dtype, column dtypes and trailing extents, hyper-parameters and
shared tensors. Their reductions may differ; each is applied to its own segment. Each request is one segment; a call that stands
for several requests has several.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from lossd_server.call import BATCH_MEAN, NONE, SUM, Answer, Answers, Call, Statistics
from lossd_server.compute import reduce
from lossd_server.compute.memory import Memory, Parts
from lossd_server.errors import CallError
from lossd_server.losses.spec import Kind, Tensor, Unreduced
from lossd_server.losses.tensor import DType, Encoded


def answer_empty(call: Call) -> Answer:
    """The answer to a call without elements: MEAN NaN, SUM 0, NONE empty. torch returns uninitialized memory for two losses."""
    denominator = float(call.arrangement.batch_extent if call.reduction == BATCH_MEAN else 0)
    return _answer(call, b"", Statistics(0.0, 0.0, denominator, 0, 0))


def joined(call: Call, parts: "Sequence[Answer | Answers | CallError]") -> Answers:
    """The answers of a call whose requests were computed one by one."""
    blank = Answer(Statistics(0.0, 0.0, 0.0, 0, 0), 0.0)
    answers = [part if isinstance(part, Answer) else blank for part in parts]
    statistics = [answer.statistics for answer in answers]
    return Answers(
        [answer.value or 0.0 for answer in answers],
        [s.sum for s in statistics],
        [s.mean_numerator for s in statistics],
        [s.mean_denominator for s in statistics],
        [s.ignored_count for s in statistics],
        call.values_count // call.count,
        {index: part for index, part in enumerate(parts) if isinstance(part, CallError)},
    )


def compute(calls: Sequence[Call], memory: Memory) -> list[Answer | Answers]:
    """One answer for each call, in order. No call is empty; all keys are equal. Autograd is off on this thread.

    Blocks until the device is done. An exception concerns the whole batch; the caller finds the call at fault.
    """
    first = calls[0]
    dtype = torch.float64 if first.double else torch.float32
    columns = _gather(calls)
    counts: list[int] = []
    for call in calls:
        counts += [call.values_count // call.count] * call.count
    tensors = memory.load(columns, counts)
    for name, tensor in tensors.items():
        wanted = torch.int64 if _is_index(first, name, columns[name].dtype) else dtype
        if tensor.dtype is not wanted:
            tensors[name] = tensor.to(wanted)
    result = first.spec.kernel(**tensors, **first.params)
    return _split(calls, counts, result if isinstance(result, Unreduced) else Unreduced(result), memory)


# Implementation details follow.


def _gather(calls: Sequence[Call]) -> dict[str, Parts]:
    """The batch's columns, before concatenation, and its shared tensors."""
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


def _split(calls: Sequence[Call], counts: list[int], unreduced: Unreduced, memory: Memory) -> list[Answer | Answers]:
    extra = (unreduced.mean_numerator, unreduced.mean_denominator, unreduced.ignored)
    quantities = [quantity for quantity in (unreduced.loss, *extra) if quantity is not None]
    flat = [quantity if quantity.ndim == 1 else quantity.reshape(-1) for quantity in quantities]
    # Which of two NaNs an operation returns depends on their position in a tensor, so answers contain one NaN only.
    raw, kept = memory.reduce(flat, keep_values=any(call.reduction == NONE for call in calls))
    sums = [[total if total == total else math.nan for total in totals] for totals in raw]
    if kept is not None and np.isnan(kept).any():
        kept = np.where(np.isnan(kept), kept.dtype.type(math.nan), kept)
    rest = iter(sums[1:])
    numerators = sums[0] if unreduced.mean_numerator is None else next(rest)
    denominators = None if unreduced.mean_denominator is None else next(rest)
    ignored = None if unreduced.ignored is None else next(rest)

    answers: list[Answer | Answers] = []
    segment = position = 0
    for call in calls:
        arrangement = call.arrangement
        segments = slice(segment, segment + call.count)
        size = counts[segment]
        if call.reduction == BATCH_MEAN:
            denominator: list[float] | float = float(arrangement.batch_extent)
        elif denominators is not None:
            denominator = denominators[segments]
        else:
            denominator = float(size) if arrangement.mean_denominator is None else arrangement.mean_denominator
        skipped = arrangement.ignored_count if ignored is None else [int(number) for number in ignored[segments]]
        if call.count == 1:
            mean_denominator = denominator if isinstance(denominator, float) else denominator[0]
            ignored_count = skipped if isinstance(skipped, int) else skipped[0]
            statistics = Statistics(sums[0][segment], numerators[segment], mean_denominator, size, ignored_count)
            values: Encoded = b""
            if call.reduction == NONE:
                assert kept is not None
                values = kept[position : position + size].data.cast("B")
            answers.append(_answer(call, values, statistics))
        else:
            answers.append(_answers(call, sums[0][segments], numerators[segments], denominator, skipped, size))
        segment += call.count
        position += size * call.count
    return answers


def _answer(call: Call, values: Encoded, statistics: Statistics) -> Answer:
    if call.reduction == NONE:
        return Answer(statistics, values=values, shape=call.arrangement.output_shape, double=call.double)
    if call.reduction == SUM:
        return Answer(statistics, value=statistics.sum)
    return Answer(statistics, value=reduce.mean(statistics.mean_numerator, statistics.mean_denominator))


def _answers(
    call: Call, sums: list[float], numerators: list[float], denominator: list[float] | float, ignored: list[int] | int, size: int
) -> Answers:
    denominators = [denominator] * call.count if isinstance(denominator, float) else denominator
    value = sums if call.reduction == SUM else list(map(reduce.mean, numerators, denominators))
    return Answers(value, sums, numerators, denominators, [ignored] * call.count if isinstance(ignored, int) else ignored, size)
