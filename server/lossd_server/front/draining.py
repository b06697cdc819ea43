# SPDX-License-Identifier: Apache-2.0
"""Ends connections when the server stops: no accepted call is lost, and the server waits for nothing else.

1. The server sends a GOAWAY with the largest stream id, and a PING: clients open no further streams, and those that they opened before
   they received the GOAWAY are served. When a client acknowledges the PING, the server sends the final GOAWAY. It refuses later
   streams, which clients retry elsewhere by themselves.
2. The server refuses what it has not accepted: requests whose message has not arrived, and streams that would never end.
3. Accepted calls complete, and their answers are sent as fast as the client reads them.
4. The server closes its side of a connection once everything on it is sent, and the client closes the other side. If the server
   closed both sides while the client sends, the client could lose answers that it has not read yet.
"""

import asyncio
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lossd_server.admission import shutting_down
from lossd_server.front.streaming import Streaming
from lossd_server.front.unary import Unary
from lossd_server.http2.asyncio_protocol import Connections, ServerProtocol

# How long requests have to arrive, and clients to acknowledge the PING.
_ARRIVAL_SECONDS: Final = 1.0

# How long clients have to close their side once everything is sent.
_GOODBYE_SECONDS: Final = 0.5

# Between checks of what is left. The checks take at most a tenth of the time, however many connections there are.
_LOOK_SECONDS: Final = 0.005


async def drain(hub: Connections, refuse_new: Callable[[], None], seconds: float) -> None:
    """See the module. `refuse_new` makes streams of calls end once their accepted calls are answered. Takes at most `seconds` plus half
    a second.
    """
    ends_at = time.monotonic() + seconds
    for link in hub.links:
        link.connection.drain()
    hub.flush()
    await _until(lambda: all(_has_arrived(link) for link in hub.links), min(ends_at, time.monotonic() + _ARRIVAL_SECONDS))

    for link in hub.links:
        if not link.connection.closing:
            link.connection.goaway()
    refuse_new()
    for rpc in _rpcs(hub):
        if not rpc.accepted:
            rpc.refuse(shutting_down())
    hub.flush()

    goodbye_at = 0.0

    def gone() -> bool:
        nonlocal goodbye_at
        now = time.monotonic()
        goodbye_at = (goodbye_at or now + _GOODBYE_SECONDS) if _finish_sending(hub) else 0.0
        return not hub.links or 0.0 < goodbye_at <= now

    await _until(gone, ends_at)

    for rpc in _rpcs(hub):
        rpc.refuse(shutting_down())
    for link in list(hub.links):
        link.half_close()
    await _until(gone, time.monotonic() + _GOODBYE_SECONDS)


# Implementation details follow.


def _has_arrived(link: ServerProtocol) -> bool:
    """Whether the client knows of the drain, and none of its requests is still arriving."""
    connection = link.connection
    return (connection.closing or not link.opened) and not any(
        isinstance(stream.receiver, Unary) and not stream.received for stream in connection.streams.values()
    )


def _finish_sending(hub: Connections) -> bool:
    """Half-closes the connections on which everything is sent. Returns whether those are all, and clients have received everything."""
    delivered = True
    for link in list(hub.links):
        if link.connection.streams:
            delivered = False
        else:
            link.half_close()
            delivered = delivered and not _undelivered_bytes(link)
    return delivered


def _undelivered_bytes(link: ServerProtocol) -> int:
    """The bytes that the client's machine has not acknowledged; for a unix: address, those that the client has not read."""
    connected = link.info("socket")
    if link.unsent or connected is None or connected.fileno() < 0:
        return link.unsent
    with suppress(ImportError, OSError):  # Windows has neither module
        import fcntl
        import termios

        return int(struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    return 0


def _rpcs(hub: Connections) -> list[Unary | Streaming]:
    receivers = [stream.receiver for link in hub.links for stream in link.connection.streams.values()]
    return [receiver for receiver in receivers if isinstance(receiver, Unary | Streaming)]


async def _until(condition: Callable[[], bool], ends_at: float) -> None:
    """Polls the condition, at least once: too many places would have to signal its changes."""
    while True:
        looked_at = time.monotonic()
        if condition() or looked_at >= ends_at:
            return
        await asyncio.sleep(max(_LOOK_SECONDS, 9 * (time.monotonic() - looked_at)))
