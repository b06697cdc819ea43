# SPDX-License-Identifier: Apache-2.0
"""Client: the losses of a lossd server, as blocking calls. Nothing here knows any loss."""

import json
import os
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
import numpy as np
from numpy.typing import NDArray

from lossd import _codec, _twins
from lossd._codec import LossResult, Request
from lossd._errors import CallCancelledError, ConnectionFailedError, ErrorDetails, error_of_rpc
from lossd._losses import LossMethods
from lossd.v1 import loss_service_pb2

SERVICE: Final = "lossd.v1.LossService"
DEFAULT_TIMEOUT_SECONDS: Final = 30.0
MAX_MESSAGE_BYTES: Final = (64 << 20) + 4096  # the server's default limit, and room for its own error to be the one seen

_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
)


def channel_options(max_message_bytes: int) -> list[tuple[str, Any]]:
    """What every channel to a lossd server needs. Without the buffer size gRPC does not retry requests above 256 KiB."""
    return [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.per_rpc_retry_buffer_size", max_message_bytes),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.primary_user_agent", "lossd-python"),
    ]


class Client(LossMethods[float, NDArray[np.floating[Any]], LossResult]):
    """A connection to a lossd server. Safe to share between threads; not across a fork. Close it, or use it in a `with`.

    Methods raise LossdError and its kinds (lossd.InvalidArgumentError, ...), and TypeError or ValueError for arguments that
    cannot be sent at all. Calls that found the server overloaded or unreachable are retried within their timeout.

    Args:
        target: "host:port", or any gRPC target.
        timeout: Seconds that a call may take, retries included; None waits for ever.
        credentials: For TLS: grpc.ssl_channel_credentials(...). None is plaintext.
        token: Sent as a bearer token with every call.
        max_message_bytes: The largest message either way; the server's limit holds too.
        options: Further gRPC channel options, in place of ours of the same name.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        merged = {**dict(channel_options(max_message_bytes)), **dict(options)}
        self._channel = (
            grpc.insecure_channel(target, list(merged.items()))
            if credentials is None
            else grpc.secure_channel(target, credentials, list(merged.items()))
        )
        self._timeout = timeout
        self._metadata = None if token is None else (("authorization", f"Bearer {token}"),)
        self._methods: dict[str, Any] = {}
        self._pid = os.getpid()
        self._closed = False

    def server_info(self, *, timeout: float | None = None) -> loss_service_pb2.GetServerInfoResponse:
        """Versions, devices, losses and limits of the server."""
        response = self._send("GetServerInfo", b"", self._timeout if timeout is None else timeout)
        return loss_service_pb2.GetServerInfoResponse.FromString(response)

    def wait_until_ready(self, timeout: float | None = DEFAULT_TIMEOUT_SECONDS) -> None:
        """Until the connection stands. Raises ConnectionFailedError after `timeout` seconds."""
        try:
            grpc.channel_ready_future(self._channel).result(timeout)
        except grpc.FutureTimeoutError:
            raise ConnectionFailedError(ErrorDetails("UNAVAILABLE", f"no server within {timeout} seconds")) from None

    def close(self) -> None:
        """Ends the connection; calls in flight raise CallCancelledError."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {type(self).__name__}; use it in a with statement, or close it", ResourceWarning, stacklevel=2)

    # Implementation details follow.

    def _call(self, request: Request, return_statistics: bool) -> Any:
        timeout = request.options.get("timeout", self._timeout)
        response = self._send(request.rpc, request.message().SerializeToString(), timeout)
        result = _codec.result(_twins.twin("LossResponse").FromString(response))
        return result if return_statistics else result.value

    def _send(self, rpc: str, message: bytes, timeout: float | None) -> bytes:
        if os.getpid() != self._pid:
            raise RuntimeError("this Client was made before a fork; gRPC channels do not survive one: make a new Client")
        method = self._methods.get(rpc)
        if method is None:
            method = self._methods[rpc] = self._channel.unary_unary(f"/{SERVICE}/{rpc}")
        try:
            response: bytes = method(message, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of_rpc(error) from error
        except ValueError as error:  # gRPC's word for a closed channel
            raise CallCancelledError(ErrorDetails("CANCELLED", str(error))) from error
        return response
