# SPDX-License-Identifier: Apache-2.0
"""What every RPC has: a method, a caller, a deadline, messages that arrive in pieces, and one end that the metrics hear of."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from lossd_server.admission import Hold
from lossd_server.errors import CallError, DeadlineExceeded, RequestTooLarge, UploadTooSlow
from lossd_server.front import status
from lossd_server.front.compression import Unpacker
from lossd_server.front.request_headers import RequestHeaders
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.http2.streams import Stream
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded
from lossd_server.service.streams import Output, Read

PREFIX_BYTES: Final = 5  # whether compressed, and the length

# A message that has begun must be whole within this time: what it takes is counted from its beginning. A message that waits for
# room waits no longer either: those that wait hold what they have, and might wait for each other.
RECEIVE_SECONDS: Final = 60.0


class ServeUnary(Protocol):
    """What answers a method of one message each way. `hold` has the room that the message takes, and grows with what it becomes."""

    def __call__(self, message: Encoded, *, deadline: float | None, caller: str, hold: Hold) -> Awaitable[bytes]: ...  # noqa: D102


class ServeStream(Protocol):
    """What serves a method with streams of messages. A returned message is the last one that is sent."""

    def __call__(  # noqa: D102
        self, read: Read, output: Output, *, deadline: float | None, caller: str
    ) -> Awaitable[bytes | None]: ...


class Method(NamedTuple):
    """A method of a service: one of `spec`, `unary` and `stream` serves it. `observe` is (status code, seconds, caller)."""

    name: str
    observe: Callable[[str, float, str], None]
    reserve: Callable[[int, str], Hold]  # of bytes and a caller, in the budget that its RPCs draw on; raises CallError
    max_message_bytes: int
    open_to_all: bool = False
    spec: LossSpec | None = None
    unary: ServeUnary | None = None
    stream: ServeStream | None = None
    has_calls: bool = False  # a stream of calls, which ends by itself once the service drains

    @property
    def streaming(self) -> bool:
        """Whether its requests or responses are streams."""
        return self.stream is not None


class Rpc:
    """One RPC from its headers to its end."""

    __slots__ = ("_link", "_stream", "_unpacker", "caller", "code", "deadline", "encoding", "method", "started_at")

    def __init__(self, link: ServerProtocol, stream: Stream, method: Method, head: RequestHeaders, caller: str, unpacker: Unpacker) -> None:
        self._link = link
        self._stream = stream
        self._unpacker = unpacker
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
        """Notes the end of the RPC. False if it had ended before."""
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
    """The error of a message that the server does not take."""
    return RequestTooLarge(
        f"the request has {size} bytes; {max_bytes} are allowed: split the batch",
        limit=max_bytes,
        actual=size,
    )


def late() -> DeadlineExceeded:
    """The error of an RPC whose deadline passed after its request had come."""
    return DeadlineExceeded("the deadline passed")


def upload_late() -> UploadTooSlow:
    """The error of an RPC whose deadline passed before its request had come."""
    return UploadTooSlow("the deadline passed before the request was received")


def upload_slow() -> UploadTooSlow:
    """The error of an RPC whose message does not come."""
    return UploadTooSlow(f"the message was not received within {RECEIVE_SECONDS:.0f} seconds")
