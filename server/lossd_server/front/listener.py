# SPDX-License-Identifier: Apache-2.0
"""Where connections come in, and what bounds them before a request of theirs reaches us."""

import ssl
from collections.abc import Callable
from pathlib import Path

from lossd_server import sockets
from lossd_server.config import Settings
from lossd_server.front import draining, tls
from lossd_server.front.accepting import Acceptor
from lossd_server.front.reloading import Reloading
from lossd_server.front.request_headers import read_request_headers
from lossd_server.front.router import Front
from lossd_server.http2.asyncio_protocol import ConnectionLimits, Connections

# RPCs at once on one connection. Clients hold further ones back; those of others are refused with a reset.
MAX_CONCURRENT_STREAMS = 1024

# The client libraries ping every 60 s while there are calls. Others may three times as often, with calls or without; those that
# ping still more often are disconnected.
MIN_PING_INTERVAL_SECONDS = 20
_MAX_PING_STRIKES = 2

# A client that vanished without a word is noticed after both together, and its calls give back what they hold.
KEEPALIVE_SECONDS = 60
KEEPALIVE_TIMEOUT_SECONDS = 20

# Whoever has not said within this time what every connection begins with, TLS included, is disconnected.
HANDSHAKE_SECONDS = 20


class Listener:
    """The sockets of a server. Use on one event loop: bind, start, stop accepting, close."""

    def __init__(self, settings: Settings, front: Front) -> None:
        self._settings = settings
        limits = ConnectionLimits(
            MAX_CONCURRENT_STREAMS,
            HANDSHAKE_SECONDS,
            KEEPALIVE_SECONDS,
            KEEPALIVE_TIMEOUT_SECONDS,
            MIN_PING_INTERVAL_SECONDS,
            _MAX_PING_STRIKES,
            settings.max_connection_age_seconds,
            settings.max_connection_age_grace_seconds,
        )
        self._front = front
        self._hub = Connections(limits, read_request_headers, front.open_stream, front.count_unsent)
        front.flush_with(self._hub.flush)
        self._bound: sockets.Bound | None = None
        self._tls: Reloading[ssl.SSLContext] | None = None
        self._acceptor = Acceptor(
            settings.max_connections, HANDSHAKE_SECONDS, self._hub.link, lambda: None if self._tls is None else self._tls.value()
        )

    def bind(self) -> str:
        """Binds and returns the address. Raises ValueError for certificates that cannot be used, and OSError as sockets.bind does."""
        settings = self._settings
        if settings.tls_cert_file:
            client_ca = Path(settings.tls_client_ca_file) if settings.tls_client_ca_file else None
            self._tls = tls.contexts(Path(settings.tls_cert_file), Path(settings.tls_key_file), client_ca)
        self._bound = sockets.bind(settings.listen, shared=settings.workers > 1)
        return self._bound.address

    async def start(self) -> None:
        """Begins to accept."""
        assert self._bound is not None, "bind comes first"
        self._acceptor.start(self._bound.sockets)
        self._hub.start()

    async def stop(self, refuse_new: Callable[[], None], seconds: float) -> None:
        """Takes no further connections, and ends those that there are as draining.drain does, which has `refuse_new` and `seconds`."""
        self._acceptor.stop()
        for each in self._bound.sockets if self._bound is not None else ():
            each.close()
        await draining.drain(self._hub, refuse_new, seconds)
        self._hub.close()
        await self._front.stop()
        if self._bound is not None:
            self._bound.close()
