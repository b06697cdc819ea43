# SPDX-License-Identifier: Apache-2.0
"""The headers of a gRPC request (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)."""

from typing import Final, NamedTuple

from lossd_server.http2.header_rules import Headers

# Maximum bytes of a request's metadata, counted as in HTTP/2: 32 for each field in addition to its name and value.
MAX_METADATA_BYTES: Final = 16 << 10

_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MAX_TIMEOUT_DIGITS: Final = 8


class RequestHeaders(NamedTuple):
    """The parsed headers of a well-formed HTTP request. `fault` is 0 for a gRPC request, else the HTTP status to refuse it with."""

    path: str
    timeout_seconds: float | None
    authorization: str | None
    encoding: str
    metadata_bytes: int
    fault: int = 0


def read_request_headers(headers: Headers) -> RequestHeaders:
    """Parses the headers. Never raises: `fault` says if the request is not a gRPC request."""
    fields: dict[bytes, bytes] = {}
    size = 0
    for name, value in headers:
        size += len(name) + len(value) + 32
        fields.setdefault(name, value)
    timeout = fields.get(b"grpc-timeout")
    timeout_seconds = None if timeout is None else _timeout(timeout)
    content_type = fields.get(b"content-type", b"")
    fault = 0
    if fields.get(b":method") != b"POST":
        fault = 405
    elif content_type.partition(b";")[0] not in (b"application/grpc", b"application/grpc+proto"):
        fault = 415
    elif timeout is not None and timeout_seconds is None:
        fault = 400
    authorization = fields.get(b"authorization")
    return RequestHeaders(
        fields.get(b":path", b"").decode("ascii", "replace"),
        timeout_seconds,
        None if authorization is None else authorization.decode("ascii", "replace"),
        fields.get(b"grpc-encoding", b"identity").decode("ascii", "replace"),
        size,
        fault,
    )


def _timeout(text: bytes) -> float | None:
    """Seconds; None if the text is not a timeout."""
    digits, unit = text[:-1], text[-1:].decode("ascii", "replace")
    if not digits.isdigit() or len(digits) > _MAX_TIMEOUT_DIGITS or unit not in _UNITS:
        return None
    return int(digits) * _UNITS[unit]
