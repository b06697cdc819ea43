# SPDX-License-Identifier: Apache-2.0
"""A connection on an asyncio transport, with its timeouts. Disconnects clients that are silent, unreachable, or ping too often."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from lossd_server.http2 import budget
from lossd_server.http2.connection import Connection
from lossd_server.http2.frames import ConnectionFault, ErrorCode
from lossd_server.http2.streams import Receiver, Stream
from lossd_server.http2.turns import Turns


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of a connection."""

    max_streams: int
    handshake_seconds: float  # from accept until the client's preface and SETTINGS have arrived
    keepalive_seconds: float  # without bytes from the client, until the server sends a PING
    keepalive_timeout_seconds: float  # from that PING until the client must have sent something
    min_ping_interval_seconds: float
    max_ping_strikes: int
    max_age_seconds: float = 0.0  # until the server drains the connection, plus or minus 10 percent; 0: never
    max_age_grace_seconds: float = 0.0  # for its streams to end after that; 0: no limit


# Bytes read at once: of DATA, which is passed on as it arrives, and of other frames, which may have to wait for their slice.
_READ_BYTES: Final = 256 << 10
_FRAMES_BYTES: Final = 64 << 10
_GOODBYE_SECONDS: Final = 0.5
TICK_SECONDS = 1.0  # maximum delay until an expired deadline, a removed token or an old connection is noticed


def _ignore(link: "ServerProtocol", nbytes: int) -> None:
    pass


class Connections:
    """All connections of a server. Use on one event loop."""

    def __init__(
        self,
        limits: ConnectionLimits,
        read_headers: Callable[[Any], Any],
        open_stream: Callable[["ServerProtocol", Stream, Any, bool], Receiver | None],
        count_unsent: Callable[["ServerProtocol", int], None] = _ignore,
    ) -> None:
        """`count_unsent` takes the bytes in the transport's write buffer when writing pauses, and 0 when it resumes or ends."""
        self.limits = limits
        self.read_headers = read_headers
        self.open_stream = open_stream
        self.count_unsent = count_unsent
        self.links: set[ServerProtocol] = set()
        self.buffer = memoryview(bytearray(_READ_BYTES))  # shared: a connection's bytes are processed before another reads
        self.turns = Turns()
        self._unflushed: list[ServerProtocol] = []
        self._loop = asyncio.get_running_loop()
        self._ticking: asyncio.TimerHandle | None = None

    def link(self, host: str = "") -> "ServerProtocol":
        """Returns the protocol of a new connection from this host."""
        return ServerProtocol(self, host)

    def flush_later(self, link: "ServerProtocol") -> None:
        """Flushes the connection in the next turn of the event loop."""
        if not self._unflushed:
            self._loop.call_soon(self.flush)
        self._unflushed.append(link)

    def flush(self) -> None:
        """Flushes the connections that have something to send."""
        links, self._unflushed = self._unflushed, []
        for link in links:
            link.flush()

    def start(self) -> None:
        """Starts the timer that checks the timeouts."""
        interval = min(TICK_SECONDS, self.limits.keepalive_timeout_seconds / 4, self.limits.handshake_seconds / 4)
        self._ticking = self._loop.call_later(interval, self.start)
        now = time.monotonic()
        for link in list(self.links):
            link.tick(now)

    def close(self) -> None:
        """Stops the timer, and closes all connections at once."""
        if self._ticking is not None:
            self._ticking.cancel()
        for link in list(self.links):
            link.abort()


class ServerProtocol(asyncio.BufferedProtocol):
    """One connection of a server."""

    def __init__(self, hub: Connections, host: str) -> None:
        self._hub = hub
        self._host = host
        self._transport: Any = None
        self._flushing = True  # until connection_made, which flushes
        self._accepted_at = self._heard_at = time.monotonic()
        self._retires_at = self._accepted_at + hub.limits.max_age_seconds * random.uniform(0.9, 1.1)  # not all at the same time
        self._retires = False
        self._asked_at: float | None = None
        self._pinged_at = 0.0
        self._strikes = 0
        self.opened = False  # bytes have arrived
        self._ended = self._half_closed = False
        self._lingers = False  # after a fault: sends and reads nothing more
        self._waiting = False  # for its turn: some received bytes are not processed yet
        self.on_lost: Callable[[], None] | None = None  # called once
        self.name = ""  # of the peer; empty until the front sets it
        self.connection = Connection(
            hub.read_headers,
            partial(hub.open_stream, self),
            max_streams=hub.limits.max_streams,
            on_output=self._on_output,
            on_ping=self._on_ping,
        )

    def connection_made(self, transport: Any) -> None:  # noqa: D102
        self._transport = transport
        secure = transport.get_extra_info("ssl_object")
        if secure is not None and secure.selected_alpn_protocol() != "h2":  # RFC 9113, section 3.2
            transport.abort()
            return
        self._hub.links.add(self)
        self.flush()

    def get_buffer(self, _: int) -> memoryview:  # noqa: D102
        return self._hub.buffer if self.connection.in_data else self._hub.buffer[:_FRAMES_BYTES]

    def buffer_updated(self, nbytes: int) -> None:  # noqa: D102
        self._heard_at, self._asked_at = time.monotonic(), None
        self._receive(self._hub.buffer[:nbytes])
        self.opened = True

    def pause_writing(self) -> None:  # noqa: D102
        self.connection.sending.paused = True
        self._hub.count_unsent(self, self._transport.get_write_buffer_size())
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:  # noqa: D102
        self.connection.sending.paused = False
        self._hub.count_unsent(self, 0)
        if self._lingers or self._transport.is_closing():
            return
        self.connection.resume()
        self.flush()
        if not self._waiting:
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self._hub.links.discard(self)
        self._hub.count_unsent(self, 0)
        self.connection.lost()
        self.lose()

    def lose(self) -> None:
        """Calls `on_lost`, once: the connection was lost, or was never made."""
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()

    # For the users of the connection.

    def info(self, name: str) -> Any:
        """See asyncio.BaseTransport.get_extra_info."""
        return self._transport.get_extra_info(name)

    def flush(self) -> None:
        """Writes to the transport until nothing is ready or the transport pauses."""
        self._flushing = True
        connection, transport = self.connection, self._transport
        while connection.sending.unsent and not transport.is_closing() and not self._half_closed:
            transport.write(connection.take())
            connection.resume()
        self._flushing = False

    def tick(self, now: float) -> None:
        """Checks the timeouts. Called about once a second."""
        limits = self._hub.limits
        if not self.connection.greeted:
            if now - self._accepted_at >= limits.handshake_seconds:
                self.abort()
        elif self._asked_at is not None:
            if now - self._asked_at >= limits.keepalive_timeout_seconds:
                self.abort()
        elif now - self._heard_at >= limits.keepalive_seconds:
            self._asked_at = now
            self.connection.ping()
        if limits.max_age_seconds and now >= self._retires_at:
            self._retire(now)
        for stream in list(self.connection.streams.values()):
            if stream.receiver is not None:
                stream.receiver.tick(now)

    @property
    def unsent(self) -> int:
        """The bytes in the transport's write buffer."""
        return 0 if self._transport.is_closing() else int(self._transport.get_write_buffer_size())

    def half_close(self) -> None:
        """Receives nothing more, and sends nothing after what is ready. TLS has no half close: there, only the client can close."""
        if self._ended:
            return
        self._ended = True
        self.connection.lost()
        self.flush()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._half_closed = True
            try:
                self._transport.write_eof()
            except OSError:  # the peer reset the connection, and the transport has not noticed yet
                self.abort()

    def close(self) -> None:
        """Closes the connection once everything that was sent is written."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Closes the connection at once."""
        self._transport.abort()

    # Implementation details follow.

    def _retire(self, now: float) -> None:
        """Sends GOAWAY in two steps, as in a drain. Closes the connection once it has no streams or the grace period is over."""
        limits = self._hub.limits
        patience_seconds = limits.keepalive_timeout_seconds if self._ended else limits.max_age_grace_seconds
        if not self._retires:
            self._retires, self._retires_at = True, now
            self.connection.drain()
        elif self.connection.closing and not self.connection.streams and not self._ended:
            self._retires_at = now
            self.half_close()
        elif patience_seconds and now >= self._retires_at + patience_seconds:
            self.abort()

    def _receive(self, data: memoryview | None) -> None:
        """Processes new bytes, or those that are left, while this connection and its host have time left in this turn."""
        if self._ended:
            return
        connection, turns, now = self.connection, self._hub.turns, time.monotonic()
        left = 0.0 if self._waiting else min(budget.SLICE, 1e6 * turns.left_seconds(self._host, now))
        try:
            used_up = connection.go_on(now, left) if data is None else connection.receive(data, now, left)
        except ConnectionFault as fault:
            self._end(fault)
            return
        finally:
            turns.spend(self._host, now)
        if used_up and not self._waiting and not self._transport.is_closing():
            self._waiting = True
            self._transport.pause_reading()
            turns.wait(self._host, self._go_on)

    def _go_on(self) -> None:
        self._waiting = False
        if self.connection.sending.paused or self._transport.is_closing():
            return  # a peer that does not read is served no more until `resume_writing`
        self._receive(None)
        if not (self._waiting or self._lingers or self.connection.sending.paused or self._transport.is_closing()):
            self._transport.resume_reading()

    def _on_output(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._hub.flush_later(self)

    def _on_ping(self) -> None:
        now = time.monotonic()
        limits = self._hub.limits
        # As in gRPC, a ping is a strike if it follows another too soon, with no headers or data between them.
        if self.connection.sending.pings > 1 and now - self._pinged_at < limits.min_ping_interval_seconds:
            self._strikes += 1
        else:
            self._strikes = 0
        self._pinged_at = now
        if self._strikes > limits.max_ping_strikes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    def _end(self, fault: ConnectionFault) -> None:
        self._ended = self._lingers = True
        if self.opened or fault.code is not ErrorCode.PROTOCOL_ERROR:
            self.connection.goaway(fault.code, fault.text)
        self.connection.lost()
        self.flush()
        # If we closed now, the peer's unread bytes would make the kernel reset the connection, and the peer could lose our GOAWAY.
        if not self._transport.is_closing():
            self._transport.pause_reading()
        asyncio.get_running_loop().call_later(_GOODBYE_SECONDS, self.abort)
