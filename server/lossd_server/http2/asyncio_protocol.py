# SPDX-License-Identifier: Apache-2.0
"""A connection on an asyncio transport, and the clocks that guard it: silent, vanished and importunate clients are disconnected."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from lossd_server.http2.connection import Connection
from lossd_server.http2.frames import ConnectionFault, ErrorCode
from lossd_server.http2.streams import Receiver, Stream

TICK_SECONDS = 1.0  # at most so late are deadlines, removed tokens and old connections noticed


@dataclass(frozen=True)
class ConnectionLimits:
    """What clients may do."""

    max_streams: int
    handshake_seconds: float  # from its acceptance until all that a connection begins with has come
    keepalive_seconds: float  # after so long a silence the client is asked whether it is there
    keepalive_timeout_seconds: float  # to answer
    min_ping_interval_seconds: float
    max_ping_strikes: int
    max_age_seconds: float = 0.0  # after which a connection is asked to end, give or take a tenth; 0: never
    max_age_grace_seconds: float = 0.0  # for its streams to end after that; 0: as long as they take


# So much is read at once: of DATA, which is handed on as it comes, and of other frames, which may have to wait for their turn.
_READ_BYTES: Final = 256 << 10
_FRAMES_BYTES: Final = 64 << 10
_GOODBYE_SECONDS: Final = 0.5


def _ignore(link: "ServerProtocol", nbytes: int) -> None:
    pass


class Connections:
    """The connections of a server. Belongs to one event loop."""

    def __init__(
        self,
        limits: ConnectionLimits,
        read_headers: Callable[[Any], Any],
        open_stream: Callable[["ServerProtocol", Stream, Any, bool], Receiver | None],
        count_unsent: Callable[["ServerProtocol", int], None] = _ignore,
    ) -> None:
        """`count_unsent` is told how many bytes a connection's transport has when it has too many, and 0 when it has few again."""
        self.limits = limits
        self.read_headers = read_headers
        self.open_stream = open_stream
        self.count_unsent = count_unsent
        self.links: set[ServerProtocol] = set()
        self.buffer = memoryview(bytearray(_READ_BYTES))  # of all connections: what one has read is taken in before another reads
        self._unflushed: list[ServerProtocol] = []
        self._loop = asyncio.get_running_loop()
        self._ticking: asyncio.TimerHandle | None = None

    def link(self) -> "ServerProtocol":
        """The protocol of a new connection."""
        return ServerProtocol(self)

    def flush_later(self, link: "ServerProtocol") -> None:
        """The connection has something to send."""
        if not self._unflushed:
            self._loop.call_soon(self.flush)
        self._unflushed.append(link)

    def later(self, callback: Callable[[], None], seconds: float = 0.0) -> None:
        """Calls it after what is due now, or so much later."""
        self._loop.call_later(seconds, callback)

    def flush(self) -> None:
        """Sends what there is."""
        links, self._unflushed = self._unflushed, []
        for link in links:
            link.flush()

    def start(self) -> None:
        """Starts the clocks."""
        interval = min(TICK_SECONDS, self.limits.keepalive_timeout_seconds / 4, self.limits.handshake_seconds / 4)

        def tick() -> None:
            now = time.monotonic()
            for link in list(self.links):
                link.tick(now)
            self._ticking = self._loop.call_later(interval, tick)

        self._ticking = self._loop.call_later(interval, tick)

    def close(self) -> None:
        """Stops the clocks, and ends the connections at once."""
        if self._ticking is not None:
            self._ticking.cancel()
        for link in list(self.links):
            link.abort()


class ServerProtocol(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self, hub: Connections) -> None:
        self._hub = hub
        self._transport: Any = None
        self._flushing = True  # once the connection is made
        self._accepted_at = self._heard_at = time.monotonic()
        self._retires_at = self._accepted_at + hub.limits.max_age_seconds * random.uniform(0.9, 1.1)  # not all at once
        self._retires = False
        self._asked_at: float | None = None
        self._pinged_at = 0.0
        self._strikes = 0
        self.opened = False  # something has come
        self._ended = self._half_closed = False
        self._lingers = False  # after an error: says nothing more and reads nothing more
        self._waiting = False  # for its turn: what has come is not all taken in
        self.on_lost: Callable[[], None] | None = None  # called once
        self.name = ""  # of the peer, for those who serve its streams
        self.connection = Connection(
            hub.read_headers,
            partial(hub.open_stream, self),
            max_streams=hub.limits.max_streams,
            on_output=self._on_output,
            on_ping=self._on_ping,
        )

    # asyncio.BufferedProtocol

    def connection_made(self, transport: Any) -> None:  # noqa: D102
        self._transport = transport
        secure = transport.get_extra_info("ssl_object")
        if secure is not None and secure.selected_alpn_protocol() != "h2":  # RFC 9113, section 3.2
            transport.abort()
            return
        self._hub.links.add(self)
        self._flushing = True
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
        """There is no connection, or none any more."""
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()

    # For those who serve its streams.

    def info(self, name: str) -> Any:
        """See asyncio.BaseTransport.get_extra_info."""
        return self._transport.get_extra_info(name)

    def flush(self) -> None:
        """Sends what there is, as far as the transport takes it."""
        self._flushing = True
        connection, transport = self.connection, self._transport
        while connection.sending.unsent and not transport.is_closing() and not self._half_closed:
            transport.write(connection.take())
            connection.resume()
        self._flushing = False

    def tick(self, now: float) -> None:
        """The clocks: called about every second."""
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
        """Bytes that the transport has not taken, or not passed on yet."""
        return 0 if self._transport.is_closing() else int(self._transport.get_write_buffer_size())

    def half_close(self) -> None:
        """Sends nothing after what is on its way and takes nothing in; over TLS, which cannot be half closed, the rest is the client's."""
        if self._ended:
            return
        self._ended = True
        self.connection.lost()
        self.flush()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._half_closed = True
            try:
                self._transport.write_eof()
            except OSError:  # the peer has reset the connection, of which the transport has not heard yet
                self.abort()

    def close(self) -> None:
        """Ends the connection when everything that was sent on it has gone."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Ends it at once."""
        self._transport.abort()

    # Implementation details follow.

    def _retire(self, now: float) -> None:
        """GOAWAY in two steps, as at a drain; then the end, once there are no streams or the grace is over."""
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
        """Takes in what came, or goes on with it, for a slice at most: then this connection waits until the others have had their turn."""
        if self._ended:
            return
        try:
            used_up = self.connection.go_on(time.monotonic()) if data is None else self.connection.receive(data, self._heard_at)
        except ConnectionFault as fault:
            self._end(fault)
            return
        if used_up and not self._waiting and not self._transport.is_closing():
            self._waiting = True
            self._transport.pause_reading()
            self._hub.later(self._go_on)

    def _go_on(self) -> None:
        self._waiting = False
        if self.connection.sending.paused or self._transport.is_closing():
            return  # nothing is served to a peer that does not read: `resume_writing` goes on
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
        # As gRPC counts: a ping too soon after another, with nothing asked for between them.
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
        # What the peer still sends stays unread, and closing now would make the kernel discard our GOAWAY before the peer has seen it.
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._hub.later(self.abort, _GOODBYE_SECONDS)
