# SPDX-License-Identifier: Apache-2.0
"""The encoded request of a call, and the validated call that the server makes of it, without a server."""

from typing import Any

from lossd._codec import Request
from lossd._losses import LossMethods
from lossd_server.call import Call
from lossd_server.losses import LOSSES
from lossd_server.requests.decode import decode, parse
from lossd_server.requests.validate import RequestLimits, validate


class _Encoder(LossMethods[Any, Any, Any]):
    def _call(self, request: Request, return_statistics: bool) -> Any:
        return request.rpc, request.encode()


_ENCODER = _Encoder()


def encoded(name: str, **kwargs: Any) -> tuple[str, bytes]:
    """The RPC and the request's bytes, as the client's method of this name sends them."""
    rpc, message = getattr(_ENCODER, name)(**kwargs)
    return rpc, message


def call_of(name: str, **kwargs: Any) -> Call:
    """The call as the server reads it. Raises CallError."""
    rpc, message = encoded(name, **kwargs)
    spec = LOSSES[rpc]
    return validate(spec, decode(spec, parse(f"{rpc}Request", message)), RequestLimits())
