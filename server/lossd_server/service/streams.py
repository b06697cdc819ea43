# SPDX-License-Identifier: Apache-2.0
"""What streams of calls have in common: one task reads messages while there is room, and everything ends with the stream.

Backpressure: a stream that holds MAX_HELD_BYTES is not read any further until some are let go, so that flow control stops its
client. It holds a message from its arrival until every call of it is answered and, when answers are streamed, sent. So what a
stream takes is bounded by that and one message, whatever its client does and however long it is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from lossd_server.admission import Hold, shutting_down
from lossd_server.errors import CallError
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.service.requests import Requests
from lossd_server.service.scoring import Service


class Received(NamedTuple):
    """A message of a stream, and its hold, which whoever reads the message has to release. The hold counts a message that is larger
    than what its stream may send before anybody reads.
    """

    message: bytes
    hold: Hold


Read = Callable[[], Awaitable[Received | None]]  # None: there are no more

# Enough for some thousand small calls, and for a few messages that the client libraries fill (1 MiB).
MAX_HELD_BYTES: Final = 8 << 20


class Output(Protocol):
    """Where the messages of a stream go. `on_drained` is called when `full` ends."""

    on_drained: Callable[[], None]

    @property
    def full(self) -> bool:
        """Whether messages wait for their client to take them."""

    def send(self, message: bytes) -> None:
        """Sends a message, which waits if it must. Raises Cancelled when the client is gone."""

    async def write(self, message: bytes) -> None:
        """Sends a message, and waits until none waits any more. Raises Cancelled when the client is gone."""


class StreamRequests(Requests):
    """The calls of one message of a stream, until the last one is answered."""

    hold: Hold
    held_bytes: int
    remaining: int


class MessageStream:
    """One RPC from its opening to `close`. A subclass takes the messages in; their calls are answered by callbacks."""

    def __init__(self, service: Service, dispatcher: Dispatcher, *, deadline: float | None, caller: str) -> None:
        self._service = service
        self._dispatcher = dispatcher
        self._slices = dispatcher.slices
        self._deadline = deadline
        self._caller = caller
        self._messages: set[StreamRequests] = set()
        self._let_go_of_one = asyncio.Event()
        self._task: asyncio.Task[object] | None = None  # reads
        self._at_end = False
        self._error: CallError | None = None
        self.held_bytes = 0

    def drain(self) -> None:
        """Ends the stream with ShuttingDown, once no call of it is unanswered, unless its client ends it before."""
        if self._service.draining and not self._messages and not self._at_end:
            self._fail(shutting_down())

    def close(self) -> None:
        """Leaves nothing behind: cancels what is queued, gives everything back."""
        for message in list(self._messages):
            message.close()
            self._let_go(message)

    # For subclasses.

    async def _receive(self, message: bytes, hold: Hold) -> None:
        """Takes a message in, and its hold unless it raises. What it raises ends the stream."""
        raise NotImplementedError

    async def _read_all(self, read: Read) -> None:
        """Receives every message, and returns when every call is answered. Raises CallError."""
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
            self._task.uncancel()  # by `_interrupt`
            raise self._error from None
        finally:
            self._task = None
        if self._error is not None:
            raise self._error

    def _fail(self, error: CallError) -> None:
        """Ends the stream with the error, if it is the first, though nothing may come to be read."""
        if self._error is None:
            self._error = error
            asyncio.get_running_loop().call_soon(self._interrupt)  # not at once: the task may be what runs now

    def _keep(self, message: StreamRequests) -> None:
        self._messages.add(message)
        self.held_bytes += message.held_bytes

    def _add(self, message: StreamRequests, nbytes: int) -> None:
        """The message holds more."""
        message.held_bytes += nbytes
        self.held_bytes += nbytes

    def _let_go(self, message: StreamRequests) -> None:
        """Nothing of the message is needed any more; a second time does nothing."""
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
