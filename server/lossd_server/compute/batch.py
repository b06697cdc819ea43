# SPDX-License-Identifier: Apache-2.0
"""Concatenates calls to one batch, computes it, and splits the result: one answer for each call.

The calls of a batch have equal keys: the same loss, compute dtype, column dtypes and trailing extents, hyper-parameters and
shared tensors. Their reductions may differ; each is applied to its own segment. Each request is one segment; a call that stands
for several requests has several.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lossd.statistics import divide
from lossd_server.call import BATCH_MEAN, NONE, SUM, Answer, Answers, Call, Statistics
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
    unreduced = result if isinstance(result, Unreduced) else Unreduced(result)
    return _split(calls, counts, _reduce(calls, unreduced, memory))


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


class _Reduced(NamedTuple):
    """The sums of a batch's segments, one for each request, and the unreduced values if any call asks for them."""

    sums: list[float]
    numerators: list[float]
    denominators: list[float] | None  # None: known without the kernel
    ignored: list[float] | None  # likewise
    values: NDArray[Any] | None


def _reduce(calls: Sequence[Call], unreduced: Unreduced, memory: Memory) -> _Reduced:
    optional = (unreduced.mean_numerator, unreduced.mean_denominator, unreduced.ignored)
    quantities = [quantity for quantity in (unreduced.loss, *optional) if quantity is not None]
    flat = [quantity if quantity.ndim == 1 else quantity.reshape(-1) for quantity in quantities]
    # Which of two NaNs an operation returns depends on their position in a tensor, so answers contain one NaN only.
    raw, values = memory.reduce(flat, keep_values=any(call.reduction == NONE for call in calls))
    sums, *rest = [[total if total == total else math.nan for total in totals] for totals in raw]
    if values is not None and np.isnan(values).any():
        values = np.where(np.isnan(values), values.dtype.type(math.nan), values)
    others = iter(rest)
    numerators, denominators, ignored = [None if quantity is None else next(others) for quantity in optional]
    return _Reduced(sums, numerators or sums, denominators, ignored, values)


def _split(calls: Sequence[Call], counts: list[int], reduced: _Reduced) -> list[Answer | Answers]:
    answers: list[Answer | Answers] = []
    segment = position = 0
    for call in calls:
        size, segments = counts[segment], slice(segment, segment + call.count)
        denominators = _denominators(call, reduced, segments, size)
        ignored = _ignored(call, reduced, segments)
        sums, numerators = reduced.sums[segments], reduced.numerators[segments]
        if call.count > 1:
            value = sums if call.reduction == SUM else list(map(divide, numerators, denominators))
            answers.append(Answers(value, sums, numerators, denominators, ignored, size))
        else:
            statistics = Statistics(sums[0], numerators[0], denominators[0], size, ignored[0])
            answers.append(_answer(call, _payload(reduced.values, position, size) if call.reduction == NONE else b"", statistics))
        segment += call.count
        position += size * call.count
    return answers


def _denominators(call: Call, reduced: _Reduced, segments: slice, size: int) -> list[float]:
    """MEAN's denominator of each of the call's requests."""
    known = call.arrangement.mean_denominator
    if call.reduction == BATCH_MEAN:
        return [float(call.arrangement.batch_extent)] * call.count
    if reduced.denominators is not None:
        return reduced.denominators[segments]
    return known if isinstance(known, list) else [float(size) if known is None else known] * call.count


def _ignored(call: Call, reduced: _Reduced, segments: slice) -> list[int]:
    known = call.arrangement.ignored_count
    if reduced.ignored is not None:
        return [int(number) for number in reduced.ignored[segments]]
    return known if isinstance(known, list) else [known] * call.count


def _payload(values: NDArray[Any] | None, position: int, size: int) -> Encoded:
    assert values is not None
    return values[position : position + size].data.cast("B")


def _answer(call: Call, values: Encoded, statistics: Statistics) -> Answer:
    if call.reduction == NONE:
        return Answer(statistics, values=values, shape=call.arrangement.output_shape, double=call.double)
    if call.reduction == SUM:
        return Answer(statistics, value=statistics.sum)
    return Answer(statistics, value=divide(statistics.mean_numerator, statistics.mean_denominator))
