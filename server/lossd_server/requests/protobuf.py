# SPDX-License-Identifier: Apache-2.0
"""Reads the fields of protobuf's wire format (https://protobuf.dev/programming-guides/encoding) without parsing their contents.

The parser copies: a request of 64 MB takes it 140 ms, during which the event loop is blocked. This module skips over payloads
without reading them. All other modules read the wire format through it.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from lossd_server.errors import MessageMalformed
from lossd_server.losses.tensor import Encoded

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2  # length-delimited
START_GROUP: Final = 3
END_GROUP: Final = 4
FIXED32: Final = 5
GROUPS: Final = (START_GROUP, END_GROUP)

_WIDTHS: Final = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES: Final = 10
_MAX_TAG: Final = 2**32 - 1
_MAX_TAG_BYTES: Final = 5

# Elements of an unpacked field that are compared at once. With longer runs, a message of many short runs would have the same bytes
# compared again and again.
_RUN: Final = 4096

# Numbers below 128 as protobuf writes them.
SMALL_VARINTS: Final = [bytes([number]) for number in range(128)]


class Malformed(Exception):  # noqa: N818 - a signal: the reader of the message raises the error that says what is wrong
    """The bytes are not a message."""


def parse(message_class: Any, message: Encoded) -> Any:
    """Parses a message of lossd.v1 with one of its classes. Raises MessageMalformed."""
    try:
        return message_class.FromString(message)
    except DecodeError:
        raise malformed(message_class) from None


def malformed(message_class: Any) -> MessageMalformed:
    """The error of bytes that are not a message of this class."""
    return MessageMalformed("", f"the bytes are not a lossd.v1.{message_class.DESCRIPTOR.name}")


class Field(NamedTuple):
    """A field of a message: message[begin:stop] with its tag, message[start:stop] without.

    Consecutive fields of equal number, kind and width, unless length-delimited, are one Field with their number in `elements`.
    """

    number: int
    kind: int
    begin: int
    start: int
    stop: int
    elements: int


def fields(message: Encoded, position: int, end: int) -> Iterator[Field]:
    """The fields at the top of message[position:end]; fields of a group count as top-level. Raises Malformed."""
    while position < end:
        begin = position
        tag, position = varint(message, position, end)
        if not 8 <= tag <= _MAX_TAG or position - begin > _MAX_TAG_BYTES:
            raise Malformed
        kind = tag & 7
        start, count = position, 1
        if kind == LENGTH:
            length, start = varint(message, position, end)
            position = start + length
        elif kind == VARINT:
            _, position = varint(message, position, end)
        elif kind in _WIDTHS:
            position += _WIDTHS[kind]
        elif kind not in GROUPS:
            raise Malformed
        if position > end:
            raise Malformed
        if kind in (VARINT, FIXED64, FIXED32) and message[position : position + 1] == message[begin : begin + 1]:
            more = _run(message, begin, position, end)
            position += more * (position - begin)
            count += more
        yield Field(tag >> 3, kind, begin, start, position, count)


def varint(message: Encoded, position: int, end: int) -> tuple[int, int]:
    """The number at a position, and the position after it. Raises Malformed."""
    if position < end and message[position] < 0x80:
        return message[position], position + 1
    value = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        if position >= end:
            raise Malformed
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise Malformed


def encoded_varint(number: int) -> bytes:
    """A number >= 0 as protobuf writes it."""
    if number < 128:
        return SMALL_VARINTS[number]
    if number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    if number < 1 << 21:
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
    encoded = bytearray()
    while number >= 128:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _run(message: Encoded, begin: int, stop: int, end: int) -> int:
    """The number of elements after message[begin:stop] that have its tag and its width."""
    tag, width = message[begin], stop - begin
    if tag >= 0x80:
        return 0
    count = min(_RUN, (end - stop) // width)
    elements = np.frombuffer(message, np.uint8, count * width, stop).reshape(count, width)
    same = elements[:, 0] == tag
    if tag & 7 == VARINT:  # only the last byte of each lacks the continuation bit
        same &= (elements[:, 1:-1] >= 0x80).all(1) & (elements[:, -1] < 0x80)
    return count if same.all() else int(same.argmin())
