# SPDX-License-Identifier: Apache-2.0
"""The fields of a request -> its message, field by field in the order of their numbers, as protobuf encodes it.

The field of a tensor is a prefix, which follows from the tensor's type and shape, and then its elements. They are copied twice, in
pieces, and the second copy of a large message leaves other threads running. A protobuf message would copy them three times, and no
other thread would run meanwhile.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lossd import twins
from lossd._tensors import Values
from lossd.v1 import tensor_pb2

_PIECE_BYTES: Final = 1 << 20
_MEMBERS: Final = tensor_pb2.Tensor.DESCRIPTOR.fields_by_name
_PLAIN: Final = (int, float, bool)


def encode(name: str, fields: Mapping[str, Any]) -> bytes:
    """The message of lossd.v1 with this name. Tensors are Values, messages dicts. Raises TypeError or ValueError for other values."""
    return b"".join(_pieces(name, fields))


# Implementation details follow.


def _pieces(name: str, fields: Mapping[str, Any]) -> list[bytes]:
    pieces: list[bytes] = []
    for field, number, message_name in _ordered_fields(name):
        if field not in fields:
            continue
        value = fields[field]
        if type(value) is Values:
            pieces.append(_tensor_prefix(number, value.member, value.array.shape, value.array.nbytes))
            pieces += _elements(value.array)
        elif type(value) in _PLAIN:
            pieces.append(_scalar(name, field, value))
        elif message_name is None:
            pieces.append(_scalar.__wrapped__(name, field, value))
        else:
            for item in value if isinstance(value, list) else [value]:
                inner = _pieces(message_name, item)
                pieces += [_prefix(number, sum(map(len, inner))), *inner]
    return pieces


@cache
def _ordered_fields(name: str) -> list[tuple[str, int, str | None]]:
    """The name of each field of a message, its number, and the name of the message that it holds."""
    fields = sorted(twins.twin(name).DESCRIPTOR.fields, key=lambda field: field.number)
    return [(field.name, field.number, field.message_type and field.message_type.name) for field in fields]


@lru_cache(1024, typed=True)
def _scalar(name: str, field: str, value: Any) -> bytes:
    """A field that holds a number, or a list of numbers."""
    try:
        encoded: bytes = twins.twin(name)(**{field: value}).SerializeToString()
    except (TypeError, ValueError) as error:
        raise type(error)(f"{field} is {value!r}: {error}") from error
    return encoded


@lru_cache(4096)
def _tensor_prefix(number: int, member: str, shape: tuple[int, ...], nbytes: int) -> bytes:
    """What is before the elements in a field that holds a Tensor."""
    extents = b"".join(map(_varint, shape))
    values = _MEMBERS[member]
    typed = values.message_type is not None and nbytes > 0  # its values are within a message, and a list that is empty is left out
    inner = _prefix(1, nbytes) if typed else b""
    before = (_prefix(1, len(extents)) + extents if shape else b"") + _prefix(values.number, len(inner) + nbytes) + inner
    return _prefix(number, len(before) + nbytes) + before


def _elements(array: NDArray[Any]) -> list[bytes]:
    if array.nbytes <= _PIECE_BYTES:
        return [array.tobytes()]
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return [flat[start : start + _PIECE_BYTES].tobytes() for start in range(0, flat.size, _PIECE_BYTES)]


def _prefix(number: int, nbytes: int) -> bytes:
    """What is before the content of a field that holds bytes, a message or a packed list."""
    return _varint(number << 3 | 2) + _varint(nbytes)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
