# SPDX-License-Identifier: Apache-2.0
"""Bounds the memory that parsing a message may take, before it is parsed: two bytes of a message can become hundreds.

An empty message inside another is two bytes long, and takes 300 with the objects made from it; an empty piece of a packed field is
as long, and takes 30; an integer of a packed list is one byte long, and takes 8. So a message of the size limit might take a hundred
times its size, while the budget of bytes in flight assumes three times, and seconds to read.

Whether the message is valid is left to the parser.
"""

from contextlib import suppress
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lossd_server.errors import ShapeMismatch, TooManyFields
from lossd_server.losses.tensor import MAX_RANK, Encoded
from lossd_server.requests import protobuf

# Messages up to this size, as most are, are not checked: they stay small when parsed.
ABOVE_BYTES: Final = 64 << 10

# Messages within messages, pieces of packed fields, runs of single elements: a legitimate request has some dozens.
MAX_FIELDS: Final = 1 << 14

# Elements that are not packed, or of unknown fields. Every generated client packs elements.
MAX_SINGLE_ELEMENTS: Final = 1 << 18

# Integers in packed lists: shapes and lengths. At most as many as take the message's own size when parsed, or this many.
MAX_INTEGERS: Final = 1 << 14

_INTEGERS: Final = frozenset({FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64})


def check(message: Encoded, descriptor: Descriptor) -> None:
    """Raises TooManyFields or ShapeMismatch. `descriptor` is that of the class that will parse the message."""
    if len(message) > ABOVE_BYTES:
        with suppress(protobuf.Malformed):
            _Count(message).add(descriptor, 0, len(message), "")


def integers(message: Encoded, start: int, stop: int) -> int:
    """The number of varints packed in message[start:stop]."""
    return int(np.count_nonzero(np.frombuffer(message, np.uint8, stop - start, start) < 0x80)) if stop > start else 0


# Implementation details follow.


class _Count:
    def __init__(self, message: Encoded) -> None:
        self._message = message
        self._fields_left = MAX_FIELDS
        self._single_left = MAX_SINGLE_ELEMENTS
        self._integers_left = _max_integers(message)

    def add(self, descriptor: Descriptor, start: int, end: int, path: str) -> None:
        known: Any = descriptor.fields_by_number
        for found in protobuf.fields(self._message, start, end):
            self._fields_left -= 1
            self._single_left -= found.elements
            if self._fields_left < 0 or self._single_left < 0:
                raise _too_many(MAX_FIELDS, "fields: pack repeated ones, in one piece, or split the batch")
            field = known.get(found.number)
            if field is None:
                continue
            length_delimited = found.kind == protobuf.LENGTH
            if field.type in _INTEGERS:
                count = integers(self._message, found.start, found.stop) if length_delimited else found.elements
                self._add_integers(field.name, path, count)
            elif field.message_type is not None and length_delimited:
                self.add(field.message_type, found.start, found.stop, f"{path}.{field.name}" if path else field.name)

    def _add_integers(self, name: str, path: str, count: int) -> None:
        self._integers_left -= count
        if name == "shape" and count > MAX_RANK:
            raise ShapeMismatch(path, f"has {count} extents; at most {MAX_RANK} are supported")
        if self._integers_left < 0:
            raise _too_many(_max_integers(self._message), f"{name}: split the batch")


def _max_integers(message: Encoded) -> int:
    return max(MAX_INTEGERS, len(message) // 8)


def _too_many(limit: int, of_what: str) -> TooManyFields:
    return TooManyFields(f"the request has more than {limit} {of_what}", limit=limit, actual=limit + 1)
