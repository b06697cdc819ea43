# SPDX-License-Identifier: Apache-2.0
"""Tensor message <-> array, without per-element work in either direction, and without torch.

Messages are parsed through their twins (lossd.twins), whose packed fields are bytes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf.unknown_fields import UnknownFieldSet
from numpy.typing import NDArray

from lossd_server.errors import MessageMalformed, ShapeMismatch, TensorByteLengthMismatch, TensorMissing

MAX_RANK = 8
_MAX_VARINT = 10  # bytes

# An encoded message. A large message is a view of the memory into which it was received.
Encoded = bytes | memoryview


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """An element type of the wire. `numpy` is how the payload is viewed; bfloat16, which numpy lacks, as uint16."""

    name: str
    numpy: "np.dtype[Any]"
    kind: str  # "f" float, "i" integer, "b" bool

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.numpy.itemsize


FLOAT16: Final = DType("float16", np.dtype("<f2"), "f")
BFLOAT16: Final = DType("bfloat16", np.dtype("<u2"), "f")
FLOAT32: Final = DType("float32", np.dtype("<f4"), "f")
FLOAT64: Final = DType("float64", np.dtype("<f8"), "f")
INT32: Final = DType("int32", np.dtype("<i4"), "i")
INT64: Final = DType("int64", np.dtype("<i8"), "i")
UINT8: Final = DType("uint8", np.dtype("u1"), "i")
BOOL: Final = DType("bool", np.dtype("?"), "b")

DTYPES: Final = {f"{d.name}_values": d for d in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64, INT32, INT64, UINT8, BOOL)}
_BY_NUMPY: Final = {d.numpy: d for d in (FLOAT16, FLOAT32, FLOAT64, INT32, INT64, UINT8, BOOL)}


class Array:
    """A decoded tensor: its element type, shape and payload (dense, row-major, little-endian).

    Invariant: len(payload) == dtype.itemsize * prod(shape).
    """

    __slots__ = ("_values", "dtype", "payload", "shape")

    def __init__(self, dtype: DType, shape: tuple[int, ...], payload: "bytes | memoryview") -> None:
        self.dtype = dtype
        self.shape = shape
        self.payload = payload
        self._values: NDArray[Any] | None = None

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Array":
        """The array that holds these values, copied."""
        return cls(_BY_NUMPY[values.dtype], values.shape, values.tobytes())

    def __repr__(self) -> str:
        return f"Array({self.dtype.name}, {self.shape})"

    @property
    def values(self) -> NDArray[Any]:
        """Read-only, of `shape`, on the payload itself; bfloat16 is widened to float32 once."""
        if self._values is None:
            flat = np.frombuffer(self.payload, self.dtype.numpy)
            if self.dtype is BFLOAT16:
                flat = (flat.astype(np.uint32) << 16).view(np.float32)
            self._values = flat.reshape(self.shape)
        return self._values

    @property
    def size(self) -> int:
        """The number of elements."""
        return len(self.payload) // self.dtype.itemsize

    def reshaped(self, *shape: int) -> "Array":
        """The same payload under another shape of the same size."""
        return Array(self.dtype, shape, self.payload)


def slices(parts: Iterable[tuple[str, DType, tuple[int, ...], slice]], payload: Encoded) -> dict[str, Array]:
    """Arrays with payloads inside one, given the name, element type, shape and position of each."""
    return {name: Array(dtype, shape, payload[where]) for name, dtype, shape, where in parts}


class Unpacked(Exception):  # noqa: N818 - a signal, not a failure
    """The twin could not read this tensor's values; the message must be parsed with its public class."""


def _canonical_bools(payload: Encoded) -> Encoded:
    """One byte, 0 or 1, for each bool of packed varints. Raises Unpacked if a varint does not end or is too long."""
    raw = np.frombuffer(payload, np.uint8)
    if not raw.size or raw.max() <= 1:
        return payload
    is_last = raw < 0x80
    if not is_last.all():
        ends = np.flatnonzero(is_last)
        lengths = np.diff(ends, prepend=-1)
        if not is_last[-1] or lengths.max() > _MAX_VARINT:
            raise Unpacked
        bits = raw & 0x7F
        bits[ends[lengths == _MAX_VARINT]] &= 1  # bits beyond the 64th do not count
        raw = np.logical_or.reduceat(bits, ends - lengths + 1).view(np.uint8)
    return bytes((raw != 0).tobytes())


def decode_tensor(message: Any, field: str, *, public: bool = False, payload: Encoded | None = None) -> Array:
    """The array of a Tensor message, through its twin, or through its public class if `public`.

    `payload` is given if it was left out of the message. Raises Unpacked if only the public class can tell whether the
    message is valid, and InvalidArgument, naming `field`, if it is not.
    """
    member = message.WhichOneof("values")
    if member is None:
        raise TensorMissing(field, "has no values; set one of the members that name an element type")
    dtype = DTYPES[member]
    if len(message.shape) > MAX_RANK:
        raise ShapeMismatch(field, f"has {len(message.shape)} extents; at most {MAX_RANK} are supported")
    shape = tuple(message.shape)
    if shape and min(shape) < 0:
        raise ShapeMismatch(field, f"shape {list(shape)} has a negative extent")
    expected_bytes = math.prod(shape) * dtype.itemsize
    values = getattr(message, member)
    if payload is not None:
        if type(values) is not bytes and len(payload) % dtype.itemsize:
            raise MessageMalformed("", f"{field} ends within an element")
        try:
            payload = _canonical_bools(payload) if dtype is BOOL else payload
        except Unpacked:
            raise MessageMalformed("", f"{field} has a bool that does not end") from None
    elif type(values) is bytes:
        payload = values
    elif public:
        payload = np.fromiter(values.values, dtype.numpy, len(values.values)).tobytes()  # without a temporary list of objects
    else:
        chunks = values.values
        payload = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if dtype is BOOL:
            if any(chunk[-1:] >= b"\x80" for chunk in chunks):
                raise Unpacked
            payload = _canonical_bools(payload)
        # If a chunk ends within an element, the public class would refuse the whole message without naming the field.
        whole = not any(len(chunk) % dtype.itemsize for chunk in chunks)
        if whole and len(UnknownFieldSet(values)):  # elements with a tag each, perhaps
            raise Unpacked
    if len(payload) != expected_bytes:
        raise TensorByteLengthMismatch(
            field,
            f"shape {list(shape)} of {dtype.name} takes {expected_bytes} bytes, but the payload has {len(payload)} bytes",
        )
    return Array(dtype, shape, payload)
