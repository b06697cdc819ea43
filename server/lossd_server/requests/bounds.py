# SPDX-License-Identifier: Apache-2.0
"""How much a message becomes when it is parsed, found before it is: two bytes of it may ask for hundreds.

An empty message inside another is two bytes long, and takes 300 with the objects that are made of it; an empty piece of a
packed field is as long, and takes 30; an integer of a packed list is one byte long, and takes 8. So a message of the size
limit might take a hundred times its size, where the budget of bytes in flight counts on three.

Whether the message is valid is not decided here: parsing does that.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lossd_server.errors import ShapeMismatch, TooManyFields
from lossd_server.losses.tensor import MAX_RANK, Encoded

# Messages up to here are not looked at: what they become is small, and so are most messages.
ABOVE_BYTES: Final = 64 << 10

# Messages within messages, pieces of packed fields, runs of single elements: of an honest request there are some dozens.
MAX_FIELDS: Final = 1 << 14

# Integers in packed lists: shapes and lengths. Parsed they take no more than the message, or than this many.
MAX_INTEGERS: Final = 1 << 14

# Elements of a repeated field, one to a tag, that are passed over together. Longer runs would be read again and again where
# a message is made of short ones.
_RUN: Final = 4096

_VARINT, _FIXED64, _LENGTH, _START, _END, _FIXED32 = range(6)
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}
_INTEGERS: Final = frozenset({FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64})


class _Stop(Exception):  # noqa: N818 - a signal
    """The bytes are no message."""


def check(message: Encoded, descriptor: Descriptor) -> None:
    """Raises TooManyFields or ShapeMismatch. `descriptor` is the one that the message will be parsed with."""
    if len(message) <= ABOVE_BYTES:
        return
    with suppress(_Stop):
        _Count(message).add(descriptor, 0, len(message), "")


def fields(message: Encoded, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, elements, start, end) of the fields at the top of message[position:end]. Ends where the bytes are no message.

    `elements` is 0 where a field is length-delimited: its content lies from `start` to `end`. Others come in runs of as many
    elements.
    """
    try:
        yield from _fields(message, position, end)
    except _Stop:
        return


def integers(message: Encoded, start: int, end: int) -> int:
    """How many varints are packed in message[start:end]."""
    return int(np.count_nonzero(np.frombuffer(message, np.uint8, end - start, start) < 0x80)) if end > start else 0


# Implementation details follow.


class _Count:
    def __init__(self, message: Encoded) -> None:
        self._message = message
        self._fields_left = MAX_FIELDS
        self._integers_left = _most_integers(message)

    def add(self, descriptor: Descriptor, start: int, end: int, path: str) -> None:
        known: Any = descriptor.fields_by_number
        for number, elements, first, last in _fields(self._message, start, end):
            self._fields_left -= 1
            if self._fields_left < 0:
                raise _too_many(MAX_FIELDS, "fields: pack repeated ones, in one piece, or split the batch")
            field = known.get(number)
            if field is None:
                continue
            if field.type in _INTEGERS:
                self._add_integers(field.name, path, elements or integers(self._message, first, last))
            elif field.message_type is not None and not elements:
                self.add(field.message_type, first, last, f"{path}.{field.name}" if path else field.name)

    def _add_integers(self, name: str, path: str, count: int) -> None:
        self._integers_left -= count
        if name == "shape" and count > MAX_RANK:
            raise ShapeMismatch(path, f"has {count} extents; at most {MAX_RANK} are supported")
        if self._integers_left < 0:
            raise _too_many(_most_integers(self._message), f"{name}: split the batch")


def _most_integers(message: Encoded) -> int:
    return max(MAX_INTEGERS, len(message) // 8)


def _too_many(limit: int, of_what: str) -> TooManyFields:
    return TooManyFields(f"the request has more than {limit} {of_what}", limit=limit, actual=limit + 1)


def _fields(message: Encoded, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    while position < end:
        start = position
        tag, position = _varint(message, position, end)
        kind = tag & 7
        if kind == _LENGTH:
            length, position = _varint(message, position, end)
            if length > end - position:
                raise _Stop
            yield tag >> 3, 0, position, position + length
            position += length
            continue
        run = 0
        if kind in _WIDTHS or kind == _VARINT:
            position = position + _WIDTHS[kind] if kind in _WIDTHS else _varint(message, position, end)[1]
            run = _run(message, start, position, end)
        elif kind not in (_START, _END):  # the fields of a group are counted as if they were beside it
            raise _Stop
        yield tag >> 3, 1 + run, start, position
        position += run * (position - start)


def _run(message: Encoded, start: int, position: int, end: int) -> int:
    """How many elements follow, a few thousand at most, that have the tag and the width of message[start:position]."""
    tag, width = message[start], position - start
    if message[position : position + 1] != message[start : start + 1] or tag >= 0x80:  # no run, or a tag of several bytes
        return 0
    count = min(_RUN, (end - position) // width)
    elements = np.frombuffer(message, np.uint8, count * width, position).reshape(count, width)
    same = elements[:, 0] == tag
    if tag & 7 == _VARINT:  # the last byte of each, and no other, has no continuation bit
        same &= (elements[:, 1:-1] >= 0x80).all(1) & (elements[:, -1] < 0x80)
    return count if same.all() else int(same.argmin())


def _varint(message: Encoded, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _Stop
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Stop
