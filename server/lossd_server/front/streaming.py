# SPDX-License-Identifier: Apache-2.0
"""An RPC with a stream of messages: a task reads and writes them, and what nobody has read is bounded by the stream's window.

The window is part of what is in flight from the RPC's beginning. A message larger than that is let in when there is room for it and
somebody waits for it, so a client whose messages nobody reads is stopped by flow control.
"""

import asyncio
import time
from collections.abc import Callable

from lossd_server.admission import Hold
from lossd_server.errors import CallError, Cancelled, MessageMalformed
from lossd_server.front import rpc, status
from lossd_server.front.request_headers import RequestHeaders
from lossd_server.front.rpc import PREFIX_BYTES, Method, Rpc
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.http2.sending import INITIAL_WINDOW, Stream
from lossd_server.log import unexpected
from lossd_server.service.scoring import Service


class Streaming(Rpc):
    """`method.serve` is a coroutine function (read, write, deadline=, caller=) of which a returned message is the last answer."""

    __slots__ = (
        "_authenticate",
        "_begun_at",
        "_changed",
        "_ended",
        "_extra",
        "_headers_sent",
        "_hold",
        "_incoming",
        "_most_bytes",
        "_reading",
        "_sent",
        "_service",
        "_task",
    )

    def __init__(
        self,
        link: ServerProtocol,
        stream: Stream,
        method: Method,
        head: RequestHeaders,
        caller: str,
        service: Service,
        authenticate: Callable[[], object],
        *,
        ended: bool,
    ) -> None:
        """`authenticate` raises CallError once the caller may not go on. Raises CallError where there is no room for the RPC."""
        super().__init__(link, stream, method, head, caller)
        self._service = service
        self._authenticate = authenticate
        self._most_bytes = method.most_bytes(service.max_request_bytes)
        self._incoming = bytearray()
        self._begun_at = 0.0
        self._reading = False
        self._extra: Hold | None = None  # for a message that is larger than the window
        self._ended = ended
        self._changed = asyncio.Event()
        self._sent = asyncio.Event()
        self._headers_sent = False
        self._hold: Hold | None = None if method.open_to_all else service.admit(INITIAL_WINDOW, caller)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"lossd-{method.name}")
        self._task.add_done_callback(self._let_go)  # also where it is cancelled before it begins

    # Receiver

    def data(self, data: memoryview, ended: bool) -> None:  # noqa: D102
        if self.code:
            return
        if not self._incoming:
            self._begun_at = time.monotonic()
        self._incoming += data
        if self._hold is None and len(self._incoming) > PREFIX_BYTES + self._most_bytes:  # nothing counts it
            self._stop(rpc.too_large(len(self._incoming), self._most_bytes))
            return
        self._ended = ended
        self._changed.set()

    def aborted(self) -> None:  # noqa: D102
        self.end("CANCELLED")
        self._task.cancel()
        self._sent.set()

    def drained(self) -> None:  # noqa: D102
        self._sent.set()

    def tick(self, now: float) -> None:  # noqa: D102
        # A message that waits for its reader, or for room, does so on our account.
        waited_for = self._reading and (self._extra is not None or len(self._incoming) < INITIAL_WINDOW)
        try:
            if self._incoming and waited_for and now - self._begun_at >= rpc.RECEIVE_SECONDS:
                raise rpc.slow()
            self._authenticate()
        except CallError as error:
            self._stop(error)

    # Implementation details follow.

    async def _run(self) -> None:
        last: bytes | None = None
        error: CallError | None = None
        try:
            remaining = None if self.deadline is None else self.deadline - time.monotonic()
            async with asyncio.timeout(remaining):
                last = await self.method.serve(self._read, self._write, deadline=self.deadline, caller=self.caller)
        except CallError as raised:
            error = raised
        except TimeoutError:
            error = rpc.late()
        except Exception as raised:  # noqa: BLE001 - nothing of ours may leak to the caller
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

    def _let_go(self, _: "asyncio.Task[None]") -> None:
        for hold in (self._hold, self._extra):
            if hold is not None:
                hold.release()
        self._incoming.clear()

    def _stop(self, error: CallError) -> None:
        if not self.code:
            self.fail(error, headers_sent=self._headers_sent)
        self._task.cancel()

    async def _read(self) -> bytes | None:
        while True:
            cut = self._cut()
            if cut is not None:
                self._reading = False
                compressed, message = cut
                return await rpc.decompressed(message, self.encoding, self._most_bytes) if compressed else message
            if self._ended:
                if self._incoming:
                    raise MessageMalformed("", "the stream ends before its message does")
                return None
            self._reading = True
            self._changed.clear()
            await self._let_in()
            await self._changed.wait()

    def _cut(self) -> tuple[int, bytes] | None:
        """Whether the first message is compressed, and its bytes, taken off what came once it is whole."""
        incoming = self._incoming
        if len(incoming) < PREFIX_BYTES:
            return None
        stop = PREFIX_BYTES + rpc.size_of(incoming, self._most_bytes)
        if stop > len(incoming):
            return None
        compressed = incoming[0]
        with memoryview(incoming) as view:
            message = bytes(view[PREFIX_BYTES:stop])
        del incoming[:stop]
        self._begun_at = time.monotonic()
        # What `_let_in` granted beyond the window is gone with the message; the rest may be sent again.
        self._link.connection.grant(self._stream, stop if self._extra is None else INITIAL_WINDOW)
        if self._extra is not None:
            self._extra.release()
            self._extra = None
        return compressed, message

    async def _let_in(self) -> None:
        """Asks for the rest of a message that is larger than the window, once there is room for it."""
        if self._extra is not None or len(self._incoming) < PREFIX_BYTES:
            return
        extra = rpc.size_of(self._incoming, self._most_bytes) + PREFIX_BYTES - INITIAL_WINDOW
        if extra > 0:
            self._extra = await self._service.admit_when_there_is_room(extra, self.caller)
            self._begun_at = time.monotonic()
            self._link.connection.grant(self._stream, extra)

    async def _write(self, message: bytes) -> None:
        if self.code:
            raise Cancelled("the caller is gone")
        self._send(message)
        while self._stream.unsent:
            self._sent.clear()
            await self._sent.wait()
            if self.code:
                raise Cancelled("the caller is gone")

    def _send(self, message: bytes) -> None:
        connection = self._link.connection
        if not self._headers_sent:
            self._headers_sent = True
            connection.send_headers(self._stream, status.HEADERS)
        connection.send_data(self._stream, b"".join((b"\x00", len(message).to_bytes(4), message)))
