# SPDX-License-Identifier: Apache-2.0
"""What streams of calls have in common: messages are read while there is room, and everything ends with the stream.

Backpressure: a stream that holds MAX_HELD_BYTES is not read any further until some are let go, so that flow control stops its
client. It holds a message from its arrival until every call of it is answered and, when answers are streamed, sent. So what a
stream takes is bounded by that and one message, whatever its client does and however long it is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from lossd_server.admission import Hold
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.service.requests import Requests
from lossd_server.service.scoring import Service

Read = Callable[[], Awaitable[bytes | None]]  # None: there are no more

# Enough for some thousand small calls, and for a few messages that the client libraries fill (1 MiB).
MAX_HELD_BYTES: Final = 8 << 20


class MessageStream:
    """One RPC from its opening to `close`. A subclass receives messages and, in its `run`, does the rest.

    `run` waits for `wait`, which returns when the stream may have something to do: a call was answered, a message received, the
    messages are at their end, or the server drains.
    """

    def __init__(self, service: Service, dispatcher: Dispatcher, *, deadline: float | None, caller: str) -> None:
        self._service = service
        self._dispatcher = dispatcher
        self._slices = dispatcher.slices
        self._deadline = deadline
        self._caller = caller
        self._messages: set[StreamRequests] = set()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.held_bytes = 0

    def wake(self) -> None:
        """Makes `wait` return."""
        self._changed.set()

    def close(self) -> None:
        """Leaves nothing behind: reads no more, cancels what is queued, gives everything back."""
        if self._reader is not None:
            self._reader.cancel()
        for message in list(self._messages):
            message.close()
            self._let_go(message)

    # For subclasses.

    async def _receive(self, message: bytes) -> None:
        """Takes a message in. What it raises ends the stream, by way of `_at_end`."""
        raise NotImplementedError

    def _start_reading(self, read: Read) -> None:
        self._reader = asyncio.create_task(self._read(read), name="lossd-stream-reader")
        self._reader.add_done_callback(self._reader_done)

    @property
    def _at_end(self) -> bool:
        """Whether every message was received. Raises what receiving one raised."""
        assert self._reader is not None
        if not self._reader.done():
            return False
        self._reader.result()
        return True

    async def _wait(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    def _keep(self, message: "StreamRequests") -> None:
        self._messages.add(message)
        self.held_bytes += message.held_bytes

    def _add(self, message: "StreamRequests", nbytes: int) -> None:
        """The message holds more."""
        message.held_bytes += nbytes
        self.held_bytes += nbytes

    def _let_go(self, message: "StreamRequests") -> None:
        """Nothing of the message is needed any more; a second time does nothing."""
        if message not in self._messages:
            return
        self._messages.remove(message)
        self.held_bytes -= message.held_bytes
        if message.hold is not None:
            message.hold.release()
        self._room.set()

    # Implementation details follow.

    async def _read(self, read: Read) -> None:
        while (message := await read()) is not None:
            await self._receive(message)
            del message
            while self.held_bytes >= MAX_HELD_BYTES:
                self._room.clear()
                await self._room.wait()

    def _reader_done(self, reader: "asyncio.Task[None]") -> None:
        if not reader.cancelled():
            reader.exception()  # seen, even if nobody asks any more
        self.wake()


class StreamRequests(Requests):
    """The calls of one message of a stream, until the last one is answered. `hold` is None when they were refused."""

    hold: Hold | None
    held_bytes: int
    remaining: int
