# SPDX-License-Identifier: Apache-2.0
"""Requests that client libraries do not send: how our own HTTP/2 front and grpcio's answer them, and why if the answers differ."""

import asyncio
import gzip
import zlib

import hpack
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame

from support.raw_connection import Wire
from support.transports import (
    BATCH,
    EVALUATE,
    MAX_REQUEST_BYTES,
    MESSAGE,
    MSE,
    STREAM,
    Pair,
)


def prefixed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4) + message


async def by_hand(address: str, body: bytes, *, whole: bool = True, **fields: str) -> str:
    """What is answered to a request that client libraries do not send: "HTTP STATUS", "gRPC STATUS" or the frame that refuses it."""
    named = {f":{name}" if name in ("method", "path") else name.replace("_", "-"): value for name, value in fields.items()}
    head = {
        ":method": "POST",
        ":scheme": "http",
        ":path": MSE,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
        **named,
    }
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        client = Wire(reader, writer)
        block = hpack.Encoder().encode({name: value for name, value in head.items() if value})
        client.send(HeadersFrame(1, block, flags=["END_HEADERS"]), DataFrame(1, body, flags=["END_STREAM"] if whole else []))
        decoder, answer = hpack.Decoder(), {}
        while True:
            frame = await client.next((HeadersFrame, RstStreamFrame, GoAwayFrame))
            if not isinstance(frame, HeadersFrame):
                return type(frame).__name__
            answer.update(decoder.decode(frame.data))
            if "END_STREAM" in frame.flags:
                return f"gRPC {answer['grpc-status']}" if "grpc-status" in answer else f"HTTP {answer[':status']}"
    finally:
        writer.close()


PLAIN, GZIP = prefixed(MESSAGE), {"grpc_encoding": "gzip"}
PACKED = gzip.compress(MESSAGE)
MALFORMED_TIMEOUT = "our front answers what is no gRPC request by an HTTP status; grpcio's parser ends it with INTERNAL"
CONTENT_TYPE = "our front takes protobuf only, and says so by an HTTP status as gRPC's document asks; grpcio does not look"
UNPACKING = "grpcio unpacks before anybody of ours sees the message, and calls what it cannot unpack INTERNAL"
ON_THE_WIRE: dict[str, tuple[bytes, dict[str, str], tuple[str, str], str]] = {
    "a call": (PLAIN, {}, ("gRPC 0", "gRPC 0"), ""),
    "deflate": (prefixed(zlib.compress(MESSAGE), 1), {"grpc_encoding": "deflate"}, ("gRPC 0", "gRPC 0"), ""),
    "gzip": (prefixed(PACKED, 1), GZIP, ("gRPC 0", "gRPC 0"), ""),
    "a bomb": (prefixed(gzip.compress(bytes(MAX_REQUEST_BYTES + 1)), 1), GZIP, ("gRPC 8", "gRPC 8"), ""),
    "half a message": (PLAIN[:-1], {}, ("gRPC 3", "gRPC 3"), ""),
    "half a prefix": (PLAIN[:3], {}, ("gRPC 3", "gRPC 3"), ""),
    "no time": (PLAIN, {"grpc_timeout": "0n"}, ("gRPC 4", "gRPC 4"), ""),
    "much metadata": (PLAIN, {"a": "b" * 20_000}, ("gRPC 8", "gRPC 8"), ""),
    "no such path": (PLAIN, {"path": "x"}, ("gRPC 12", "gRPC 12"), ""),
    "a malformed timeout": (PLAIN, {"grpc_timeout": "1x"}, ("HTTP 400", "gRPC 13"), MALFORMED_TIMEOUT),
    "a negative timeout": (PLAIN, {"grpc_timeout": "-1S"}, ("HTTP 400", "gRPC 13"), MALFORMED_TIMEOUT),
    "GET": (b"", {"method": "GET"}, ("HTTP 405", "RstStreamFrame"), "grpcio resets what is no POST"),
    "text": (PLAIN, {"content_type": "text/plain"}, ("HTTP 415", "gRPC 0"), CONTENT_TYPE),
    "JSON": (PLAIN, {"content_type": "application/grpc+json"}, ("HTTP 415", "gRPC 0"), CONTENT_TYPE),
    "no TE": (PLAIN, {"te": ""}, ("gRPC 0", "RstStreamFrame"), "our front needs no TE: it sends trailers to everybody"),
    "an unknown encoding": (prefixed(MESSAGE, 1), {"grpc_encoding": "br"}, ("gRPC 12", "gRPC 13"), UNPACKING),
    "no gzip": (prefixed(MESSAGE, 1), GZIP, ("gRPC 3", "gRPC 13"), UNPACKING),
    "half of a gzip": (prefixed(PACKED[:-3], 1), GZIP, ("gRPC 3", "gRPC 13"), UNPACKING),
    "no encoding": (prefixed(MESSAGE, 1), {}, ("gRPC 12", "gRPC 13"), UNPACKING),
}


@pytest.mark.parametrize("case", ON_THE_WIRE)
def test_answers_to_requests_that_client_libraries_do_not_send(pair: Pair, case: str) -> None:
    body, fields, expected, reason = ON_THE_WIRE[case]
    assert bool(reason) == (expected[0] != expected[1])

    async def ask() -> list[str]:
        async with asyncio.timeout(20):
            return [await by_hand(address, body, **fields) for address in pair.addresses]

    assert asyncio.run(ask()) == list(expected)


def test_a_message_that_is_too_large_has_one_status_and_two_texts(pair: Pair) -> None:
    """grpcio refuses it by itself, without our details."""
    for path in (MSE, BATCH, STREAM, EVALUATE):
        ours, theirs = pair.answers(path, bytes(MAX_REQUEST_BYTES + 1))
        assert (ours.code, theirs.code) == ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
        assert "REQUEST_TOO_LARGE" in ours.details
        assert (theirs.text, theirs.details) == (
            f"SERVER: Received message larger than max ({MAX_REQUEST_BYTES + 1} vs. {MAX_REQUEST_BYTES})",
            "",
        )


def test_metadata_above_the_limit_has_one_status_and_counts_that_differ(pair: Pair) -> None:
    """grpcio does not show us the headers that are its own, so they do not count."""
    ours, theirs = pair.answers(MSE, MESSAGE, metadata=[("a", "b" * 14_000), ("c", "d" * 2_400)])
    assert (ours.code, theirs.code) == ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
    assert "METADATA_TOO_LARGE" in ours.details
    assert "METADATA_TOO_LARGE" in theirs.details
