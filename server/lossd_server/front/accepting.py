# SPDX-License-Identifier: Apache-2.0
"""Accepts connections. A connection counts towards the limits from here on, before its TLS handshake."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import structlog

from lossd_server import sockets
from lossd_server.front.callers import host_of
from lossd_server.http2.asyncio_protocol import ServerProtocol
from lossd_server.shares import Shares

# Maximum connections accepted in one turn of the event loop, so that other work is not delayed.
_ACCEPT_AT_ONCE: Final = 32

# Between attempts to accept while the system is out of descriptors or memory.
_PAUSE_SECONDS: Final = 0.5
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = structlog.get_logger("lossd.listener")


class Acceptor:
    """Connects each accepted socket to a new protocol, after the TLS handshake if the server uses TLS. Use on one event loop.

    Args:
        max_connections: Maximum connections; one host may hold at most half (see Shares). Further connections are closed at once.
        handshake_seconds: Maximum time for the TLS handshake.
        new_link: Returns the protocol of a new connection from a host.
        context: Returns the TLS context of the next connection, or None for a connection without TLS.
    """

    def __init__(
        self,
        max_connections: int,
        handshake_seconds: float,
        new_link: Callable[[str], ServerProtocol],
        context: Callable[[], ssl.SSLContext | None],
    ) -> None:
        self._shares = Shares(max_connections)
        self._max_connections = max_connections
        self._handshake_seconds = handshake_seconds
        self._new_link = new_link
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._resuming: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()

    def start(self, listening: list[socket.socket]) -> None:
        """Begins to accept connections from these sockets. Raises OSError."""
        for each in listening:
            each.listen(sockets.BACKLOG)
        self._listening = listening
        self._resume()

    def stop(self) -> None:
        """Accepts no more connections, and closes those whose TLS handshake is not complete. Idempotent."""
        self._pause()
        self._listening = []
        if self._resuming is not None:
            self._resuming.cancel()
        for task in self._opening:
            task.cancel()

    # Implementation details follow.

    def _resume(self) -> None:
        self._resuming = None
        for each in self._listening:
            self._loop.add_reader(each, self._accept, each)

    def _pause(self) -> None:
        for each in self._listening:
            self._loop.remove_reader(each)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                connected, address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                _log.error("not_accepting", error=error.strerror, seconds=_PAUSE_SECONDS)
                self._pause()
                self._resuming = self._loop.call_later(_PAUSE_SECONDS, self._resume)
                return
            self._take(connected, address)

    def _take(self, connected: socket.socket, address: Any) -> None:
        by_host = connected.family != socket.AF_UNIX
        host = host_of(address)
        if not (self._shares.fits(host, 1) if by_host else self._shares.used < self._max_connections):
            connected.close()
            return
        self._shares.change(host, 1)
        connected.setblocking(False)
        if by_host:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = self._new_link(host)
        link.on_lost = lambda: self._shares.change(host, -1)
        task = self._loop.create_task(self._open(connected, link), name="lossd-accept")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connected: socket.socket, link: ServerProtocol) -> None:
        try:
            context = self._context()
            limit = None if context is None else self._handshake_seconds
            await self._loop.connect_accepted_socket(lambda: link, connected, ssl=context, ssl_handshake_timeout=limit)
        except (OSError, asyncio.CancelledError):  # the client left, or the TLS handshake failed
            connected.close()
            link.lose()
