# SPDX-License-Identifier: Apache-2.0
"""Header blocks. Requests of one client have the same few blocks again and again, so those are remembered, decoded.

Responses are written without the dynamic table: their blocks are constants, and nothing depends on the order in which they leave.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from lossd_server.http2.frames import ConnectionFault, ErrorCode

Head = TypeVar("Head")
Headers = tuple[tuple[bytes, bytes], ...]

# What a peer may make us hold and unpack: a block as it comes, and the list that it stands for (RFC 9113, section 6.5.2).
MAX_BLOCK_BYTES: Final = 64 << 10
MAX_LIST_BYTES: Final = 64 << 10

_REMEMBERED_BYTES: Final = 512
_MAX_REMEMBERED: Final = 64

DEFAULT_TABLE_BYTES: Final = 4096
NO_TABLE: Final = b"\x20"  # begins a block of a side whose dynamic table has 0 bytes from then on (RFC 7541, section 6.3)

_STATUS_200: Final = b"\x88"


class _Table(HeaderTable):
    """Counts its changes: what a block means depends on them."""

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
    """The header blocks that a peer sends, in their order, and what `read_headers` makes of them."""

    def __init__(self, read_headers: Callable[[Headers], Head]) -> None:
        self._read_head = read_headers
        self._table = _Table()
        self._decoder = Decoder(max_header_list_size=MAX_LIST_BYTES)
        self._decoder.header_table = self._table
        self._remembered: dict[bytes, Head] = {}
        self._changes = 0

    def decode(self, block: bytes) -> Head:
        """What a block comes to: the same object for equal blocks, while they mean the same. Raises ConnectionFault."""
        known = self._remembered.get(block)
        if known is not None:
            return known
        try:
            headers: Headers = tuple([(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)])
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a header block that cannot be decoded") from error
        head = self._read_head(headers)
        if self._table.changes != self._changes:
            self._changes = self._table.changes
            self._remembered.clear()
        elif len(block) <= _REMEMBERED_BYTES and len(self._remembered) < _MAX_REMEMBERED:
            self._remembered[block] = head
        return head


def literal(name: bytes, value: bytes) -> bytes:
    """A field that neither side remembers (RFC 7541, section 6.2.2)."""
    return b"\x00" + _string(name) + _string(value)


def status_block(status: int) -> bytes:
    """The block of a response that is nothing but this status."""
    return b"\x08" + _string(str(status).encode())  # a literal whose name is that of entry 8 of the static table, :status


def response_block(*fields: tuple[bytes, bytes]) -> bytes:
    """The block of a response with status 200."""
    return _STATUS_200 + trailer_block(*fields)


def trailer_block(*fields: tuple[bytes, bytes]) -> bytes:
    """A block of fields alone."""
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
