# SPDX-License-Identifier: Apache-2.0
"""A unary RPC: its message is received into memory that was asked for, answered once, and given back."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from lossd_server.admission import Hold
from lossd_server.errors import CallError, MessageMalformed
from lossd_server.front import rpc, status
from lossd_server.front.request_headers import RequestHeaders
from lossd_server.front.rpc import PREFIX_BYTES, Method, Rpc
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.http2.sending import INITIAL_WINDOW, Stream
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded
from lossd_server.service.scoring import Service

# Answers from here on are not put together with their frames. All count as in flight until they are on their way.
_LARGE_ANSWER_BYTES: Final = 64 << 10

_NOTHING: Final = memoryview(b"")


class Unary(Rpc):
    """Also what Service.score_together takes: `message`, `deadline`, `caller`, `hold` and `answer`.

    `arrived` is called once, with a whole message; whoever takes it calls `answer` once, unless `aborted` came first, and that calls
    `cancel`, where it was set.
    """

    __slots__ = (
        *("_arrived", "_buffer", "_filled", "_granted", "_most_bytes", "_received", "_service", "_timer"),
        *("cancel", "compressed", "hold", "message", "spec"),
    )

    def __init__(
        self,
        link: ServerProtocol,
        stream: Stream,
        method: Method,
        head: RequestHeaders,
        caller: str,
        service: Service,
        arrived: "Callable[[Unary], None]",
    ) -> None:
        """Raises CallError where there is no room for it."""
        super().__init__(link, stream, method, head, caller)
        self._service = service
        self._most_bytes = method.most_bytes(service.max_request_bytes)
        self._arrived = arrived
        self._buffer = _NOTHING
        self._filled = -1  # bytes of the message; -1 while its prefix is not whole
        self._granted = 0  # bytes of the message that there is room for
        self.compressed = False
        self._received = False
        self._timer: asyncio.TimerHandle | None = None
        self.message: Encoded = b""
        self.spec: LossSpec = method.serve  # for Service.score_together, of methods that are losses
        self.hold: Hold | None = None if method.open_to_all else service.admit(0, caller)
        self.cancel: Callable[[], object] | None = None

    @property
    def ended(self) -> bool:
        """Whether it was answered, or nobody waits for it any more."""
        return bool(self.code)

    # Receiver

    def data(self, data: memoryview, ended: bool) -> None:  # noqa: D102
        if self._received:
            if len(data):
                self._refuse(_two_messages())
            elif ended:
                self._arrived(self)
            return
        if self.code:
            return
        try:
            self._take(data, ended)
        except CallError as error:
            self._refuse(error)

    def aborted(self) -> None:  # noqa: D102
        if self.end("CANCELLED") and self.cancel is not None:
            self.cancel()
        self._let_go()

    def drained(self) -> None:  # noqa: D102
        if self.code:
            self._let_go()

    def tick(self, now: float) -> None:  # noqa: D102
        if self.code or self._stream.received:
            return
        if self.deadline is not None and now >= self.deadline:
            self._refuse(rpc.late())
        elif now - self.started_at >= rpc.RECEIVE_SECONDS:
            self._refuse(rpc.slow())

    async def decompress(self) -> None:
        """Unpacks the message, where it is `compressed`. Raises CallError."""
        self.message = await rpc.decompressed(self.message, self.encoding, self._most_bytes)
        if self.hold is not None:
            self.hold.grow(len(self.message))
        self.compressed = False

    # The answer.

    def answer(self, outcome: bytes | CallError) -> None:
        """The response message, or why there is none."""
        if isinstance(outcome, CallError):
            self.fail(outcome)
            self._let_go()
            return
        if not self.end("OK"):
            return
        connection, size = self._link.connection, len(outcome)
        prefix = b"\x00" + size.to_bytes(4)
        if size < _LARGE_ANSWER_BYTES:
            connection.respond(self._stream, status.HEADERS, prefix + outcome, status.OK)
            self._let_go()
            if self._stream.unsent:
                self.hold = self._service.hold(size, self.caller)
            return
        connection.send_headers(self._stream, status.HEADERS)
        connection.send_data(self._stream, prefix)
        self._let_go()
        self.hold = self._service.hold(size, self.caller)
        connection.send_data(self._stream, outcome)
        connection.send_trailers(self._stream, status.OK)

    def watch_deadline(self) -> None:
        """Ends the RPC when its deadline passes, from now on: to be called where it is not answered at once."""
        if self.deadline is not None and not self.code and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, self.deadline - time.monotonic()), self._expire)

    # Implementation details follow.

    def _take(self, data: memoryview, ended: bool) -> None:
        if self._filled < 0:
            if self._buffer:  # a piece of the prefix
                data = memoryview(bytes(self._buffer) + data)
            if len(data) < PREFIX_BYTES:
                self._buffer = memoryview(bytes(data))
                if ended:
                    raise _cut_off()
                return
            size = rpc.size_of(data, self._most_bytes)
            self._granted = min(size, INITIAL_WINDOW - PREFIX_BYTES)
            if self.hold is not None:
                self.hold.grow(self._granted)
            self.compressed, data = bool(data[0]), data[PREFIX_BYTES:]
            if len(data) == size == self._granted:
                self._whole(bytes(data), ended)
                return
            self._buffer, self._filled = np.empty(size, np.uint8).data, 0
            self.watch_deadline()
        filled = self._filled
        self._filled = filled + len(data)
        if self._filled > len(self._buffer):
            raise _two_messages()
        self._buffer[filled : self._filled] = data
        if self._granted < len(self._buffer) and self._filled >= self._granted // 2:
            self._let_in()
        if self._filled == len(self._buffer):
            buffer, self._buffer = self._buffer, _NOTHING
            self._whole(buffer, ended)
        elif ended:
            raise _cut_off()

    def _let_in(self) -> None:
        """Takes room for four times what there was room for, so that nobody holds much who has not sent a good part of it."""
        more = min(3 * self._granted, len(self._buffer) - self._granted)
        if self.hold is not None:
            self.hold.grow(more)
        self._granted += more
        self._link.connection.grant(self._stream, more)

    def _whole(self, message: Encoded, ended: bool) -> None:
        self.message, self._received = message, True
        if ended:
            self._arrived(self)

    def _refuse(self, error: CallError) -> None:
        self.fail(error)
        if self.cancel is not None:
            self.cancel()
        self._let_go()

    def _expire(self) -> None:
        self._timer = None
        self._refuse(rpc.late())

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.hold is not None:
            self.hold.release()
            self.hold = None
        self._buffer = _NOTHING
        self.message = b""
        self.cancel = None


def _cut_off() -> MessageMalformed:
    return MessageMalformed("", "the request ends before its message does")


def _two_messages() -> MessageMalformed:
    return MessageMalformed("", "the method takes one message")
