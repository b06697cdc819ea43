# SPDX-License-Identifier: Apache-2.0
"""The common part of streams of calls: one task reads messages while there is room, and all work ends with the stream.

Backpressure: a stream that holds MAX_HELD_BYTES reads no further message until it has released some bytes, so that flow control stops
its client. A stream holds a message from its arrival until every call of the message is answered and, if answers are streamed, sent.
So a stream's memory is bounded by MAX_HELD_BYTES and one message, whatever its client does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from lossd_server.admission import Hold, shutting_down
from lossd_server.errors import CallError
from lossd_server.losses.tensor import Encoded
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.service.requests import Requests
from lossd_server.service.scoring import Service


class Received(NamedTuple):
    """A message of a stream, and its hold, which the reader of the message must release. The hold is empty unless the message is
    larger than the flow-control window that the stream's own hold counts.
    """

    message: Encoded
    hold: Hold


Read = Callable[[], Awaitable[Received | None]]  # None after the last message

# Enough for some thousand small calls, and for a few messages that the client libraries fill (1 MiB).
MAX_HELD_BYTES: Final = 8 << 20


class Output(Protocol):
    """The sink of a stream's messages. `on_drained` is called when `full` becomes false."""

    on_drained: Callable[[], None]

    @property
    def full(self) -> bool:
        """Whether messages wait for the client to take them."""

    def send(self, message: bytes) -> None:
        """Sends a message, buffering it if necessary. Raises Cancelled if the client is gone."""

    async def write(self, message: bytes) -> None:
        """Sends a message, and returns once no message is buffered. Raises Cancelled if the client is gone."""


class StreamRequests(Requests):
    """The calls of one message of a stream, until the last one is answered."""

    hold: Hold
    held_bytes: int
    remaining: int


class MessageStream:
    """One RPC from its opening to `close`. A subclass receives the messages; callbacks answer their calls."""

    def __init__(self, service: Service, dispatcher: Dispatcher, *, deadline: float | None, caller: str) -> None:
        self._service = service
        self._dispatcher = dispatcher
        self._slices = dispatcher.slices
        self._deadline = deadline
        self._caller = caller
        self._messages: set[StreamRequests] = set()
        self._let_go_of_one = asyncio.Event()
        self._task: asyncio.Task[object] | None = None  # the reading task
        self._at_end = False
        self._error: CallError | None = None
        self.held_bytes = 0

    def drain(self) -> None:
        """Ends the stream with ShuttingDown if all its calls are answered and its client has not ended it."""
        if self._service.draining and not self._messages and not self._at_end:
            self._fail(shutting_down())

    def close(self) -> None:
        """Cancels everything queued, and releases everything held."""
        for message in list(self._messages):
            message.close()
            self._let_go(message)

    # For subclasses.

    async def _receive(self, message: Encoded, hold: Hold) -> None:
        """Accepts a message, and takes over its hold unless it raises. An exception ends the stream."""
        raise NotImplementedError

    async def _read_all(self, read: Read) -> None:
        """Receives every message, and returns once every call is answered. Raises CallError."""
        self._task = asyncio.current_task()
        try:
            while (received := await read()) is not None:
                try:
                    await self._receive(*received)
                except BaseException:
                    received.hold.release()
                    raise
                del received
                while self.held_bytes >= MAX_HELD_BYTES:
                    await self._until_one_is_let_go()
            self._at_end = True
            while self._messages:
                await self._until_one_is_let_go()
        except asyncio.CancelledError:
            if self._error is None or self._task is None:
                raise
            self._task.uncancel()  # `_interrupt` had cancelled it
            raise self._error from None
        finally:
            self._task = None
        if self._error is not None:
            raise self._error

    def _fail(self, error: CallError) -> None:
        """Ends the stream with the error, unless an earlier error ended it. Does not wait for a further message."""
        if self._error is None:
            self._error = error
            asyncio.get_running_loop().call_soon(self._interrupt)  # not at once: the task itself may be running now

    def _keep(self, message: StreamRequests) -> None:
        self._messages.add(message)
        self.held_bytes += message.held_bytes

    def _add(self, message: StreamRequests, nbytes: int) -> None:
        """Counts more bytes for the message."""
        message.held_bytes += nbytes
        self.held_bytes += nbytes

    def _let_go(self, message: StreamRequests) -> None:
        """Releases a message that is not needed any more. Idempotent."""
        if message not in self._messages:
            return
        self._messages.remove(message)
        self.held_bytes -= message.held_bytes
        message.hold.release()
        self._let_go_of_one.set()
        self.drain()

    # Implementation details follow.

    async def _until_one_is_let_go(self) -> None:
        self._let_go_of_one.clear()
        await self._let_go_of_one.wait()

    def _interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()
