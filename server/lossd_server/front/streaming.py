# SPDX-License-Identifier: Apache-2.0
"""An RPC with streams of messages: a task reads and writes them, and the stream's window limits what has arrived and is not read.

The window counts as in flight from the RPC's beginning. A larger message may arrive once the task waits for it and there is room for
all of it, so flow control stops a client while the task does not read. A compressed message stays among the received bytes until it
is unpacked, and is unpacked only if there is room for the result. The room passes to the reader with the message.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from lossd_server.admission import OVERHEAD_BYTES, Hold, request_too_large, when_there_is_room
from lossd_server.errors import CallError, Cancelled, MessageMalformed
from lossd_server.front import rpc, status
from lossd_server.front.compression import Unpacker
from lossd_server.front.request_headers import RequestHeaders
from lossd_server.front.rpc import PREFIX_BYTES, Method, Rpc, ServeStream
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.http2.streams import INITIAL_WINDOW, Stream
from lossd_server.log import unexpected
from lossd_server.losses.tensor import Encoded
from lossd_server.service.streams import Received


class Streaming(Rpc):
    """A task runs `method.stream`. If the RPC ends before the task does, the task is cancelled.

    state     condition                           what `_hold` counts
    open      `code` is empty                     the window; `_extra` counts a larger message
    sending   `code` is set, and data is unsent   the unsent data, once the task is done
    ended     `code` is set, no data is unsent    nothing, once the task is done
    """

    __slots__ = (
        *("_authenticate", "_begun_at", "_changed", "_ended", "_extra", "_headers_sent", "_hold", "_incoming", "_reading"),
        *("_sent", "_task", "on_drained"),
    )

    def __init__(
        self,
        link: ServerProtocol,
        stream: Stream,
        method: Method,
        head: RequestHeaders,
        caller: str,
        unpacker: Unpacker,
        authenticate: Callable[[], object],
        *,
        ended: bool,
    ) -> None:
        """`authenticate` raises CallError if the caller is not allowed any more. Raises CallError if there is no room for the RPC."""
        assert method.stream is not None
        super().__init__(link, stream, method, head, caller, unpacker)
        self._authenticate = authenticate
        self._incoming = bytearray()
        self._begun_at = 0.0  # when the wait for the first message in `_incoming` began
        self._reading = False
        self._ended = ended
        self._changed = asyncio.Event()
        self._sent = asyncio.Event()
        self._headers_sent = False
        self.on_drained: Callable[[], None] = _nothing
        self._hold = method.reserve(0 if method.open_to_all else INITIAL_WINDOW, caller)
        self._extra: Hold | None = None
        task = asyncio.get_running_loop().create_task(self._run(method.stream), name=f"lossd-{method.name}")
        task.add_done_callback(self._task_done)  # also if the task is cancelled before it begins
        self._task: asyncio.Task[None] | None = task  # None once it is done

    # Receiver

    def data(self, data: memoryview, ended: bool) -> None:  # noqa: D102
        if self.code:
            return
        if not self._incoming:
            self._begun_at = time.monotonic()
        self._incoming += data
        if self.method.open_to_all and len(self._incoming) > PREFIX_BYTES + self.method.max_message_bytes:  # no window was reserved
            self.refuse(request_too_large(len(self._incoming), self.method.max_message_bytes))
            return
        self._ended = ended
        self._changed.set()

    def aborted(self) -> None:  # noqa: D102
        self.end("CANCELLED")
        self._left()
        self._cancel()

    def drained(self) -> None:  # noqa: D102
        self._left()
        if not self.code:
            self.on_drained()

    def tick(self, now: float) -> None:  # noqa: D102
        if self.code:
            return
        # If a message waits for its reader or for room, the caller is not late.
        waited_for = self._reading and (self._extra is not None or len(self._incoming) < INITIAL_WINDOW)
        try:
            if self._incoming and waited_for and now - self._begun_at >= rpc.RECEIVE_SECONDS:
                raise rpc.upload_slow()
            self._authenticate()
        except CallError as error:
            self.refuse(error)

    @property
    def accepted(self) -> bool:
        """Whether the stream has calls that must be answered; such a stream ends by itself once the service drains."""
        return self.method.has_calls

    def refuse(self, error: CallError) -> None:
        """Ends the RPC with the error's status."""
        self.fail(error, headers_sent=self._headers_sent)
        self._cancel()

    # Implementation details follow.

    async def _run(self, serve: ServeStream) -> None:
        last: bytes | None = None
        error: CallError | None = None
        try:
            remaining = None if self.deadline is None else self.deadline - time.monotonic()
            async with asyncio.timeout(remaining):
                last = await serve(self._read, self, deadline=self.deadline, caller=self.caller)
        except CallError as raised:
            error = raised
        except TimeoutError:
            error = rpc.late() if self._ended else rpc.upload_late()
        except Exception as raised:  # noqa: BLE001 - internals must not leak to the caller
            error = unexpected(self.method.name, self.caller, raised)
        if self.code:
            return
        if error is not None:
            self.fail(error, headers_sent=self._headers_sent)
            return
        if last is not None:
            self._send(last)
        elif not self._headers_sent:
            self._link.connection.send_headers(self._stream, status.HEADERS)
        self.end("OK")
        self._link.connection.send_trailers(self._stream, status.OK)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _task_done(self, _: "asyncio.Task[None]") -> None:
        # No reference cycle may be left for the garbage collector: it stops the event loop to find cycles.
        self._task = None
        self.on_drained = _nothing
        self._incoming.clear()
        if self._extra is not None:
            self._extra.release()
            self._extra = None
        unsent = self._stream.unsent
        if unsent and self._link.connection.streams.get(self._stream.id) is self._stream:
            self._hold.become(OVERHEAD_BYTES + sum(map(len, unsent)))
        else:
            self._hold.release()

    def _left(self) -> None:
        """No data is unsent any more, because it was sent or because the stream was aborted."""
        self._sent.set()
        if self._task is None:
            self._hold.release()

    # The messages that the task reads.

    async def _read(self) -> Received | None:
        while not (stop := self._whole()):
            if self._ended:
                if self._incoming:
                    raise MessageMalformed("", "the stream ends before its message does")
                return None
            self._reading = True
            self._changed.clear()
            await self._let_in()
            await self._changed.wait()
        self._reading = False
        incoming = self._incoming
        with memoryview(incoming) as view:
            message: Encoded = bytes(view[PREFIX_BYTES:stop])
        unpacked: Hold | None = None
        if incoming[0]:
            message, unpacked = await self._unpack(message)
        del incoming[:stop]
        self._begun_at = time.monotonic()
        # The message used up what `_let_in` granted beyond the window, so only the window itself is granted again.
        self._link.connection.grant(self._stream, stop if self._extra is None else INITIAL_WINDOW)
        hold, self._extra = self._extra, None
        if unpacked is not None:
            if hold is not None:
                hold.release()
            hold = unpacked
        return Received(message, self._hold.empty() if hold is None else hold)

    def _whole(self) -> int:
        """The bytes of the first message and its prefix if all of them have arrived, else 0."""
        incoming = self._incoming
        if len(incoming) < PREFIX_BYTES:
            return 0
        stop = PREFIX_BYTES + rpc.size_of(incoming, self.method.max_message_bytes)
        return 0 if stop > len(incoming) else stop

    async def _let_in(self) -> None:
        """Grants the rest of a message that is larger than the window, once there is room for all of it."""
        if self._extra is not None or len(self._incoming) < PREFIX_BYTES:
            return
        stop = PREFIX_BYTES + rpc.size_of(self._incoming, self.method.max_message_bytes)
        if stop > INITIAL_WINDOW:

            async def take() -> Hold:
                return self._hold.beside(stop)

            self._extra = await when_there_is_room(take, rpc.RECEIVE_SECONDS)
            self._begun_at = time.monotonic()
            self._link.connection.grant(self._stream, stop - INITIAL_WINDOW)

    async def _unpack(self, message: Encoded) -> tuple[Encoded, Hold | None]:
        """The unpacked message, and the room of a long one. Waits for that room. Raises CallError."""
        max_bytes = self.method.max_message_bytes
        short = self._unpacker.unpack_short(message, self.encoding, max_bytes)
        if short is not None:
            return short, None
        unpack = partial(self._unpacker.unpack, message, self.encoding, max_bytes, self.caller, self._hold.beside)
        return await when_there_is_room(unpack, rpc.RECEIVE_SECONDS)

    # Output

    @property
    def full(self) -> bool:  # noqa: D102
        return bool(self._stream.unsent)

    def send(self, message: bytes) -> None:  # noqa: D102
        if self.code:
            raise Cancelled("the caller is gone")
        self._send(message)

    async def write(self, message: bytes) -> None:  # noqa: D102
        self.send(message)
        while self.full:
            self._sent.clear()
            await self._sent.wait()
            if self.code:
                raise Cancelled("the caller is gone")

    # Implementation details again.

    def _send(self, message: bytes) -> None:
        connection = self._link.connection
        if not self._headers_sent:
            self._headers_sent = True
            connection.send_headers(self._stream, status.HEADERS)
        connection.send_data(self._stream, b"".join((b"\x00", len(message).to_bytes(4), message)))


def _nothing() -> None:
    """The default of `on_drained`."""
