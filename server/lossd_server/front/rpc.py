# SPDX-License-Identifier: Apache-2.0
"""The common part of RPCs: a method, a caller, a deadline, messages that arrive in pieces, and one end, which the metrics count."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from lossd_server.admission import Hold, request_too_large
from lossd_server.errors import CallError, DeadlineExceeded, UploadTooSlow
from lossd_server.front import status
from lossd_server.front.compression import Unpacker
from lossd_server.front.request_headers import RequestHeaders
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.http2.streams import Stream
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded
from lossd_server.service.streams import Output, Read

PREFIX_BYTES: Final = 5  # the compressed flag and the length

# Maximum time from the beginning of a message, when it takes room, until all of it has arrived. A message also waits no longer than
# this for more room: messages that wait keep the room that they have, so they might wait for each other.
RECEIVE_SECONDS: Final = 60.0


class ServeUnary(Protocol):
    """Answers a method of one message each way. `hold` counts the memory of the message; the function counts further memory in it."""

    def __call__(self, message: Encoded, *, deadline: float | None, caller: str, hold: Hold) -> Awaitable[bytes]: ...  # noqa: D102


class ServeStream(Protocol):
    """Serves a method with streams of messages. A returned message is sent last."""

    def __call__(  # noqa: D102
        self, read: Read, output: Output, *, deadline: float | None, caller: str
    ) -> Awaitable[bytes | None]: ...


class Method(NamedTuple):
    """A method of a service, which one of `spec`, `unary` and `stream` serves. `observe` takes status code, seconds and caller."""

    name: str
    observe: Callable[[str, float, str], None]
    reserve: Callable[[int, str], Hold]  # takes bytes and a caller; uses the budget of the method's RPCs; raises CallError
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
        self.code = ""  # empty until the RPC has ended

    def fail(self, error: CallError, *, headers_sent: bool = False) -> None:
        """Ends the RPC with the error's status."""
        if self.end(error.code):
            connection = self._link.connection
            if headers_sent:
                connection.send_trailers(self._stream, status.trailers(error))
            else:
                connection.send_headers(self._stream, status.trailers_only(error), ended=True)

    def end(self, code: str) -> bool:
        """Records the end of the RPC. Returns False if the RPC had ended before."""
        if self.code:
            return False
        self.code = code
        self.method.observe(code, time.monotonic() - self.started_at, self.caller)
        return True


def size_of(prefix: bytes | bytearray | memoryview, max_bytes: int) -> int:
    """The size in bytes of the message after this prefix. Raises RequestTooLarge."""
    size = int.from_bytes(prefix[1:PREFIX_BYTES])
    if size > max_bytes:
        raise request_too_large(size, max_bytes)
    return size


def late() -> DeadlineExceeded:
    """The error of an RPC whose deadline passed after its request had arrived."""
    return DeadlineExceeded("the deadline passed")


def upload_late() -> UploadTooSlow:
    """The error of an RPC whose deadline passed before its request had arrived."""
    return UploadTooSlow("the deadline passed before the request was received")


def upload_slow() -> UploadTooSlow:
    """The error of an RPC whose message does not arrive within RECEIVE_SECONDS."""
    return UploadTooSlow(f"the message was not received within {RECEIVE_SECONDS:.0f} seconds")
