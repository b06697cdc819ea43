# SPDX-License-Identifier: Apache-2.0
"""Where the tensors' payloads lie in an encoded request, so that a request like an earlier one needs no parsing.

An encoded request is a skeleton (tags, lengths, shapes, options) with payloads in between. Protobuf reads the structure from
the skeleton alone: a message of the same length whose bytes outside the payloads are the same has the same fields, shapes and
options, and its payloads lie at the same places.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from lossd_server.losses.tensor import Encoded

# Skeletons are tags and shapes: tens of bytes. A longer one is a message that is not worth remembering.
_MAX_SKELETON_BYTES = 4096


class Span(NamedTuple):
    """A payload: message[start:end]."""

    start: int
    end: int


class Skeleton(NamedTuple):
    """The bytes of a message outside its payloads."""

    length: int
    skeleton: tuple[tuple[slice, bytes], ...]

    def matches(self, message: Encoded) -> bool:
        """Whether the message, whose length must be `length`, differs in payloads only."""
        for where, fixed in self.skeleton:  # noqa: SIM110 - half the time of all()
            if message[where] != fixed:
                return False
        return True


def payload_spans(descriptor: Any, message: Encoded) -> dict[str, Span] | None:
    """The payloads of the tensors in an encoded message, by path, as "input" or "tail[0].output".

    `descriptor` is that of the message's twin, which must have parsed it. None where the structure does not follow from the
    skeleton: where payloads come in several chunks, unpacked or as bool (whose bytes can be invalid), and where a field occurs
    twice, which protobuf merges.
    """
    spans: dict[str, Span] = {}
    try:
        for path, span in _payloads(descriptor, message, 0, len(message), ""):
            if path in spans:
                return None
            spans[path] = span
    except _Irregular:
        return None
    return spans


def skeleton_of(message: Encoded, free: list[Span]) -> Skeleton | None:
    """The layout of the messages that differ from this one in the free payloads only. None where too much is left."""
    skeleton, position = [], 0
    for start, end in [*sorted(free), Span(len(message), len(message))]:
        skeleton.append((slice(position, start), bytes(message[position:start])))
        position = end
    if sum([len(fixed) for _, fixed in skeleton]) > _MAX_SKELETON_BYTES:
        return None
    return Skeleton(len(message), tuple(skeleton))


# Implementation details follow.


class _Irregular(Exception):  # noqa: N818 - a signal, not a failure
    pass


def _payloads(descriptor: Any, message: Encoded, position: int, end: int, path: str) -> Iterator[tuple[str, Span]]:
    """The payloads in message[position:end], which is valid protobuf of this type."""
    seen: dict[int, int] = {}
    while position < end:
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            _, position = _varint(message, position)
        elif wire_type == 1:
            position += 8
        elif wire_type == 5:
            position += 4
        elif wire_type == 2:
            length, position = _varint(message, position)
            field = descriptor.fields_by_number.get(number)
            if field is not None:
                index = seen.get(number, 0)
                seen[number] = index + 1
                yield from _field(field, message, position, position + length, path, index)
            position += length
        else:
            raise _Irregular


def _field(field: Any, message: Encoded, start: int, end: int, path: str, index: int) -> Iterator[tuple[str, Span]]:
    """`path` is that of the message around it, with a dot at its end, or of the tensor whose values these are."""
    if field.type == field.TYPE_BYTES:
        yield path, Span(start, end)
    elif field.type == field.TYPE_MESSAGE:
        in_tensor = field.containing_type.name == "Tensor"
        if (in_tensor and field.name == "bool_values") or (index and not field.is_repeated):
            raise _Irregular
        if not in_tensor:
            path += f"{field.name}[{index}]" if field.is_repeated else field.name
            path += "" if field.message_type.name == "Tensor" else "."
        yield from _payloads(field.message_type, message, start, end, path)


def _varint(message: Encoded, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
