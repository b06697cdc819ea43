# SPDX-License-Identifier: Apache-2.0
"""Finds the positions of the tensors' payloads in an encoded request, so that a request like an earlier one needs no parsing.

An encoded request is a skeleton (tags, lengths, shapes, options) with payloads in between. Protobuf reads the structure from the
skeleton alone: a message of the same length, with the same bytes outside the payloads, has the same fields, shapes and options, and
its payloads at the same positions.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from lossd_server.losses.tensor import Encoded
from lossd_server.requests import protobuf

# Skeletons are tags and shapes: tens of bytes. Messages with longer ones are not worth remembering.
_MAX_SKELETON_BYTES = 4096


class Span(NamedTuple):
    """A payload: message[start:end]."""

    start: int
    end: int


class Skeleton(NamedTuple):
    """The bytes of a message outside its payloads."""

    length: int
    fixed: tuple[tuple[slice, bytes], ...]

    def matches(self, message: Encoded) -> bool:
        """Whether the message, which must have this length, has these bytes outside its payloads."""
        for where, content in self.fixed:  # noqa: SIM110 - half the time of all()
            if message[where] != content:
                return False
        return True


def payload_spans(descriptor: Any, message: Encoded) -> dict[str, Span] | None:
    """The payloads of the tensors in an encoded message, by path, as "input" or "tail[0].output".

    `descriptor` is that of the message's twin, which must have parsed it. Returns None if the structure does not follow from the
    skeleton: for payloads in several chunks, unpacked or of bools (whose bytes can be invalid), and for fields that occur twice,
    which protobuf merges.
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
    """The bytes of the message outside the `free` payloads. None if they are too many to remember."""
    skeleton, position = [], 0
    for start, end in [*sorted(free), Span(len(message), len(message))]:
        skeleton.append((slice(position, start), bytes(message[position:start])))
        position = end
    if sum([len(fixed) for _, fixed in skeleton]) > _MAX_SKELETON_BYTES:
        return None
    return Skeleton(len(message), tuple(skeleton))


def without_payloads(descriptor: Any, message: Encoded) -> tuple[bytes, dict[str, Span]] | None:
    """A message without its payloads, and the payloads' positions: only the small remainder of a large message is then parsed.

    `descriptor` is that of the message's twin. Returns None if a payload is not in one piece. Raises protobuf.Malformed.
    """
    payloads: dict[str, Span] = {}
    try:
        thin = _without_payloads(descriptor, message, 0, len(message), "", payloads)
    except _Irregular:
        return None
    return thin, payloads


# Implementation details follow.


class _Irregular(Exception):  # noqa: N818 - a signal, not a failure
    pass


def _payloads(descriptor: Any, message: Encoded, position: int, end: int, path: str) -> Iterator[tuple[str, Span]]:
    """The payloads in message[position:end]."""
    for field, inner_path, found in _known_fields(descriptor, message, position, end, path):
        if field.type == field.TYPE_BYTES:
            yield path, Span(found.start, found.stop)
        elif field.name == "bool_values":
            raise _Irregular
        else:
            yield from _payloads(field.message_type, message, found.start, found.stop, inner_path)


def _without_payloads(descriptor: Any, message: Encoded, position: int, end: int, path: str, payloads: dict[str, Span]) -> bytes:
    parts: list[bytes] = []
    for field, inner_path, found in _known_fields(descriptor, message, position, end, path, others=parts):
        if field.type == field.TYPE_BYTES:
            if path in payloads:
                raise _Irregular
            payloads[path] = Span(found.start, found.stop)
            content = b""
            if field.is_repeated:
                continue
        else:
            content = _without_payloads(field.message_type, message, found.start, found.stop, inner_path, payloads)
        parts += (protobuf.encoded_varint(found.number << 3 | protobuf.LENGTH), protobuf.encoded_varint(len(content)), content)
    return b"".join(parts)


def _known_fields(
    descriptor: Any, message: Encoded, position: int, end: int, path: str, others: list[bytes] | None = None
) -> Iterator[tuple[Any, str, protobuf.Field]]:
    """The payloads, and the messages that may contain payloads, with their paths; the path of a message ends with a dot.

    Appends the bytes of all other fields to `others`. Raises _Irregular for groups, for elements that are not packed, and for messages
    that protobuf would merge.
    """
    seen: dict[int, int] = {}
    for found in protobuf.fields(message, position, end):
        field = descriptor.fields_by_number.get(found.number)
        if found.kind in protobuf.GROUPS:
            raise _Irregular
        if field is not None and found.kind != protobuf.LENGTH:
            if field.type == field.TYPE_BYTES:  # elements that are not packed
                raise _Irregular
            field = None
        if field is None or field.type not in (field.TYPE_BYTES, field.TYPE_MESSAGE):
            if others is not None:
                others.append(bytes(message[found.begin : found.stop]))
            continue
        inner_path = path
        if field.type == field.TYPE_MESSAGE:
            index = seen.get(found.number, 0)
            seen[found.number] = index + 1
            if index and not field.is_repeated:
                raise _Irregular
            if field.containing_type.name != "Tensor":
                inner_path += f"{field.name}[{index}]" if field.is_repeated else field.name
                inner_path += "" if field.message_type.name == "Tensor" else "."
        yield field, inner_path, found
