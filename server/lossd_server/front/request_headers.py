# SPDX-License-Identifier: Apache-2.0
"""The headers of a gRPC request (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)."""

from typing import Final, NamedTuple

from lossd_server.http2.header_blocks import Headers

# A caller may send so many bytes of metadata, counted as HTTP/2 does: 32 for each field besides its name and value.
MAX_METADATA_BYTES: Final = 16 << 10

_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MAX_TIMEOUT_DIGITS: Final = 8


class RequestHeaders(NamedTuple):
    """What a request's headers say. `fault` is an HTTP status where it is no gRPC request, and 0 where it is one."""

    path: str
    timeout_seconds: float | None
    authorization: str | None
    encoding: str
    metadata_bytes: int
    fault: int = 0
    malformed: bool = False  # not even HTTP


def read_request_headers(headers: Headers) -> RequestHeaders:
    """Never raises: what is wrong is in the RequestHeaders."""
    fields: dict[bytes, bytes] = {}
    size = 0
    regular = malformed = False
    for name, value in headers:
        size += len(name) + len(value) + 32
        pseudo = name.startswith(b":")
        # RFC 9113, section 8.2 and 8.3: lower case, pseudo-header fields first and once, nothing of HTTP/1's connections.
        if name != name.lower() or (pseudo and (regular or name in fields)) or name == b"connection":
            malformed = True
        regular = regular or not pseudo
        fields.setdefault(name, value)
    malformed = malformed or not {b":method", b":path", b":scheme"} <= fields.keys()
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
        malformed,
    )


def _timeout(text: bytes) -> float | None:
    """Seconds; None for what is no timeout."""
    digits, unit = text[:-1], text[-1:].decode("ascii", "replace")
    if not digits.isdigit() or len(digits) > _MAX_TIMEOUT_DIGITS or unit not in _UNITS:
        return None
    return int(digits) * _UNITS[unit]
