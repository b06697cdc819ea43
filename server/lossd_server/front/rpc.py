# SPDX-License-Identifier: Apache-2.0
"""What every RPC has: a method, a caller, a deadline, messages that arrive in pieces, and one end that the metrics hear of."""

import asyncio
import time
import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from lossd_server.errors import CallError, DeadlineExceeded, MessageMalformed, RequestTooLarge, Unimplemented
from lossd_server.front import status
from lossd_server.front.request_headers import RequestHeaders
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.http2.sending import Stream
from lossd_server.losses.tensor import Encoded

PREFIX_BYTES: Final = 5  # whether compressed, and the length

# A message that has begun must be whole within this time: what it takes is counted from its beginning.
RECEIVE_SECONDS: Final = 60.0

# Messages to methods that are open to all are small, whatever others may be.
_MAX_OPEN_BYTES: Final = 4 << 10

# What they become is not counted before it is known.
_MAX_UNPACKING: Final = 2
_UNPACKING: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]] = WeakKeyDictionary()

_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}  # zlib's names of the formats


class Method(NamedTuple):
    """A method of a service. `observe` is (status code, seconds, caller)."""

    name: str
    streaming: bool  # of requests or responses
    serve: Any
    observe: Callable[[str, float, str], None]
    open_to_all: bool = False

    def most_bytes(self, max_request_bytes: int) -> int:
        """The largest message."""
        return min(_MAX_OPEN_BYTES, max_request_bytes) if self.open_to_all else max_request_bytes


class Rpc:
    """One RPC from its headers to its end."""

    __slots__ = ("_link", "_stream", "caller", "code", "deadline", "encoding", "method", "started_at")

    def __init__(self, link: ServerProtocol, stream: Stream, method: Method, head: RequestHeaders, caller: str) -> None:
        self._link = link
        self._stream = stream
        self.method = method
        self.caller = caller
        self.encoding = head.encoding
        self.started_at = now = time.monotonic()
        self.deadline = None if head.timeout_seconds is None else now + head.timeout_seconds
        self.code = ""  # once it has ended

    def fail(self, error: CallError, *, headers_sent: bool = False) -> None:
        """Ends the RPC with the error's status."""
        if self.end(error.code):
            connection = self._link.connection
            if headers_sent:
                connection.send_trailers(self._stream, status.trailers(error))
            else:
                connection.send_headers(self._stream, status.trailers_only(error), ended=True)

    def end(self, code: str) -> bool:
        """Notes the end of the RPC. False where it had ended before."""
        if self.code:
            return False
        self.code = code
        self.method.observe(code, time.monotonic() - self.started_at, self.caller)
        return True


def size_of(prefix: bytes | bytearray | memoryview, max_bytes: int) -> int:
    """The bytes of the message that follows its prefix. Raises RequestTooLarge."""
    size = int.from_bytes(prefix[1:PREFIX_BYTES])
    if size > max_bytes:
        raise too_large(size, max_bytes)
    return size


def too_large(size: int, max_bytes: int) -> RequestTooLarge:
    """What a message is answered that the server does not take."""
    return RequestTooLarge(
        f"the request has {size} bytes; {max_bytes} are allowed: split the batch",
        limit=max_bytes,
        actual=size,
    )


def late() -> DeadlineExceeded:
    """What an RPC is answered whose deadline has passed."""
    return DeadlineExceeded("the deadline passed")


def slow() -> DeadlineExceeded:
    """What an RPC is answered whose message does not come."""
    return DeadlineExceeded(f"the message was not received within {RECEIVE_SECONDS:.0f} seconds")


async def decompressed(message: Encoded, encoding: str, max_bytes: int) -> bytes:
    """The message itself, unpacked on another thread, two at a time. Raises Unimplemented, MessageMalformed or RequestTooLarge."""
    loop = asyncio.get_running_loop()
    unpacking = _UNPACKING.setdefault(loop, asyncio.Semaphore(_MAX_UNPACKING))
    async with unpacking:
        return await asyncio.to_thread(_decompressed, message, encoding, max_bytes)


def _decompressed(message: Encoded, encoding: str, max_bytes: int) -> bytes:
    if encoding not in _WINDOW_BITS:
        raise Unimplemented(f"messages may be compressed by gzip or deflate, not by {encoding[:20]!r}")
    unpacker = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        unpacked = unpacker.decompress(message, max_bytes + 1)
    except zlib.error:
        raise MessageMalformed("", f"the bytes are not {encoding}") from None
    if len(unpacked) > max_bytes:
        raise too_large(len(unpacked), max_bytes)
    if not unpacker.eof:
        raise MessageMalformed("", f"the bytes are not {encoding}")
    return unpacked
