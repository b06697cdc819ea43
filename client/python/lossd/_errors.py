# SPDX-License-Identifier: Apache-2.0
"""The exceptions of a call.

    LossdError
    ├─ InvalidArgumentError     fix the arguments; `field_violations` names them
    ├─ TooLargeError            above a limit of the server; `limit_bytes` if it is a limit in bytes
    ├─ OverloadedError          the server is full or draining; `retry_after_seconds`
    ├─ DeadlineError            not answered in time
    ├─ ConnectionFailedError    no server was reached, or the connection broke
    ├─ AuthenticationError      the token or certificate is missing, wrong, or does not permit the call
    ├─ CallCancelledError       cancelled on this side
    └─ ServerError              the server failed, which is a bug of the server

Every error has `code` (such as "INVALID_ARGUMENT"), `reason` (such as "SHAPE_MISMATCH") and `metadata`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one argument. `field` is the argument's name, or a path that begins with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """An error as the server described it, in a status or in a message."""

    code: str
    message: str
    reason: str = ""
    field_violations: tuple[FieldViolation, ...] = ()
    retry_after_seconds: float | None = None
    metadata: Mapping[str, str] | None = None


class LossdError(Exception):
    """The base of all errors of this package that come from a call."""

    def __init__(self, details: ErrorDetails) -> None:
        super().__init__(f"{details.message} [{details.reason or details.code}]")
        self.code = details.code
        self.reason = details.reason
        self.message = details.message
        self.metadata = dict(details.metadata or {})
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.details,)


class InvalidArgumentError(LossdError):
    """An argument is wrong; the same call can never succeed."""

    @property
    def field_violations(self) -> tuple[FieldViolation, ...]:
        """The arguments at fault."""
        return self.details.field_violations


class TooLargeError(LossdError):
    """The request, its answer or its computation is above a limit of the server. Split the batch."""

    @property
    def limit_bytes(self) -> int | None:
        """The limit, or None if it is not a limit in bytes."""
        limit = self.metadata.get("limit_bytes")
        return None if limit is None else int(limit)


class OverloadedError(LossdError):
    """The server's queue is full, or it is shutting down. The same call may succeed later."""

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the server asks to wait before a retry: infinity if it asks for no retry, None if it does not say."""
        return self.details.retry_after_seconds


class DeadlineError(LossdError):
    """The call's timeout passed before its answer came."""


class ConnectionFailedError(LossdError):
    """No server was reached, or the connection broke before the answer."""


class AuthenticationError(LossdError):
    """The server does not know this client, or does not permit the call."""


class CallCancelledError(LossdError):
    """The call was cancelled on this side, or its client was closed."""


class ServerError(LossdError):
    """The server failed in a way that is not the caller's fault."""


def closed_error() -> CallCancelledError:
    """The error of calls in flight when their client is closed, and of calls of a closed client."""
    return CallCancelledError(ErrorDetails("CANCELLED", "the client is closed"))


_BY_CODE: Mapping[str, type[LossdError]] = {
    "INVALID_ARGUMENT": InvalidArgumentError,
    "OUT_OF_RANGE": InvalidArgumentError,
    "RESOURCE_EXHAUSTED": TooLargeError,
    "DEADLINE_EXCEEDED": DeadlineError,
    "UNAUTHENTICATED": AuthenticationError,
    "PERMISSION_DENIED": AuthenticationError,
    "CANCELLED": CallCancelledError,
}


def error_of(details: ErrorDetails) -> LossdError:
    """The typed error for these details."""
    if details.code == "UNAVAILABLE":
        # Only a lossd server gives a reason. Without one, no server answered.
        return OverloadedError(details) if details.reason else ConnectionFailedError(details)
    return _BY_CODE.get(details.code, ServerError)(details)


def error_of_rpc(error: "grpc.RpcError") -> LossdError:
    """The typed error for a failed RPC."""
    code: str = error.code().name
    message: str = error.details() or code
    trailers: Any = error.trailing_metadata() or ()
    details = _connection_details(code, message)
    for key, value in trailers:
        if key == "grpc-status-details-bin":
            details = _read_status(code, status_pb2.Status.FromString(value))
    if details.retry_after_seconds is None:
        details = replace(details, retry_after_seconds=_pushback(trailers))
    return error_of(details)


# Parts of gRPC's messages about failed connections, each with the likely cause and what to do.
_CURES = (
    ("WRONG_VERSION_NUMBER", "the server does not use TLS: omit credentials and tls, or connect to its TLS port"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the server's certificate is not signed by an authority that this client trusts: pass the authority's certificate, "
        'credentials=grpc.ssl_channel_credentials(Path("ca.crt").read_bytes())',
    ),
    ("Tls handshake failed", "the server's certificate may be for another host, or the server may require a client certificate"),
    (
        "Socket closed",
        "the connection was closed: the server stopped, or it uses TLS and this client does not: pass tls=True or credentials",
    ),
    ("Connection refused", "nothing listens at this address: check it, and check that the server has started"),
    ("errors resolving", "there is no such host: check the address, host:port"),
)


def _connection_details(code: str, message: str) -> ErrorDetails:
    """The details of an error that the server did not describe. A failed handshake would fail again."""
    cure = next((cure for symptom, cure in _CURES if symptom in message), None) if code == "UNAVAILABLE" else None
    lasting = code == "UNAVAILABLE" and "Tls handshake failed" in message
    return ErrorDetails(code, f"{message}; {cure}" if cure else message, retry_after_seconds=math.inf if lasting else None)


def _pushback(trailers: Any) -> float | None:
    """The seconds that the trailer `grpc-retry-pushback-ms` asks for. Anything but a number of milliseconds means no retry."""
    for key, value in trailers:
        if key == "grpc-retry-pushback-ms":
            return int(value) * 1e-3 if value.isdecimal() else math.inf
    return None


def _read_status(code: str, status: Any) -> ErrorDetails:
    reason, metadata, retry_after = "", {}, None
    violations: tuple[FieldViolation, ...] = ()
    for detail in status.details:
        info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(request):
            violations = tuple(FieldViolation(v.field, v.description) for v in request.field_violations)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() * 1e-9
    return ErrorDetails(code, status.message, reason, violations, retry_after, metadata)
