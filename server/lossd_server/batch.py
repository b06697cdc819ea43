# SPDX-License-Identifier: Apache-2.0
"""Calls -> one concatenated batch, computed, and back: one answer for each call.

The calls of a batch have equal keys: the same loss, compute dtype, column dtypes and trailing extents, hyper-parameters and
shared tensors. Their reductions may differ; each is applied to its own segment.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lossd_server import reduce
from lossd_server.losses.spec import Kind, Tensor, Unreduced
from lossd_server.reduce import Statistics
from lossd_server.validate import BATCH_MEAN, NONE, SUM, Call
from lossd_server.wire import Array

# Columns are read-only views of the requests' bytes; no kernel writes to its inputs.
warnings.filterwarnings("ignore", message="The given buffer is not writable")

_TORCH = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


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


def compute(calls: Sequence[Call], device: torch.device) -> list[Answer]:
    """One answer for each call, in order. No call is empty; all keys are equal.

    Blocks until the device is done. Whatever it raises concerns the whole batch; the caller finds the culprit.
    """
    first = calls[0]
    dtype = torch.float64 if first.double else torch.float32
    columns = first.spec.merge([call.arrangement for call in calls]) if first.spec.merge else _concatenate(calls)
    tensors = {**columns, **first.arrangement.shared}
    arguments = {name: _to_device(array, device, torch.int64 if _is_index(first, name, array) else dtype) for name, array in tensors.items()}
    with torch.inference_mode():
        result = first.spec.kernel(**arguments, **first.params)
    unreduced = result if isinstance(result, Unreduced) else Unreduced(result)
    return _split(calls, unreduced)


# Implementation details follow.


def _concatenate(calls: Sequence[Call]) -> dict[str, Array]:
    first = calls[0].arrangement
    if len(calls) == 1:
        return first.columns
    rows = sum([call.arrangement.rows for call in calls])
    return {
        name: Array(column.dtype, (rows, *column.shape[1:]), b"".join([call.arrangement.columns[name].payload for call in calls]))
        for name, column in first.columns.items()
    }


def _is_index(call: Call, name: str, array: Array) -> bool:
    argument = call.spec.arguments.get(name)
    return argument.kind is Kind.INDEX if type(argument) is Tensor else array.dtype.kind == "i"


def _to_device(array: Array, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.frombuffer(array.payload, dtype=_TORCH[array.dtype.name]).view(array.shape)
    return tensor.to(device=device, dtype=dtype)


def _split(calls: Sequence[Call], unreduced: Unreduced) -> list[Answer]:
    loss = unreduced.loss.detach().reshape(-1).cpu().numpy()
    starts = np.zeros(len(calls), np.intp)
    np.cumsum([call.values_count for call in calls[:-1]], out=starts[1:])
    sums = reduce.segment_sums(loss, starts)
    numerators = sums if unreduced.mean_numerator is None else _sums(unreduced.mean_numerator, starts)
    denominators = None if unreduced.mean_denominator is None else _sums(unreduced.mean_denominator, starts)
    ignored = None if unreduced.ignored is None else _sums(unreduced.ignored, starts)

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
            sums[index],
            numerators[index],
            denominator,
            count,
            arrangement.ignored_count if ignored is None else int(ignored[index]),
        )
        values = loss[starts[index] : starts[index] + count].tobytes() if call.reduction == NONE else b""
        answers.append(_answer(call, values, statistics))
    return answers


def _sums(tensor: torch.Tensor, starts: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> list[float]:
    return reduce.segment_sums(tensor.reshape(-1).cpu().numpy(), starts)


def _answer(call: Call, values: bytes, statistics: Statistics) -> Answer:
    if call.reduction == NONE:
        return Answer(statistics, values=values, shape=call.arrangement.output_shape, double=call.double)
    if call.reduction == SUM:
        return Answer(statistics, value=statistics.sum)
    return Answer(statistics, value=reduce.mean(statistics.mean_numerator, statistics.mean_denominator))
