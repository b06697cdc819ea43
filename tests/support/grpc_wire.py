# SPDX-License-Identifier: Apache-2.0
"""gRPC's requests and answers as frames, for a connection that is driven by hand."""

from typing import Final

import hpack
from hyperframe.frame import HeadersFrame

from support.raw_connection import Wire

MSE: Final = "/lossd.v1.LossService/MseLoss"
SERVER_INFO: Final = "/lossd.v1.LossService/GetServerInfo"
SCORE_BATCH: Final = "/lossd.v1.EvaluationService/ScoreBatch"
SCORE_STREAM: Final = "/lossd.v1.EvaluationService/ScoreStream"
EVALUATE: Final = "/lossd.v1.EvaluationService/Evaluate"
CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
REFLECTION: Final = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

# Status codes.
OK, INVALID, DEADLINE, EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = "0", "3", "4", "8", "12", "14"

_FIELDS: Final = {":method": "POST", ":scheme": "http", ":path": MSE, "content-type": "application/grpc", "te": "trailers"}


def prefixed(message: bytes, compressed: int = 0) -> bytes:
    """The message as it is sent."""
    return bytes([compressed]) + len(message).to_bytes(4) + message


def headers(stream: int = 1, **fields: str) -> HeadersFrame:
    """What opens a request, to MseLoss unless `path` says otherwise, with these headers. Any order of them can be sent."""
    named = {f":{name}" if name in ("method", "path") else name.replace("_", "-"): value for name, value in fields.items()}
    return HeadersFrame(stream, hpack.Encoder().encode({**_FIELDS, **named}.items(), huffman=False), flags=["END_HEADERS"])


def begin(client: Wire, *, stream: int = 1, **fields: str) -> None:
    """Opens a request."""
    client.send(headers(stream, **fields))


async def answer_of(client: Wire) -> dict[str, str]:
    """Headers and trailers of the next answer that ends."""
    fields: dict[str, str] = {}
    while True:
        got = await client.next(HeadersFrame)
        fields.update(hpack.Decoder().decode(got.data))
        if "END_STREAM" in got.flags:
            return fields
