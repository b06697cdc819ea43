# SPDX-License-Identifier: Apache-2.0
"""gRPC by grpcio in place of http2/ (`--transport grpcio`): the same methods, callers, limits, answers and errors.

It is for operators who may not run our own HTTP/2 implementation, and for differential tests. It does not bound memory and time under
a flood, because grpcio buffers what it receives before we can count it. It does not score unary calls together that arrive together,
because grpcio delivers one call at a time, at about ten times the cost.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc

from lossd_server import sockets
from lossd_server.admission import request_too_large
from lossd_server.config import Settings
from lossd_server.errors import CallError, MessageMalformed, MetadataTooLarge, Unimplemented
from lossd_server.front import listener, status, tls
from lossd_server.front.callers import Callers
from lossd_server.front.grpcio_peer import GrpcioPeer
from lossd_server.front.reloading import Reloading
from lossd_server.front.request_headers import MAX_METADATA_BYTES
from lossd_server.front.rpc import Method
from lossd_server.http2.header_blocks import MAX_LIST_BYTES
from lossd_server.http2.streams import INITIAL_WINDOW
from lossd_server.log import unexpected
from lossd_server.service.scoring import Service
from lossd_server.service.streams import Received

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

# How long the remaining streams and clients have to end once everything accepted is answered.
_GOODBYE_SECONDS: Final = 0.5

# How soon a stream ends if its caller's token was removed.
_AUTHENTICATE_SECONDS: Final = 1.0


class GrpcioListener:
    """Replaces Listener. Use on one event loop: bind, start, stop."""

    def __init__(self, settings: Settings, methods: Mapping[str, Method], service: Service, who: Callers) -> None:
        """The keys of `methods` are paths."""
        self._settings = settings
        self._handler = _Handler(methods, service, who)
        self._server: Any = None

    def bind(self) -> str:
        """Binds and returns the address. Raises ValueError if the certificates cannot be used, and OSError as sockets.bind does."""
        settings = self._settings
        server = self._server = grpc.aio.server(options=_options(settings))
        server.add_generic_rpc_handlers((self._handler,))
        with sockets.bind(settings.listen, shared=settings.workers > 1):
            pass  # grpcio would take over the path of a running server, and its errors do not say what is wrong with an address
        if settings.tls_cert_file:
            port = server.add_secure_port(settings.listen, _credentials(settings))
        else:
            port = server.add_insecure_port(settings.listen)
        return settings.listen if settings.listen.startswith("unix:") else f"{settings.listen.rpartition(':')[0]}:{port}"

    async def start(self) -> None:
        """Begins to accept connections."""
        await self._server.start()

    async def stop(self, refuse_new: Callable[[], None], seconds: float) -> None:
        """Takes no further connections and requests, and answers accepted calls within `seconds`.

        `refuse_new` makes streams of calls end once their accepted calls are answered. Calls that grpcio has received but not delivered
        when the stop begins end as CANCELLED.
        """
        stopping = asyncio.create_task(self._server.stop(seconds))
        await asyncio.sleep(0)  # clients learn of the stop before the first call is refused
        refuse_new()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._handler.nothing_accepted.wait()
        await self._server.stop(min(_GOODBYE_SECONDS, seconds))
        await stopping


# Implementation details follow.


class _Handler(grpc.GenericRpcHandler):
    """Unary methods take streams, too, to know the caller before the message is read, and to detect missing and extra messages."""

    def __init__(self, methods: Mapping[str, Method], service: Service, who: Callers) -> None:
        self._service = service
        self._who = who
        self._accepted = 0
        self.nothing_accepted = asyncio.Event()
        self.nothing_accepted.set()
        self._handlers: dict[str, Any] = {
            path: (grpc.stream_stream_rpc_method_handler if method.streaming else grpc.stream_unary_rpc_method_handler)(
                partial(self._handle, method)
            )
            for path, method in methods.items()
        }
        self._no_such_method: Any = grpc.stream_unary_rpc_method_handler(_refuse_unknown)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method, self._no_such_method)

    async def _handle(self, method: Method, _: Any, context: Any) -> bytes | None:
        started_at = time.monotonic()
        remaining = context.time_remaining()
        deadline = None if remaining is None else started_at + remaining
        caller = ""
        code = "CANCELLED"  # unless the RPC ends otherwise
        try:
            metadata = context.invocation_metadata()
            _check_size(metadata)
            authenticate = partial(self._caller, method, GrpcioPeer(context), metadata)
            caller = authenticate()
            answer = None
            if method.streaming:
                await self._stream(method, context, deadline, caller, authenticate)
            else:
                answer = await self._unary(method, context, deadline, caller)
            code = "OK"
            return answer
        except CallError as error:
            code = error.code
            await _abort(context, error)
        except asyncio.CancelledError:
            if deadline is not None and time.monotonic() >= deadline:
                code = "DEADLINE_EXCEEDED"
            raise
        except Exception as error:  # noqa: BLE001 - internals must not leak to the caller
            failure = unexpected(method.name, caller, error)
            code = failure.code
            await _abort(context, failure)
        finally:
            method.observe(code, time.monotonic() - started_at, caller)

    def _caller(self, method: Method, peer: GrpcioPeer, metadata: Iterable[tuple[str, str | bytes]]) -> str:
        if method.open_to_all:
            return self._who.anybody(peer)
        authorization = next((str(value) for name, value in metadata if name == "authorization"), None)
        return self._who.caller(peer, authorization)

    async def _unary(self, method: Method, context: Any, deadline: float | None, caller: str) -> bytes:
        read = self._reading(method, context)
        with method.reserve(0, caller) as hold:
            message = await read()
            if message is None:
                raise MessageMalformed("", "the request ends before its message does")
            if await read() is not None:
                raise MessageMalformed("", "the method takes one message")
            self._accept(context)
            if method.unary is not None:
                hold.grow(len(message))
                return await method.unary(message, deadline=deadline, caller=caller, hold=hold)
        assert method.spec is not None
        return await self._service.score(method.spec, message, deadline=deadline, caller=caller)

    async def _stream(self, method: Method, context: Any, deadline: float | None, caller: str, authenticate: Callable[[], object]) -> None:
        assert method.stream is not None
        with method.reserve(0 if method.open_to_all else INITIAL_WINDOW, caller) as hold:
            read, output = self._reading(method, context), _Output(context)

            async def receive() -> Received | None:
                message = await read()
                return None if message is None else Received(message, hold.empty())

            serve = method.stream(receive, output, deadline=deadline, caller=caller)
            if method.has_calls:
                self._accept(context)
            task = asyncio.ensure_future(serve)
            try:
                while not task.done():
                    await asyncio.wait([task], timeout=_AUTHENTICATE_SECONDS)
                    authenticate()
            finally:
                task.cancel()
            last = task.result()
            await output.flushed()
            if last is not None:
                await context.write(last)

    def _accept(self, context: Any) -> None:
        """From now on, a server that stops waits until the RPC's answer is sent."""

        def done(_: Any) -> None:
            self._accepted -= 1
            if not self._accepted:
                self.nothing_accepted.set()

        self._accepted += 1
        self.nothing_accepted.clear()
        context.add_done_callback(done)

    def _reading(self, method: Method, context: Any) -> Callable[[], Awaitable[bytes | None]]:
        async def read() -> bytes | None:
            message = await context.read()
            if message is grpc.aio.EOF:
                return None
            if len(message) > method.max_message_bytes:
                raise request_too_large(len(message), method.max_message_bytes)
            return bytes(message)

        return read


class _Output:
    """Sends the messages of a stream: see service.streams.Output."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._unsent: deque[bytes] = deque()
        self._writing: asyncio.Task[None] | None = None
        self.on_drained: Callable[[], None] = _nothing

    @property
    def full(self) -> bool:
        return self._writing is not None

    def send(self, message: bytes) -> None:
        self._unsent.append(message)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    async def write(self, message: bytes) -> None:
        await self._context.write(message)

    async def flushed(self) -> None:
        if self._writing is not None:
            await self._writing

    async def _write_all(self) -> None:
        try:
            while self._unsent:
                await self._context.write(self._unsent.popleft())
        finally:
            self._writing = None
        self.on_drained()


def _nothing() -> None:
    """The default of `on_drained`."""


def _check_size(metadata: Iterable[tuple[str, str | bytes]]) -> None:
    size = sum([len(name) + len(value) + 32 for name, value in metadata])
    if size > MAX_METADATA_BYTES:
        raise MetadataTooLarge(f"the metadata has {size} bytes; {MAX_METADATA_BYTES} are allowed", limit=MAX_METADATA_BYTES, actual=size)


async def _refuse_unknown(_: Any, context: Any) -> NoReturn:
    await _abort(context, Unimplemented("the server has no such method"))


async def _abort(context: Any, error: CallError) -> NoReturn:
    await context.abort(_CODES[error.number], error.message, tuple(status.trailing_metadata(error)))
    raise AssertionError("abort raises")


def _options(settings: Settings) -> list[tuple[str, int]]:
    """The limits of Listener as grpcio's options."""
    ages = {
        "grpc.max_connection_age_ms": settings.max_connection_age_seconds,
        "grpc.max_connection_age_grace_ms": settings.max_connection_age_grace_seconds,
    }
    return [
        *[(name, int(1000 * seconds)) for name, seconds in ages.items() if seconds],
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", -1),  # the service limits its answers
        ("grpc.max_metadata_size", MAX_LIST_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_LIST_BYTES),
        ("grpc.max_concurrent_streams", listener.MAX_CONCURRENT_STREAMS),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", listener.HANDSHAKE_SECONDS * 1000),
        ("grpc.keepalive_time_ms", listener.KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", listener.KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", listener.MIN_PING_INTERVAL_SECONDS * 1000),
        ("grpc.so_reuseport", int(settings.workers > 1)),
    ]


def _credentials(settings: Settings) -> grpc.ServerCredentials:
    """TLS with files that may change. Raises ValueError if they cannot be used at the start."""
    certificate, key = Path(settings.tls_cert_file), Path(settings.tls_key_file)
    client_ca = Path(settings.tls_client_ca_file) if settings.tls_client_ca_file else None
    paths = [certificate, key] if client_ca is None else [certificate, key, client_ca]

    def load() -> grpc.ServerCertificateConfiguration:
        tls.load(certificate, key, client_ca)  # because grpcio does not say what is wrong with the files
        contents = [path.read_bytes() for path in paths]
        roots = contents[2] if client_ca is not None else None
        return grpc.ssl_server_certificate_configuration([(contents[1], contents[0])], root_certificates=roots)

    files = Reloading("certificates", paths, load)
    return grpc.dynamic_ssl_server_credentials(files.value(), files.value, require_client_authentication=client_ca is not None)
