# SPDX-License-Identifier: Apache-2.0
"""Checks one request by itself, on the host, before it may join a batch.

The result is a Call that its kernel can compute safely, whatever it is batched with.
"""

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lossd.v1 import options_pb2
from lossd_server.call import BATCH_MEAN, MEAN, NONE, SUM, UNSPECIFIED, Call
from lossd_server.errors import (
    DtypeUnsupported,
    HyperparameterOutOfRange,
    NonFiniteInput,
    OperationsTooLarge,
    PrecisionUnsupported,
    ReductionUnsupported,
    ResponseTooLarge,
    TensorMissing,
    ValueOutOfRange,
    WorkspaceTooLarge,
)
from lossd_server.losses.checks import finite
from lossd_server.losses.spec import Argument, Arguments, Arrangement, Coalescing, Flag, Group, Integer, Kind, LossSpec, Real, Tensor
from lossd_server.losses.tensor import FLOAT64, Array

_FLOAT32_MAX = 3.4028234663852886e38
_DIGEST_ABOVE = 64  # bytes; shorter per-class tensors are their own digest

# Calls with larger per-class tensors share no batch: it would have room for a few only, so a digest costs more than sharing saves.
_DIGEST_UP_TO_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds on one request, in bytes and in multiply-adds."""

    max_response_bytes: int = 64 << 20
    max_workspace_bytes: int = 4 << 30
    max_operations: int = 10**12


def validate(spec: LossSpec, arguments: Arguments, limits: RequestLimits) -> Call:
    """The call that these arguments describe. Raises the CallError that says what is wrong with them."""
    _check_presence(spec, arguments)
    double = arguments.get("precision", 0) == options_pb2.PRECISION_FLOAT64
    if not double and arguments.get("precision", 0) != options_pb2.PRECISION_UNSPECIFIED:
        raise PrecisionUnsupported("precision", f"{arguments['precision']} is not a Precision")
    for path, kind, array in _tensors(spec.arguments, arguments):
        _check_dtype(path, kind, array)
        double = double or (array.dtype is FLOAT64 and kind is not Kind.PER_CLASS)
        if (kind is Kind.PER_CLASS or arguments.get("reject_non_finite")) and array.dtype.kind == "f" and not finite(array):
            error = ValueOutOfRange if kind is Kind.PER_CLASS else NonFiniteInput
            raise error(path, "must be finite; it holds a NaN or an infinity")
    params = _check_params(spec.arguments, arguments, "", math.inf if double else _FLOAT32_MAX)
    reduction = _check_reduction(spec, arguments.get("reduction", UNSPECIFIED))

    arrangement = spec.to_columns(arguments)
    if spec.check_values is not None:
        spec.check_values(arguments, arrangement, 1)
    params.update(arrangement.params)
    columns = arrangement.columns.values()
    elements = max([column.size for column in columns], default=0)
    operations = elements if arrangement.operations is None else arrangement.operations
    _check_size(spec, arguments, arrangement, operations, reduction, double, limits)
    return Call(
        spec=spec,
        key=_key(spec, arrangement, params, double),
        arrangement=arrangement,
        params=params,
        reduction=reduction,
        double=double,
        nbytes=sum(len(column.payload) for column in columns) + sum(len(array.payload) for array in arrangement.shared.values()),
        elements=max(elements, arrangement.extra_workspace_elements),
        cost_seconds=operations * spec.nanoseconds_per_operation * 1e-9,
    )


def workspace_bytes(spec: LossSpec, arguments: Arguments, arrangement: Arrangement, reduction: int, *, double: bool) -> int:
    """The most bytes that one call holds besides its message and its parsed arguments, from its reading to its answer.

    tests/compute/test_peak_memory.py measures it for every loss.
    """
    itemsize = 8 if double else 4
    values = arrangement.rows * arrangement.values_per_row
    elements = max([values, *[column.size for column in arrangement.columns.values()]])
    held = spec.workspace_factor * elements * itemsize + arrangement.extra_workspace_elements * itemsize
    for name, array in (*arrangement.columns.items(), *arrangement.shared.items()):
        argument = arguments.get(name)
        if type(argument) is Array and argument.payload is not array.payload:  # broadcast, on the host
            held += len(array.payload)
        if array.dtype.kind != "f" or array.dtype.itemsize != itemsize:  # converted, on the device
            held += array.size * (8 if array.dtype.kind == "i" else itemsize)
    held += 8 * values  # summed in float64
    if reduction == NONE:
        held += (2 * itemsize + 1) * values  # which values are NaN; the values as bytes; and those bytes in the answer
    return int(held)


# Implementation details follow.


def _check_presence(spec: LossSpec, arguments: Arguments) -> None:
    for name, argument in spec.arguments.items():
        if type(argument) is Tensor and argument.required and name not in arguments:
            raise TensorMissing(name, "is required")
    for members in spec.one_of:
        if not any(member in arguments for member in members):
            raise TensorMissing(members[0], f"one of {', '.join(members)} is required")


def _tensors(known: Mapping[str, Argument], arguments: Arguments, prefix: str = "") -> Iterator[tuple[str, Kind, Array]]:
    for name, argument in known.items():
        if name not in arguments:
            continue
        if type(argument) is Tensor:
            yield prefix + name, argument.kind, arguments[name]
        elif type(argument) is Group and argument.repeated:
            for index, item in enumerate(arguments[name]):
                yield from _tensors(argument.arguments, item, f"{prefix}{name}[{index}].")


def _check_dtype(path: str, kind: Kind, array: Array) -> None:
    if kind is Kind.REAL or array.dtype.kind == ("i" if kind is Kind.INDEX else "f"):
        return
    wanted = "an integer type" if kind is Kind.INDEX else "a float type"
    raise DtypeUnsupported(path, f"is {array.dtype.name}; it must be of {wanted}")


def _check_params(known: Mapping[str, Argument], arguments: Arguments, prefix: str, largest: float) -> dict[str, Any]:
    """The hyper-parameters. Finite ones must not be above `largest`, the largest number of the compute dtype: torch raises."""
    params: dict[str, Any] = {}
    for name, argument in known.items():
        kind = type(argument)
        if name not in arguments:
            continue
        if kind is Real:
            params[name] = arguments[name]
            if not argument.admits(arguments[name]):  # type: ignore[union-attr]
                raise HyperparameterOutOfRange(prefix + name, f"is {arguments[name]}; it must be {argument.describe()}")  # type: ignore[union-attr]
            if largest < abs(arguments[name]) < math.inf:
                raise HyperparameterOutOfRange(
                    prefix + name, f"is {arguments[name]}; the compute dtype is float32, whose largest number is {largest:.3g}"
                )
        elif kind is Integer:
            params[name] = arguments[name]
            choices = argument.choices  # type: ignore[union-attr]
            if choices and arguments[name] not in choices:
                raise HyperparameterOutOfRange(prefix + name, f"is {arguments[name]}; it must be one of {list(choices)}")
        elif kind is Flag:
            params[name] = arguments[name]
        elif kind is Group and not argument.repeated:  # type: ignore[union-attr]
            _check_params(argument.arguments, arguments[name], f"{prefix}{name}.", largest)  # type: ignore[union-attr]
    return params


def _check_reduction(spec: LossSpec, reduction: int) -> int:
    if reduction == UNSPECIFIED:
        return MEAN
    if reduction in (NONE, MEAN, SUM) or (reduction == BATCH_MEAN and spec.batch_mean):
        return reduction
    try:
        named = options_pb2.Reduction.Name(reduction)
    except ValueError:
        raise ReductionUnsupported("reduction", f"{reduction} is not a Reduction") from None
    raise ReductionUnsupported("reduction", f"{spec.rpc} has no {named}")


def _check_size(
    spec: LossSpec, arguments: Arguments, arrangement: Arrangement, operations: int, reduction: int, double: bool, limits: RequestLimits
) -> None:
    itemsize = 8 if double else 4
    response = arrangement.rows * arrangement.values_per_row * itemsize
    if reduction == NONE and response > limits.max_response_bytes:
        raise ResponseTooLarge(
            f"the unreduced values take {response} bytes; responses are limited to {limits.max_response_bytes}",
            limit=limits.max_response_bytes,
            actual=response,
        )
    workspace = workspace_bytes(spec, arguments, arrangement, reduction, double=double)
    if workspace > limits.max_workspace_bytes:
        raise WorkspaceTooLarge(
            f"{spec.rpc} would need about {workspace} bytes of working memory; {limits.max_workspace_bytes} are allowed: split the batch",
            limit=limits.max_workspace_bytes,
            actual=workspace,
        )
    if operations > limits.max_operations:
        text = f"{spec.rpc} would take about {operations:.3g} operations; {limits.max_operations:.3g} are allowed: split the batch"
        raise OperationsTooLarge(text, limit=limits.max_operations, actual=operations)


def _key(spec: LossSpec, arrangement: Arrangement, params: dict[str, Any], double: bool) -> Hashable:
    shared = arrangement.shared
    if spec.coalescing is Coalescing.ALONE or any(len(array.payload) > _DIGEST_UP_TO_BYTES for array in shared.values()):
        return object()
    columns = [(name, array.dtype.name, array.shape[1:]) for name, array in arrangement.columns.items()]
    constants = [(name, array.dtype.name, array.shape, _digest(array.payload)) for name, array in shared.items()]
    # As text: hashes of numbers are predictable, so a client could send thousands of keys with one hash; hashes of text are secret.
    return repr((spec.rpc, double, columns, tuple(params.values()), constants, arrangement.affinity))


def _digest(payload: bytes | memoryview) -> bytes:
    return bytes(payload) if len(payload) <= _DIGEST_ABOVE else hashlib.blake2b(payload, digest_size=32).digest()
