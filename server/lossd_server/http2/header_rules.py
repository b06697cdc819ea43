# SPDX-License-Identifier: Apache-2.0
"""What makes a request or its trailers malformed (RFC 9113, sections 8.1.1, 8.2 and 8.3)."""

import re
from typing import Final

Headers = tuple[tuple[bytes, bytes], ...]

_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_REQUIRED: Final = frozenset((b":method", b":scheme", b":path"))
_OF_HTTP_1: Final = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_NAME: Final = re.compile(rb"[!-9;-@\[-~]+")  # visible ASCII except upper case and colon
_FORBIDDEN_IN_VALUES: Final = re.compile(rb"[\0\r\n]")


def is_request(headers: Headers) -> bool:
    """Whether the fields form a well-formed request."""
    pseudo: dict[bytes, bytes] = {}
    regular = 0
    for name, value in headers:
        if name[:1] != b":":
            regular += 1
        elif regular or name not in _PSEUDO or name in pseudo:
            return False
        else:
            pseudo[name] = value
    if pseudo.get(b":method") == b"CONNECT":
        return pseudo.keys() == {b":method", b":authority"} and _are_regular(headers[len(pseudo) :])
    return pseudo.keys() >= _REQUIRED and bool(pseudo[b":path"]) and _are_regular(headers[len(pseudo) :])


def are_trailers(headers: Headers) -> bool:
    """Whether the fields form well-formed trailers."""
    return _are_regular(headers)


def content_length(headers: Headers) -> int | None:
    """The length that the body must have, or None if the request does not declare it. Raises ValueError."""
    lengths = {value for name, value in headers if name == b"content-length"}
    if not lengths:
        return None
    (length,) = lengths
    if not length.isdigit() or len(length) > 18:
        raise ValueError(length)
    return int(length)


# Implementation details follow.


def _are_regular(headers: Headers) -> bool:
    for name, value in headers:
        if not _NAME.fullmatch(name) or name in _OF_HTTP_1 or _FORBIDDEN_IN_VALUES.search(value):
            return False
        if name == b"te" and value.lower() != b"trailers":
            return False
    return True
