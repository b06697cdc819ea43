# SPDX-License-Identifier: Apache-2.0
"""A unary RPC: reserves memory for its message, receives the message, answers once, and releases the memory."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from lossd_server.admission import OVERHEAD_BYTES, Hold
from lossd_server.errors import CallError, InFlightFull, MessageMalformed
from lossd_server.front import rpc, status
from lossd_server.front.compression import Unpacker
from lossd_server.front.request_headers import RequestHeaders
from lossd_server.front.rpc import PREFIX_BYTES, Method, Rpc
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.http2.streams import INITIAL_WINDOW, Stream
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded

# Answers of at least this size are not copied into one buffer with their frames.
_LARGE_ANSWER_BYTES: Final = 64 << 10

_NOTHING: Final = memoryview(b"")


class Unary(Rpc):
    """A unary RPC. Service.score_together uses its `message`, `deadline`, `caller`, `hold`, `code` and `answer`.

    state       condition                               what `hold` counts
    receiving   `_received` is False                    the granted part of the message
    arrived     `_received` is True, `code` is empty    the message, and further memory of the service
    answered    `code` and `hold` are set               the answer, until it is sent
    ended       `code` is set, `hold` is None           nothing

    An arrived RPC is accepted once its request has ended; then it calls `arrived`, once. The callee calls `answer` once. If the RPC is
    aborted or refused before, it calls `cancel` instead, if `cancel` is set.
    """

    __slots__ = (
        *("_arrived", "_buffer", "_filled", "_granted", "_received", "_timer"),
        *("cancel", "compressed", "hold", "message", "spec"),
    )

    def __init__(
        self,
        link: ServerProtocol,
        stream: Stream,
        method: Method,
        head: RequestHeaders,
        caller: str,
        unpacker: Unpacker,
        arrived: "Callable[[Unary], None]",
    ) -> None:
        """Raises CallError if there is no room for the RPC."""
        super().__init__(link, stream, method, head, caller, unpacker)
        self._arrived = arrived
        self._buffer = _NOTHING
        self._filled = -1  # bytes of the message that have arrived; -1 until its prefix has arrived
        self._granted = 0  # bytes of the message that have room
        self.compressed = False
        self._received = False
        self._timer: asyncio.TimerHandle | None = None
        self.message: Encoded = b""
        self.spec: LossSpec = method.spec  # type: ignore[assignment] # only read if the method is a loss
        self.hold: Hold | None = method.reserve(0, caller)
        self.cancel: Callable[[], object] | None = None

    # Receiver

    def data(self, data: memoryview, ended: bool) -> None:  # noqa: D102
        if self.code:
            return
        try:
            if not self._received:
                self._take(data, ended)
            elif len(data):
                raise _two_messages()
            elif ended:
                self._arrive()
        except CallError as error:
            self.refuse(error)

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
            self.refuse(rpc.upload_late())
        elif now - self.started_at >= rpc.RECEIVE_SECONDS:
            self.refuse(rpc.upload_slow())

    # A compressed message.

    def unpack_at_once(self) -> bool:
        """Unpacks a short message, or refuses the request. Returns False if `unpack` must be awaited instead."""
        try:
            message = self._unpacker.unpack_short(self.message, self.encoding, self.method.max_message_bytes)
            if message is None:
                return False
            assert self.hold is not None
            self.hold.grow(len(message))
            self.message, self.compressed = message, False
        except CallError as error:
            self.refuse(error)
        return True

    async def unpack(self) -> None:
        """Unpacks the message on a thread. Raises CallError."""
        assert self.hold is not None
        message, hold = await self._unpacker.unpack(
            self.message, self.encoding, self.method.max_message_bytes, self.caller, self.hold.beside
        )
        self.hold.release()
        self.message, self.hold, self.compressed = message, hold, False

    @property
    def accepted(self) -> bool:
        """Whether all of the request has arrived."""
        return self._stream.received

    # The answer.

    def answer(self, outcome: bytes | CallError) -> None:
        """Sends the response message, or the error."""
        if self.code:
            return
        if isinstance(outcome, CallError):
            self.fail(outcome)
            self._let_go()
            return
        connection, stream, size = self._link.connection, self._stream, len(outcome)
        prefix = b"\x00" + size.to_bytes(4)
        if size < _LARGE_ANSWER_BYTES:
            connection.respond(stream, status.HEADERS, prefix + outcome, status.OK)
        else:
            connection.send_headers(stream, status.HEADERS)
            connection.send_data(stream, prefix)
            connection.send_data(stream, outcome)
            connection.send_trailers(stream, status.OK)
        self.end("OK")
        hold = self.hold if stream.unsent else None
        if hold is not None:
            hold.become(OVERHEAD_BYTES + size)
            self.hold = None
        self._let_go()
        self.hold = hold

    def refuse(self, error: CallError) -> None:
        """Ends the RPC with the error's status, cancels its work, and releases its memory."""
        self.fail(error)
        if self.cancel is not None:
            self.cancel()
        self._let_go()

    def watch_deadline(self) -> None:
        """From now on, ends the RPC when its deadline passes. Call this if the RPC is not answered at once."""
        if self.deadline is not None and not self.code and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, self.deadline - time.monotonic()), self._expire)

    # Implementation details follow.

    def _take(self, data: memoryview, ended: bool) -> None:
        hold = self.hold
        assert hold is not None
        if self._filled < 0:
            if self._buffer:  # a piece of the prefix
                data = memoryview(bytes(self._buffer) + data)
            if len(data) < PREFIX_BYTES:
                self._buffer = memoryview(bytes(data))
                if ended:
                    raise _cut_off()
                return
            size = rpc.size_of(data, self.method.max_message_bytes)
            self._granted = min(size, INITIAL_WINDOW - PREFIX_BYTES)
            hold.grow(self._granted)
            self.compressed, data = bool(data[0]), data[PREFIX_BYTES:]
            if len(data) == size == self._granted:
                self._whole(bytes(data), ended)
                return
            self._buffer, self._filled = _memory(size), 0
            self.watch_deadline()
        filled = self._filled
        self._filled = filled + len(data)
        if self._filled > len(self._buffer):
            raise _two_messages()
        self._buffer[filled : self._filled] = data
        if self._granted < len(self._buffer) and self._filled >= self._granted // 2:
            self._let_in(hold)
        if self._filled == len(self._buffer):
            buffer, self._buffer = self._buffer, _NOTHING
            self._whole(buffer, ended)
        elif ended:
            raise _cut_off()

    def _let_in(self, hold: Hold) -> None:
        """Reserves room for four times as much as before, so that a caller holds much room only after it has sent a good part of it."""
        more = min(3 * self._granted, len(self._buffer) - self._granted)
        hold.grow(more)
        self._granted += more
        self._link.connection.grant(self._stream, more)

    def _whole(self, message: Encoded, ended: bool) -> None:
        self.message, self._received = message, True
        if ended:
            self._arrive()

    def _arrive(self) -> None:
        self._arrived(self)

    def _expire(self) -> None:
        self._timer = None
        self.refuse(rpc.late() if self._stream.received else rpc.upload_late())

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


def _memory(nbytes: int) -> memoryview:
    """Memory that the system provides only when it is written to. Raises InFlightFull if the system refuses the allocation."""
    try:
        return np.empty(nbytes, np.uint8).data
    except MemoryError:
        raise InFlightFull("the server has no memory for the request; try again later", retry_after_seconds=1.0) from None


def _cut_off() -> MessageMalformed:
    return MessageMalformed("", "the request ends before its message does")


def _two_messages() -> MessageMalformed:
    return MessageMalformed("", "the method takes one message")
