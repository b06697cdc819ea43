# SPDX-License-Identifier: Apache-2.0
"""Requests that no typed public API makes: missing arguments, tensors that contradict their shapes, bytes that are no message."""

import base64
from collections.abc import Iterator
from typing import Final

from golden.encoding import Json, fields, message, tensor
from support.wire_format import varint, within

_UNKNOWN_FIELD: Final = 1000
_HUGE_EXTENT: Final = 2**62


def raw_requests(rpc: str, arguments: Json) -> Iterator[tuple[str, bytes]]:
    """The names and the bytes of broken requests, each made from a good one with these arguments."""
    good = fields(rpc, arguments)
    name = f"{rpc}Request"
    encoded = message(name, good)
    yield "no bytes", b""
    yield "bytes that are no message", b"\xff\xff\xff"
    yield "a message cut short", encoded[:-1]
    yield "a tensor that is a number", varint(1 << 3) + varint(5) + encoded
    yield "an unknown field", encoded + within(_UNKNOWN_FIELD, b"?")
    yield "an unknown reduction", message(name, good | {"reduction": 77})
    yield "the reduction of number 0", message(name, good | {"reduction": 0})
    yield "an unknown precision", message(name, good | {"precision": 77})
    tensors = {field: value for field, value in good.items() if isinstance(value, dict) and "dtype" in value}
    for field, value in good.items():
        if field in tensors or isinstance(value, list):
            yield f"no {field}", message(name, {other: held for other, held in good.items() if other != field})
    for field, value in tensors.items():
        yield f"{field} with an element too many", message(name, good | {field: _with_data(value, _data(value) + bytes(_itemsize(value)))})
    lead, value = next(iter(tensors.items()))
    shapes = {"a negative extent": [-1, -2], "nine extents": [1] * 9, "an enormous shape": [_HUGE_EXTENT] * 8}
    for label, shape in shapes.items():
        yield f"{lead} of {label}", message(name, good | {lead: tensor(value | {"shape": shape})})
    yield f"{lead} with part of an element", message(name, good | {lead: _with_data(value, _data(value)[:-1])})
    halves = value | {"dtype": "float16"}
    yield f"{lead} with part of a float16", message(name, good | {lead: _with_data(halves, _data(value)[:-1])})
    yield f"{lead} without values", message(name, good | {lead: within(1, b"".join(varint(extent) for extent in value["shape"]))})


# Implementation details follow.


def _data(value: Json) -> bytes:
    return base64.b64decode(value["data"])


def _with_data(value: Json, data: bytes) -> bytes:
    return tensor(value | {"data": base64.b64encode(data).decode()})


def _itemsize(value: Json) -> int:
    elements = 1
    for extent in value["shape"]:
        elements *= extent
    return len(_data(value)) // elements
