# SPDX-License-Identifier: Apache-2.0
"""Floods of frames, each by one unauthenticated connection: FLOODS has them by name.

A flood connects to an address (HOST:PORT), sends as fast as the server takes it for so many seconds or until the server ends the
connection, and reads whatever comes back.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import hpack

from support.encoded_requests import encoded

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
_HEAD = struct.Struct(">HBBBL")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_INITIAL_WINDOW = 4
_CODES = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR"),
    *("REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"),
)

_CHUNK_FRAMES = 2000
_OPEN_STREAMS = 1000
_MSE, _STREAM = "/lossd.v1.LossService/MseLoss", "/lossd.v1.EvaluationService/ScoreStream"
_WATCH = "/grpc.health.v1.Health/Watch"


@dataclass(frozen=True)
class Result:
    """`ended_with`: the error code of the server's GOAWAY, "closed" if there was none, "" if the connection was still open."""

    frames: int  # sent
    ended_with: str


Flood = Callable[[str, float], Awaitable[Result]]
Chunks = Iterator[tuple[int, bytes]]  # frames, and their bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return _HEAD.pack(len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


async def send(address: str, seconds: float, chunks: Chunks) -> Result:
    """Sends what the iterator yields, on one connection."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    frames = 0
    goodbye = asyncio.ensure_future(_goodbye(reader))
    try:
        async with asyncio.timeout(seconds):
            writer.write(_PREFACE + frame(SETTINGS, 0, 0))
            for count, data in chunks:
                if goodbye.done():
                    break
                frames += count
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0)
            return Result(frames, await goodbye)
    except TimeoutError:
        return Result(frames, goodbye.result() if goodbye.done() and not goodbye.cancelled() else "")
    except OSError:
        return Result(frames, await goodbye)
    finally:
        goodbye.cancel()
        writer.transport.abort()


async def _goodbye(reader: asyncio.StreamReader) -> str:
    ended_with = "closed"
    try:
        while True:
            high, low, kind, _, _ = _HEAD.unpack(await reader.readexactly(9))
            payload = await reader.readexactly(high << 8 | low)
            if kind == GOAWAY:
                ended_with = _CODES[int.from_bytes(payload[4:8])]
                if ended_with != "NO_ERROR":
                    return ended_with
    except (OSError, asyncio.IncompleteReadError):
        return ended_with


# ---- frames of the connection, and of one stream


def _same(*frames: bytes, before: bytes = b"") -> Flood:
    """The same frames again and again."""

    def chunks() -> Chunks:
        yield 1, before
        chunk = b"".join(frames) * (_CHUNK_FRAMES // len(frames))
        while True:
            yield _CHUNK_FRAMES, chunk

    return lambda address, seconds: send(address, seconds, chunks())


def _opening(path: str) -> bytes:
    """A header block that changes no table."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, "content-type": "application/grpc", "te": "trailers"}
    return b"".join([_literal(name.encode(), value.encode()) for name, value in fields.items()])


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


_OPEN_STREAM = frame(HEADERS, END_HEADERS, 1, _opening(_STREAM))
_ONE = (1).to_bytes(4)


# ---- streams


def _streams(of_each: Callable[[int], tuple[bytes, ...]], before: bytes = b"") -> Flood:
    """The frames of one stream after another."""

    def chunks() -> Chunks:
        yield 1, before
        stream = 1
        while True:
            frames: list[bytes] = []
            while len(frames) < _CHUNK_FRAMES:
                frames += of_each(stream)
                stream += 2
            yield len(frames), b"".join(frames)

    return lambda address, seconds: send(address, seconds, chunks())


def _rapid_reset(path: str, body: bytes = b"") -> Flood:
    block = _opening(path)
    reset = (8).to_bytes(4)
    data = [(DATA, END_STREAM, len(body).to_bytes(5) + body)] if body else []
    parts = [(HEADERS, END_HEADERS, block), *data, (RST_STREAM, 0, reset)]
    return _streams(lambda stream: tuple([frame(kind, flags, stream, payload) for kind, flags, payload in parts]))


def _refused(block: bytes) -> Flood:
    return _streams(lambda stream: (frame(HEADERS, END_HEADERS | END_STREAM, stream, block),))


def _changing(path: str) -> Flood:
    """Requests that are reset, each with a header of its own, so that no block is known."""
    block, reset = _opening(path), (8).to_bytes(4)

    def of_each(stream: int) -> tuple[bytes, ...]:
        fields = block + b"\x40\x01n" + b"\x08" + b"%08d" % (stream % 10**8)
        return frame(HEADERS, END_HEADERS, stream, fields), frame(RST_STREAM, 0, stream, reset)

    return _streams(of_each)


def _blocks(block: bytes, before: bytes = b"") -> Flood:
    """Requests with a costly header block, in few chunks at a time."""

    def chunks() -> Chunks:
        yield 1, before
        stream = 3
        while True:
            count = max(1, (64 << 10) // len(block))
            frames: list[bytes] = []
            for _ in range(count):
                pieces = [block[at : at + (1 << 14)] for at in range(0, len(block), 1 << 14)]
                kinds = [(HEADERS, END_STREAM), *[(CONTINUATION, 0)] * (len(pieces) - 1)]
                for number, ((kind, flags), piece) in enumerate(zip(kinds, pieces, strict=True), 1):
                    frames.append(frame(kind, flags | (END_HEADERS if number == len(pieces) else 0), stream, piece))
                stream += 2
            yield len(frames), b"".join(frames)

    return lambda address, seconds: send(address, seconds, chunks())


# ---- answers that are not taken


def _stalled(of_each_round: Callable[[int], bytes], frames_of_round: int) -> Flood:
    """1,000 streams whose answers wait for a window, and what moves them a little."""
    _, message = encoded("mse_loss", input=[3.0] * 2000, target=[1.0] * 2000, reduction="none")
    body = len(message).to_bytes(5) + message

    def chunks() -> Chunks:
        yield 1, frame(SETTINGS, 0, 0, _INITIAL_WINDOW.to_bytes(2) + bytes(4)) + frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4))
        block = _opening(_MSE)
        for stream in range(1, 2 * _OPEN_STREAMS, 2):
            yield 2, frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body)
        number = 0
        while True:
            number += 1
            yield frames_of_round, of_each_round(number)

    return lambda address, seconds: send(address, seconds, chunks())


def _new_window(number: int) -> bytes:
    return b"".join([frame(SETTINGS, 0, 0, _INITIAL_WINDOW.to_bytes(2) + (number * 100 + each).to_bytes(4)) for each in range(100)])


_EVERY_WINDOW = b"".join([frame(WINDOW_UPDATE, 0, stream, _ONE) for stream in range(1, 2 * _OPEN_STREAMS, 2)])

_FULL = (64 << 10) - 100  # bytes of a header list that the server takes

FLOODS: dict[str, Flood] = {
    "settings": _same(frame(SETTINGS, 0, 0)),
    "settings with values": _same(frame(SETTINGS, 0, 0, bytes((0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9)) * 8)),
    "priority": _same(frame(PRIORITY, 0, 1, bytes(5))),
    "window update of the connection": _same(frame(WINDOW_UPDATE, 0, 0, _ONE)),
    "window update of a stream": _same(frame(WINDOW_UPDATE, 0, 1, _ONE), before=_OPEN_STREAM),
    "unknown frames": _same(frame(0x77, 0, 0)),
    "empty data": _same(frame(DATA, 0, 1), before=_OPEN_STREAM),
    "pings with data between": _same(frame(PING, 0, 0, bytes(8)), frame(DATA, 0, 1), before=_OPEN_STREAM),
    "resets of a closed stream": _same(
        frame(RST_STREAM, 0, 1, (8).to_bytes(4)), before=_OPEN_STREAM + frame(RST_STREAM, 0, 1, (8).to_bytes(4))
    ),
    "rapid reset of a loss": _rapid_reset(_MSE),
    "rapid reset of a loss with its message": _rapid_reset(_MSE, encoded("mse_loss", input=[3.0], target=[1.0])[1]),
    "rapid reset of ScoreStream": _rapid_reset(_STREAM),
    "rapid reset of Watch": _rapid_reset(_WATCH, b""),
    "rapid reset with changing headers": _changing(_MSE),
    "resets forced by wrong windows": _streams(
        lambda stream: (frame(HEADERS, END_HEADERS, stream, _opening(_STREAM)), frame(WINDOW_UPDATE, 0, stream, bytes(4)))
    ),
    "requests of no method": _refused(_opening("/lossd.v1.LossService/Nothing")),
    "requests without a message": _refused(_opening(_MSE)),
    "requests of another protocol": _refused(b"\x82\x84\x86"),
    "malformed requests": _refused(b"\x82"),
    "dynamic references": _blocks(b"\xbe" * (_FULL // 34), before=frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x01a\x01b")),
    "tiny fields": _blocks(b"\x00\x01a\x01b" * (_FULL // 34)),
    "table size updates": _blocks(b"\x20\x3f\xe1\x1f" * 4000 + b"\x82"),
    "huffman": _blocks(b"\x00\x01a" + hpack.hpack.encode_integer(30_000, 7).replace(b"\x7f", b"\xff", 1) + b"\x07" * 30_000),
    "continuations": _same(frame(CONTINUATION, 0, 1, b"\x00"), before=frame(HEADERS, 0, 1, _opening(_MSE))),
    "settings that move 1,000 stalled answers": _stalled(_new_window, 100),
    "windows of one byte for 1,000 stalled answers": _stalled(lambda _: _EVERY_WINDOW, _OPEN_STREAMS),
}
