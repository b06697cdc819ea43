# SPDX-License-Identifier: Apache-2.0
"""Building blocks of the losses' `to_columns` and `check_values`: relations between shapes, and ranges of values.

Every check reads one request on the host and raises an InvalidArgument that names the field. It reads targets once, and float inputs
only if the definition of the loss requires it.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from lossd_server.errors import InvalidArgument, ShapeMismatch, TargetOutOfRange, ValueOutOfRange
from lossd_server.losses.spec import Arguments, Arrangement
from lossd_server.losses.tensor import Array

Check = Callable[[Arguments], None]
# Up to this many elements, a loop is faster than a ufunc.
_FEW = 128

_UNSIGNED: dict[int, Literal["B", "I", "Q"]] = {1: "B", 4: "I", 8: "Q"}

CheckValues = Callable[[Arguments, Arrangement, int], None]


def same_shape(arguments: Arguments, name: str, like: str) -> None:
    """Requires equal shapes: torch would broadcast, with or without a warning."""
    if arguments[name].shape != arguments[like].shape:
        raise ShapeMismatch(name, f"has shape {list(arguments[name].shape)}; it must be {like}'s, {list(arguments[like].shape)}")


def expect_shape(array: Array, shape: tuple[int, ...], field: str, why: str) -> None:
    """Requires the one shape that fits the other tensors."""
    if array.shape != shape:
        raise ShapeMismatch(field, f"has shape {list(array.shape)}; {why} makes it {list(shape)}")


def expect_rank(array: Array, field: str, ranks: tuple[int, ...]) -> None:
    """Requires one of these ranks."""
    if len(array.shape) not in ranks:
        allowed = " or ".join(str(rank) for rank in ranks)
        raise ShapeMismatch(field, f"has shape {list(array.shape)}; its rank must be {allowed}")


def expect_rank_at_least(array: Array, field: str, rank: int) -> None:
    """Requires at least this rank."""
    if len(array.shape) < rank:
        raise ShapeMismatch(field, f"has shape {list(array.shape)}; its rank must be at least {rank}")


def expect_extent(array: Array, field: str, axis: int, meaning: str) -> int:
    """Returns an extent that must not be 0, such as the number of classes."""
    extent = array.shape[axis]
    if extent == 0:
        raise ShapeMismatch(field, f"has shape {list(array.shape)}; {meaning} must not be 0")
    return extent


def expanded(array: Array, shape: tuple[int, ...], field: str) -> Array:
    """`array` broadcast to `shape`, which it must not enlarge."""
    if array.shape == shape:
        return array
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeMismatch(field, f"has shape {list(array.shape)}; it must broadcast to the shape {list(shape)} without enlarging it")
    if not math.prod(shape):
        return Array(array.dtype, shape, b"")
    raw = np.frombuffer(array.payload, array.dtype.numpy).reshape(array.shape)
    return Array(array.dtype, shape, np.broadcast_to(raw, shape).tobytes())


def flat(array: Array) -> NDArray[Any]:
    """The values in one dimension: numpy refuses some shapes without elements."""
    return array.reshaped(array.size).values


def reject(error: type[InvalidArgument], name: str, array: Array, bad: NDArray[np.bool_], domain: str) -> NoReturn:
    """Raises `error` about the elements marked in `bad`, which is flat."""
    first = [int(index) for index in np.unravel_index(int(bad.argmax()), array.shape)]
    raise error(name, f"must be {domain}; {np.count_nonzero(bad)} of {bad.size} elements are not, the first at index {first}")


def plus_minus_one(name: str = "target") -> Check:
    """Requires labels of 1 or -1 unless `allow_any_target` is set: labels of 0 and 1 are a common mistake that torch accepts."""

    def check(arguments: Arguments) -> None:
        if arguments["allow_any_target"]:
            return
        values = flat(arguments[name])
        ones = values == 1
        if arguments[name].dtype.name not in ("bool", "uint8"):
            ones |= values == -1
        if not ones.all():
            reject(TargetOutOfRange, name, arguments[name], ~ones, "1 or -1, unless allow_any_target is set")

    return check


def unit_interval(name: str, error: type[InvalidArgument] = ValueOutOfRange) -> Check:
    """Requires probabilities, not NaN."""

    def check(arguments: Arguments) -> None:
        values = flat(arguments[name])
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            reject(error, name, arguments[name], ~((values >= 0) & (values <= 1)), "in [0, 1]")

    return check


def non_negative(name: str) -> Check:
    """Requires elements not below 0. NaN passes, as in torch."""

    def check(arguments: Arguments) -> None:
        bad = flat(arguments[name]) < 0
        if bad.any():
            reject(ValueOutOfRange, name, arguments[name], bad, ">= 0")

    return check


def class_indices(array: Array, field: str, classes: int, ignore_index: int | None = None) -> int:
    """Requires indices in [0, classes), or ignore_index. Returns the number of ignored indices."""
    if array.size == 0:
        return 0
    ignorable = ignore_index is not None and 0 <= ignore_index < classes
    if not ignorable and _largest_unsigned(array) < classes:  # one pass: a negative index is a huge unsigned one
        return 0
    values = flat(array)
    ignored = (values == ignore_index) if ignore_index is not None else np.zeros(values.shape, bool)
    bad = ((values < 0) | (values >= classes)) & ~ignored
    if bad.any():
        domain = f"a class index in [0, {classes})" + (f" or ignore_index ({ignore_index})" if ignore_index is not None else "")
        reject(TargetOutOfRange, field, array, bad, domain)
    return int(np.count_nonzero(ignored))


def all_of(*checks: Check) -> CheckValues:
    """A `check_values` that leaves the arrangement unchanged."""

    def check_values(arguments: Arguments, arrangement: Arrangement, count: int) -> None:
        for check in checks:
            check(arguments)

    return check_values


def _largest_unsigned(array: Array) -> int:
    code = _UNSIGNED[array.dtype.itemsize]
    if array.size <= _FEW:
        return max(memoryview(array.payload).cast(code))
    return int(np.frombuffer(array.payload, code).max())


def elementwise(*names: str, broadcast: tuple[str, ...] = ()) -> Callable[[Arguments], Arrangement]:
    """A `to_columns` for losses of aligned elements: tensors of the first one's shape, flattened.

    `broadcast` names optional tensors that are expanded to that shape.
    """
    first, *others = names

    def to_columns(arguments: Arguments) -> Arrangement:
        shape = arguments[first].shape
        size = arguments[first].size
        columns: dict[str, Array] = {first: arguments[first].reshaped(size)}
        for name in others:
            if name in arguments:
                same_shape(arguments, name, first)
                columns[name] = arguments[name].reshaped(size)
        for name in broadcast:
            if name in arguments:
                columns[name] = expanded(arguments[name], shape, name).reshaped(size)
        return Arrangement(columns=columns, rows=size, output_shape=shape, batch_extent=shape[0] if shape else 1)

    return to_columns


def common_shape(arguments: Arguments, *names: str) -> tuple[int, ...]:
    """The shape to which these tensors broadcast. It has at most as many elements as the largest tensor, so requests stay small."""
    shape: tuple[int, ...] = arguments[names[0]].shape
    widening = names[0]
    for name in names[1:]:
        if arguments[name].shape == shape:
            continue
        try:
            wider = np.broadcast_shapes(shape, arguments[name].shape)
        except ValueError:
            raise ShapeMismatch(name, f"has shape {list(arguments[name].shape)}, which does not broadcast with {list(shape)}") from None
        shape, widening = wider, widening if wider == shape else name
    if math.prod(shape) > max([arguments[name].size for name in names]):
        raise ShapeMismatch(
            widening,
            f"has shape {list(arguments[widening].shape)}; the result would have shape {list(shape)}, larger than every argument",
        )
    return shape


def broadcasting(*names: str, equal_ranks: bool = False) -> Callable[[Arguments], Arrangement]:
    """A `to_columns` for losses of elements, whose tensors torch broadcasts."""

    def to_columns(arguments: Arguments) -> Arrangement:
        shape = common_shape(arguments, *names)
        for name in names if equal_ranks else ():
            expect_rank(arguments[name], name, (len(arguments[names[0]].shape),))
        size = math.prod(shape)
        columns = {name: expanded(arguments[name], shape, name).reshaped(size) for name in names}
        return Arrangement(columns=columns, rows=size, output_shape=shape, batch_extent=shape[0] if shape else 1)

    return to_columns


def per_class(arguments: Arguments, name: str, classes: int) -> dict[str, Array]:
    """The per-class tensor as a shared tensor; empty if it is not set."""
    if name not in arguments:
        return {}
    expect_shape(arguments[name], (classes,), name, f"C = {classes}")
    return {name: arguments[name]}


def finite(array: Array) -> bool:
    """Whether no element is NaN or infinite."""
    return bool(np.isfinite(flat(array)).all())
