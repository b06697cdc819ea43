# SPDX-License-Identifier: Apache-2.0
"""The admin port: /metrics for Prometheus, /healthz and /readyz for orchestrators, over HTTP/1.1, one request per connection.

The server's event loop serves the port, so /healthz answers 200 as long as the loop runs. A connection must end within a few seconds,
and the oldest is closed if too many are open, so neither slow connections nor many connections delay the next request.
"""

import asyncio
import http.client
import io
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from lossd_server import sockets

_MAX_CONNECTIONS: Final = 64
_MAX_HEAD_BYTES: Final = 16 << 10
_SECONDS: Final = 5.0

_Answer = tuple[HTTPStatus, str, bytes]  # status, content type and body


class Admin:
    """Use on one event loop: start, then close.

    Args:
        bound: The sockets to listen on; `close` closes them.
        registry: The metrics that /metrics shows.
        ready: Whether /readyz answers 200 rather than 503.
        refresh: Awaited before each scrape.
    """

    def __init__(
        self,
        bound: sockets.Bound,
        registry: CollectorRegistry,
        ready: Callable[[], bool],
        refresh: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.address = bound.address
        self._bound = bound
        self._registry = registry
        self._ready = ready
        self._refresh = refresh
        self._encoding = asyncio.Lock()
        self._servers: list[asyncio.Server] = []
        self._connections: dict[asyncio.Task[None], None] = {}  # the oldest first

    async def start(self) -> None:
        """Begins to accept connections."""
        for each in self._bound.sockets:
            self._servers.append(await asyncio.start_server(self._connected, sock=each, limit=_MAX_HEAD_BYTES))

    def close(self) -> None:
        """Closes the listening sockets and every connection at once."""
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.cancel()
        self._bound.close()

    # Implementation details follow.

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.cancel()
        connection = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="lossd-admin")
        self._connections[connection] = None
        connection.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, *await self._answer(head)))
                writer.write_eof()
                await reader.read()  # until the client closes: if the server closed first, the client could lose the end of the answer
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, head: bytes) -> _Answer:
        request, _, fields = head.partition(b"\r\n")
        method, _, rest = request.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path not in ("/metrics", "/healthz", "/readyz"):
            return _text(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _text(HTTPStatus.METHOD_NOT_ALLOWED)
        if path == "/healthz" or (path == "/readyz" and self._ready()):
            return _text(HTTPStatus.OK)
        if path == "/readyz":
            return _text(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            accept = http.client.parse_headers(io.BytesIO(fields)).get("accept", "")
        except http.client.HTTPException:
            return _text(HTTPStatus.BAD_REQUEST)
        return await self._metrics(accept)

    async def _metrics(self, accept: str) -> _Answer:
        async with self._encoding:  # one thread at a time, however many scrapes there are
            if self._refresh is not None:
                await self._refresh()
            encode, content_type = choose_encoder(accept)
            page = await asyncio.to_thread(encode, self._registry)
        return HTTPStatus.OK, content_type, page


def _text(status: HTTPStatus) -> _Answer:
    return status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode()


def _response(head: bytes, status: HTTPStatus, content_type: str, body: bytes) -> bytes:
    fields = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(["Allow: GET, HEAD"] if status is HTTPStatus.METHOD_NOT_ALLOWED else []),
    ]
    return "\r\n".join([*fields, "", ""]).encode("latin-1") + (b"" if head.startswith(b"HEAD ") else body)
