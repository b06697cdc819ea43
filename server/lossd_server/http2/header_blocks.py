# SPDX-License-Identifier: Apache-2.0
"""HPACK header blocks. A client sends the same few blocks again and again, so decoded blocks are cached.

Our own blocks do not use the dynamic table: they are constants, and may be sent in any order.
"""

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from hpack import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from lossd_server.http2 import budget, header_rules
from lossd_server.http2.budget import Budget
from lossd_server.http2.frames import ConnectionFault, ErrorCode
from lossd_server.http2.header_rules import Headers

Head = TypeVar("Head")

# Limits of what a peer may make us hold and decode. A block that decodes to a longer list (RFC 9113, section 6.5.2) fails its stream.
# A block with more bytes or fields than any real request has ends the connection.
MAX_LIST_BYTES: Final = 64 << 10
MAX_BLOCK_BYTES: Final = 128 << 10
_FIELD_BYTES: Final = 32  # counted for each field in addition to its name and value
_MAX_FIELDS: Final = 2 * MAX_LIST_BYTES // _FIELD_BYTES

_REMEMBERED_BYTES: Final = 512
_MAX_REMEMBERED: Final = 64

DEFAULT_TABLE_BYTES: Final = 4096
NO_TABLE: Final = b"\x20"  # at the beginning of a block: the sender's dynamic table has 0 bytes from now on (RFC 7541, section 6.3)

_STATUS_200: Final = b"\x88"


class Block(NamedTuple, Generic[Head]):
    """A decoded header block. `head` is the result of `read_headers` for a well-formed request, and None for everything else."""

    head: Head | None
    content_length: int | None
    trailers: bool  # whether the fields are well-formed trailers
    too_large: bool
    cost: float  # see Budget


class _Table(HeaderTable):
    """Counts its changes, because the meaning of a block depends on the table."""

    changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.fset(self, value)  # type: ignore[attr-defined]


class HeaderBlocks(Generic[Head]):
    """Decodes the header blocks that a peer sends, in order. `read_headers` parses those of requests."""

    def __init__(self, read_headers: Callable[[Headers], Head], work: Budget) -> None:
        self._read_head = read_headers
        self._budget = work
        self._table = _Table()
        self._remembered: dict[bytes, Block[Head]] = {}
        self._changes = 0

    def decode(self, data: bytes) -> Block[Head]:
        """Decodes a block, or returns the cached result of an equal block with the same meaning. Raises ConnectionFault."""
        known = self._remembered.get(data)
        if known is not None:
            return known
        try:
            headers, too_large, cost = self._fields(data)
        except (HPACKError, IndexError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a header block that cannot be decoded") from error
        block = self._block(headers, too_large, cost)
        if self._table.changes != self._changes:
            self._changes = self._table.changes
            self._remembered.clear()
        elif len(data) <= _REMEMBERED_BYTES and len(self._remembered) < _MAX_REMEMBERED:
            self._remembered[data] = block._replace(cost=0)
        return block

    # Implementation details follow.

    def _block(self, headers: Headers, too_large: bool, cost: float) -> Block[Head]:
        if too_large:
            return Block(None, None, False, True, cost)
        try:
            length = header_rules.content_length(headers)
        except ValueError:
            return Block(None, None, False, False, cost)
        if header_rules.is_request(headers):
            return Block(self._read_head(headers), length, False, False, cost)
        return Block(None, length, header_rules.are_trailers(headers), False, cost)

    def _fields(self, data: bytes) -> tuple[Headers, bool, float]:
        """The fields, whether they exceed the limit, and the cost. Fields beyond the limit still change the table."""
        table, charge = self._table, self._budget.charge
        headers: list[tuple[bytes, bytes]] = []
        position = size = count = updates = 0
        cost = 0.0
        while position < len(data):
            first = data[position]
            charge(budget.FIELD)
            cost += budget.FIELD
            if first & 0x80:
                index, position = _integer(data, position, 0x7F)
                name, value = table.get_by_index(index)
            elif first & 0xE0 == 0x20:
                table_bytes, position = _integer(data, position, 0x1F)
                updates += 1
                if count or updates > _MAX_UPDATES or table_bytes > DEFAULT_TABLE_BYTES:
                    raise HPACKError("a change of the table's size that may not be")
                table.maxsize = table_bytes
                continue
            else:
                start = position
                index, position = _integer(data, position, 0x3F if first & 0x40 else 0x0F)
                if index:
                    name = table.get_by_index(index)[0]
                else:
                    name, position = self._string(data, position)
                value, position = self._string(data, position)
                if first & 0x40:
                    table.add(name, value)
                cost += (position - start) * budget.HUFFMAN_BYTE
            count += 1
            if count > _MAX_FIELDS:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block has too many fields")
            size += len(name) + len(value) + _FIELD_BYTES
            if size <= MAX_LIST_BYTES:
                headers.append((name, value))
        return tuple(headers), size > MAX_LIST_BYTES, cost

    def _string(self, data: bytes, position: int) -> tuple[bytes, int]:
        huffman = data[position] & 0x80
        length, position = _integer(data, position, 0x7F)
        stop = position + length
        text = data[position:stop]
        if len(text) != length:
            raise HPACKError("a string that is cut off")
        if huffman:
            self._budget.charge(length * budget.HUFFMAN_BYTE)
            text = bytes(decode_huffman(text))
        return text, stop


# Encoders acknowledge the smallest of several sizes and the last (RFC 7541, section 4.2); some acknowledge all of them.
_MAX_UPDATES: Final = 16

_LONGEST_SHIFT: Final = 28


def _integer(data: bytes, position: int, mask: int) -> tuple[int, int]:
    """The integer after a prefix (RFC 7541, section 5.1), and the position after it. Raises HPACKError or IndexError."""
    value = data[position] & mask
    position += 1
    if value < mask:
        return value, position
    shift = 0
    while shift <= _LONGEST_SHIFT:
        byte = data[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise HPACKError("an integer that is too large")


def literal(name: bytes, value: bytes) -> bytes:
    """A field that is not added to the dynamic table (RFC 7541, section 6.2.2)."""
    return b"\x00" + _string(name) + _string(value)


def status_block(status: int) -> bytes:
    """The block of a response that has only a status."""
    return b"\x08" + _string(str(status).encode())  # a literal with the name of entry 8 of the static table, :status


def response_block(*fields: tuple[bytes, bytes]) -> bytes:
    """The block of a response with status 200."""
    return _STATUS_200 + trailer_block(*fields)


def trailer_block(*fields: tuple[bytes, bytes]) -> bytes:
    """A block of these fields only."""
    return b"".join([literal(name, value) for name, value in fields])


def _string(text: bytes) -> bytes:
    length = len(text)
    if length < 127:
        return bytes((length,)) + text
    encoded, rest = bytearray((127,)), length - 127
    while rest >= 128:
        encoded.append(rest & 127 | 128)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded) + text
