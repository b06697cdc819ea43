# SPDX-License-Identifier: Apache-2.0
"""Accepts connections. What bounds them counts from here, before TLS has said a word."""

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

# Of one turn of the event loop: then everybody else has theirs.
_ACCEPT_AT_ONCE: Final = 32

# Until there may be descriptors or memory again.
_PAUSE_SECONDS: Final = 0.5
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = structlog.get_logger("lossd.listener")


class Acceptor:
    """Hands each connection to a new link, once TLS has been agreed on if there is TLS. Belongs to one event loop.

    Args:
        max_connections: Most connections, of one host half (see Shares); further ones are closed at once.
        handshake_seconds: Most time for TLS.
        new_link: Makes the protocol of a connection.
        context: TLS for the next connection, None for none.
    """

    def __init__(
        self,
        max_connections: int,
        handshake_seconds: float,
        new_link: Callable[[], ServerProtocol],
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
        """Begins to accept from these sockets. Raises OSError."""
        for each in listening:
            each.listen(sockets.BACKLOG)
        self._listening = listening
        self._resume()

    def stop(self) -> None:
        """Accepts no more, and ends the connections that have not agreed on TLS yet. A second time does nothing."""
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
        link = self._new_link()
        link.on_lost = lambda: self._shares.change(host, -1)
        task = self._loop.create_task(self._open(connected, link), name="lossd-accept")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connected: socket.socket, link: ServerProtocol) -> None:
        try:
            context = self._context()
            limit = None if context is None else self._handshake_seconds
            await self._loop.connect_accepted_socket(lambda: link, connected, ssl=context, ssl_handshake_timeout=limit)
        except (OSError, asyncio.CancelledError):  # it left, or TLS was not agreed on
            connected.close()
            link.lose()
