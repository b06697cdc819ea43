# SPDX-License-Identifier: Apache-2.0
"""The listening sockets of a server, and the limits of its connections."""

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

# Maximum concurrent RPCs on one connection. gRPC clients hold further RPCs back; if a client does not, the server resets them.
MAX_CONCURRENT_STREAMS = 1024

# The client libraries ping every 60 s while they have calls. Any client may ping three times as often, with calls or without; a client
# that pings even more often is disconnected.
MIN_PING_INTERVAL_SECONDS = 20
_MAX_PING_STRIKES = 2

# An unreachable client is disconnected after the sum of both, and its calls release what they hold.
KEEPALIVE_SECONDS = 60
KEEPALIVE_TIMEOUT_SECONDS = 20

# A client that has not completed its TLS handshake and HTTP/2 preface within this time is disconnected.
HANDSHAKE_SECONDS = 20


class Listener:
    """The listening sockets and connections of a server. Use on one event loop: bind, start, stop."""

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
        """Binds and returns the address. Raises ValueError if the certificates cannot be used, and OSError as sockets.bind does."""
        settings = self._settings
        if settings.tls_cert_file:
            client_ca = Path(settings.tls_client_ca_file) if settings.tls_client_ca_file else None
            self._tls = tls.contexts(Path(settings.tls_cert_file), Path(settings.tls_key_file), client_ca)
        self._bound = sockets.bind(settings.listen, shared=settings.workers > 1)
        return self._bound.address

    async def start(self) -> None:
        """Begins to accept connections."""
        assert self._bound is not None, "bind comes first"
        self._acceptor.start(self._bound.sockets)
        self._hub.start()

    async def stop(self, refuse_new: Callable[[], None], seconds: float) -> None:
        """Takes no further connections, and drains the existing ones; see draining.drain for `refuse_new` and `seconds`."""
        self._acceptor.stop()
        for each in self._bound.sockets if self._bound is not None else ():
            each.close()
        await draining.drain(self._hub, refuse_new, seconds)
        self._hub.close()
        await self._front.stop()
        if self._bound is not None:
            self._bound.close()
