# SPDX-License-Identifier: Apache-2.0
"""The header and trailer blocks of responses.

An error becomes a status with google.rpc details: ErrorInfo always, BadRequest for arguments, RetryInfo and the
grpc-retry-pushback-ms trailer for overload.
"""

import base64
from typing import Final
from urllib.parse import quote

from google.rpc import error_details_pb2, status_pb2

from lossd_server.errors import CallError, InvalidArgument, Unavailable
from lossd_server.http2 import header_blocks

ERROR_DOMAIN: Final = "lossd"

_CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_ENCODINGS: Final = (b"grpc-accept-encoding", b"identity,deflate,gzip")

HEADERS: Final = header_blocks.response_block(_CONTENT_TYPE, _ENCODINGS)
OK: Final = header_blocks.trailer_block((b"grpc-status", b"0"))

_MAX_KNOWN: Final = 64
_known: dict[tuple[object, ...], bytes] = {}  # trailers, by their content

# In a grpc-message, all printable ASCII characters except the percent sign stand for themselves.
_UNQUOTED: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def trailers(error: CallError) -> bytes:
    """The trailers of an RPC that failed."""
    # A flood of refusals repeats the same trailers, which take 55 us to encode and 1 us to look up.
    place = error.field if isinstance(error, InvalidArgument) else error.retry_after_seconds if isinstance(error, Unavailable) else ""
    key = (type(error), str(error), tuple(error.metadata.items()), place)
    block = _known.get(key)
    if block is None:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        block = _known[key] = header_blocks.trailer_block(*_fields(error))
    return block


def trailers_only(error: CallError) -> bytes:
    """The only header block of an RPC that failed before it sent anything (Trailers-Only)."""
    return HEADERS + trailers(error)


def http_error(code: int) -> bytes:
    """The header block that refuses a request that is not a gRPC request."""
    return header_blocks.status_block(code)


def details(error: CallError) -> status_pb2.Status:
    """The google.rpc.Status of an error."""
    message = status_pb2.Status(code=error.number, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata)
    message.details.add().Pack(info)
    if isinstance(error, InvalidArgument):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.description)
        message.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, Unavailable):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_seconds * 1e9))
        message.details.add().Pack(retry)
    return message


def trailing_metadata(error: CallError) -> list[tuple[str, bytes]]:
    """The trailers of an RPC that failed, other than its status and message."""
    metadata = [("grpc-status-details-bin", details(error).SerializeToString())]
    if isinstance(error, Unavailable):
        metadata.append(("grpc-retry-pushback-ms", str(round(error.retry_after_seconds * 1000)).encode()))
    return metadata


# Implementation details follow.


def _fields(error: CallError) -> list[tuple[bytes, bytes]]:
    fields = [
        (b"grpc-status", str(error.number).encode()),
        (b"grpc-message", quote(error.message, safe=_UNQUOTED).encode()),
    ]
    for name, value in trailing_metadata(error):
        fields.append((name.encode(), base64.b64encode(value).rstrip(b"=") if name.endswith("-bin") else value))
    return fields
