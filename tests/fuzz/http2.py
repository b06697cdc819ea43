# SPDX-License-Identifier: Apache-2.0
"""The HTTP/2 connection: any bytes, in any pieces.

- Nothing but ConnectionFault escapes.
- What the receivers hear, the fault, and what is sent depend on the bytes, not on the pieces they come in.
- What is sent is whole frames, within the peer's window of the connection, and not more than what was received warrants.
- Header lists and open streams are bounded; every receiver hears the end of its request once, or that it was aborted, and nothing more.

Input: a byte that chooses the pieces, then what follows the preface.
"""

import random
from typing import Any, Final

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from lossd_server.front.request_headers import read_request_headers
from lossd_server.http2 import frames
from lossd_server.http2.connection import Connection
from lossd_server.http2.frames import ConnectionFault
from lossd_server.http2.header_blocks import MAX_LIST_BYTES, literal
from lossd_server.http2.header_rules import Headers
from lossd_server.http2.streams import INITIAL_WINDOW, Receiver, Stream

MAX_STREAMS: Final = 8

# What some streams answer: more than the windows that a peer begins with.
_LARGE: Final = bytes(100_000)
_HEADERS, _TRAILERS = b"\x88", literal(b"a", b"b")

# More than any frame of ours is long that one of the peer's causes.
_FRAME_BYTES: Final = 64


class _Reader:
    """What serves a stream, by its id: answers at once, in full or in part, or at the end of the request, and grants as it reads."""

    def __init__(self, served: "_Served", stream: Stream) -> None:
        self.served, self.stream = served, stream
        self.body = bytearray()
        self.over = False

    def data(self, data: memoryview, ended: bool) -> None:
        assert not self.over, "heard of after its end"
        self.served.events.append((self.stream.id, "data", len(data), ended))
        self.body += data
        self.over = ended
        self.served.connection.grant(self.stream, len(data))
        if ended:
            self.served.connection.respond(self.stream, _HEADERS, bytes(self.body), _TRAILERS)
            self.served.produced += len(self.body)

    def aborted(self) -> None:
        self.served.events.append((self.stream.id, "aborted"))
        self.over = True

    def drained(self) -> None: ...

    def tick(self, now: float) -> None: ...


class _Served:
    """A connection, and what was heard on it."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.sent = bytearray()
        self.produced = 0
        self.fault: ConnectionFault | None = None
        self.connection: Connection[Any] = Connection(self._head, self._open, max_streams=MAX_STREAMS)

    def receive(self, piece: bytes) -> None:
        if self.fault is None:
            try:
                used_up = self.connection.receive(memoryview(piece))
                while used_up:
                    used_up = self.connection.go_on()
            except ConnectionFault as fault:
                self.fault = fault
                self.connection.goaway(fault.code, fault.text)
        assert len(self.connection.streams) <= MAX_STREAMS
        while self.connection.sending.unsent:
            self.sent += self.connection.take()
            self.connection.resume()

    def _head(self, headers: Headers) -> Any:
        assert sum([len(name) + len(value) + 32 for name, value in headers]) <= MAX_LIST_BYTES
        return headers, read_request_headers(headers)

    def _open(self, stream: Stream, head: Any, ended: bool) -> Receiver | None:
        self.events.append((stream.id, "opened", head, ended))
        connection, kind = self.connection, stream.id >> 1 & 3
        if kind == 1:
            connection.send_headers(stream, _TRAILERS, ended=True)
            return None
        if kind == 2 or ended:
            self.produced += len(_LARGE)
            connection.send_headers(stream, _HEADERS)
            connection.send_data(stream, _LARGE)
            connection.send_trailers(stream, _TRAILERS)
            return None
        return _Reader(self, stream)


def check(data: bytes) -> None:
    """Raises AssertionError, or whatever should not have escaped."""
    received = frames.PREFACE + data[1:]
    whole, pieces = _Served(), _Served()
    whole.receive(received)
    random_ = random.Random(data[:1])
    position = 0
    while position < len(received):
        size = random_.choice((1, 2, 5, 9, 10, 30, 100, 1000))
        pieces.receive(received[position : position + size])
        position += size
    for served in (whole, pieces):
        _check_sent(bytes(served.sent), received, served.produced)
        served.connection.lost()
    assert _joined(whole.events) == _joined(pieces.events)
    assert (whole.fault and (whole.fault.code, whole.fault.text)) == (pieces.fault and (pieces.fault.code, pieces.fault.text))


def seeds() -> dict[str, bytes]:
    """Conversations that the fuzzer starts from."""
    encoder = hpack.Encoder()
    fields = {":method": "POST", ":scheme": "http", ":path": "/lossd.v1.LossService/MseLoss", "content-type": "application/grpc"}
    block = encoder.encode({**fields, "te": "trailers", "grpc-timeout": "1S"})
    again = encoder.encode({**fields, "te": "trailers", "grpc-timeout": "1S"})
    plain = hpack.Encoder().encode(fields, huffman=False)
    settings = {SettingsFrame.INITIAL_WINDOW_SIZE: 10, SettingsFrame.MAX_FRAME_SIZE: 1 << 14, SettingsFrame.HEADER_TABLE_SIZE: 0}
    body = b"\x00\x00\x00\x00\x05hello"
    conversations: dict[str, list[Frame]] = {
        "unary": [SettingsFrame(0), HeadersFrame(1, block, flags=["END_HEADERS"]), DataFrame(1, body, flags=["END_STREAM"])],
        "two": [
            HeadersFrame(1, block, flags=["END_HEADERS"]),
            DataFrame(1, body),
            HeadersFrame(9, again, flags=["END_HEADERS"]),
            DataFrame(9, body, flags=["END_STREAM", "PADDED"], pad_length=3),
            HeadersFrame(1, _TRAILERS, flags=["END_HEADERS", "END_STREAM"]),
        ],
        "continued": [
            HeadersFrame(1, plain[:9], flags=["PADDED", "PRIORITY"], pad_length=2, depends_on=0, stream_weight=3),
            ContinuationFrame(1, plain[9:20]),
            ContinuationFrame(1, plain[20:], flags=["END_HEADERS"]),
            DataFrame(1, b"", flags=["END_STREAM"]),
        ],
        "windows": [
            SettingsFrame(0, settings=settings),
            HeadersFrame(5, plain, flags=["END_HEADERS", "END_STREAM"]),
            WindowUpdateFrame(5, window_increment=1000),
            WindowUpdateFrame(0, window_increment=100_000),
            SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 20}),
            SettingsFrame(0, flags=["ACK"]),
        ],
        "answered early": [HeadersFrame(3, plain, flags=["END_HEADERS"]), DataFrame(3, body), DataFrame(3, body, flags=["END_STREAM"])],
        "reset": [
            HeadersFrame(1, plain, flags=["END_HEADERS"]),
            RstStreamFrame(1, error_code=8),
            DataFrame(1, body),
            HeadersFrame(7, plain, flags=["END_HEADERS"]),
            PriorityFrame(7, depends_on=1, stream_weight=9),
        ],
        "many": [HeadersFrame(1 + 8 * index, plain, flags=["END_HEADERS"]) for index in range(MAX_STREAMS + 2)],
        "the rest": [PingFrame(0, b"12345678"), PingFrame(0, b"the last", flags=["ACK"]), GoAwayFrame(0, last_stream_id=0, error_code=0)],
    }
    return {name: bytes([at]) + b"".join([f.serialize() for f in said]) for at, (name, said) in enumerate(conversations.items())}


# Implementation details follow.


def _joined(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The events, a run of data on one stream as one."""
    joined: list[tuple[Any, ...]] = []
    for event in events:
        if event[1] == "data" and joined and joined[-1][:2] == event[:2] and not joined[-1][3]:
            joined[-1] = (*event[:2], joined[-1][2] + event[2], event[3])
        else:
            joined.append(event)
    return joined


def _check_sent(sent: bytes, received: bytes, produced: int) -> None:
    frames_received = len(received) // frames.HEAD_BYTES + 1
    assert len(sent) <= 2 * produced + 1000 + 4 * _FRAME_BYTES * frames_received, "more is sent than was asked for"
    position = data_bytes = 0
    while position < len(sent):
        assert position + frames.HEAD_BYTES <= len(sent), "half a frame was sent"
        high, low, kind, _, _ = frames.HEAD.unpack_from(sent, position)
        position += frames.HEAD_BYTES + (high << 8 | low)
        data_bytes += (high << 8 | low) if kind == frames.DATA else 0
    assert position == len(sent), "half a frame was sent"
    assert data_bytes <= frames.DEFAULT_WINDOW + _granted(received), "more is sent than the peer's window"


def _granted(received: bytes) -> int:
    """The most that the peer's WINDOW_UPDATEs can have added to the connection's window."""
    position, granted = len(frames.PREFACE), 0
    while position + frames.HEAD_BYTES <= len(received):
        high, low, kind, _, stream_id = frames.HEAD.unpack_from(received, position)
        start = position + frames.HEAD_BYTES
        if kind == frames.WINDOW_UPDATE and not stream_id & frames.MAX_STREAM_ID:
            granted += int.from_bytes(received[start : start + 4]) & frames.MAX_WINDOW
        position = start + (high << 8 | low)
    return granted


assert len(_LARGE) > INITIAL_WINDOW
