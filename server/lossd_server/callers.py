# SPDX-License-Identifier: Apache-2.0
"""Who calls. Callers share the device and the memory under the names that they have here.

A caller is named by its token where there are tokens, else by its certificate where there is mutual TLS, else by the host that it
calls from: then all connections of a host are one caller, and so is whoever comes through one proxy.
"""

import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc

from lossd_server.errors import Unauthenticated
from lossd_server.front import Context, abort
from lossd_server.metrics import Metrics
from lossd_server.tokens import Tokens

# Open to everybody, because the probes of orchestrators and load balancers have no tokens.
_HEALTH = "/grpc.health.v1.Health/"

_name: ContextVar[str] = ContextVar("lossd_caller")


def by_token(context: Context) -> str:
    """The name that Authentication has found."""
    return _name.get()


def by_certificate(context: Context) -> str:
    """The first subject alternative name of the verified certificate, else its common name."""
    identity = next(iter(context.peer_identities() or ()), None)
    return by_host(context) if identity is None else identity.decode(errors="replace")


def by_host(context: Context) -> str:
    """The address without its port."""
    return context.peer().rpartition(":")[0]


class Authentication(grpc.aio.ServerInterceptor):
    """Ends RPCs without a known token before their message is read, those of reflection too; health stays open."""

    def __init__(self, tokens: Tokens, metrics: Metrics) -> None:
        self._tokens = tokens
        self._metrics = metrics

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(details)
        method: str = details.method
        if handler is None or method.startswith(_HEALTH):
            return handler
        authorization = next((value for key, value in details.invocation_metadata if key == "authorization"), None)
        try:
            _name.set(self._tokens.authenticate(authorization))
        except Unauthenticated as error:
            return self._refusal(method, handler, error)
        return handler

    def _refusal(self, method: str, handler: Any, error: Unauthenticated) -> Any:
        started_at = time.monotonic()
        _, service, name = method.split("/")
        observe = self._metrics.rpc(_KINDS[handler.request_streaming, handler.response_streaming], service, name)

        async def refuse(_: Any, context: Context) -> None:
            observe(error.code, time.monotonic() - started_at)
            await abort(context, error)

        # Whatever the method takes: of a stream nothing is read that nobody asks for.
        return grpc.stream_unary_rpc_method_handler(refuse)


_KINDS = {(False, False): "unary", (False, True): "server_stream", (True, False): "client_stream", (True, True): "bidi_stream"}
