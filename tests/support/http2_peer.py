# SPDX-License-Identifier: Apache-2.0
"""A peer of an HTTP/2 connection without I/O, and the reader of its streams."""

from typing import Any

import hpack
from hyperframe import frame as h2
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from lossd_server.http2.connection import Connection
from lossd_server.http2.frames import PREFACE, frame
from lossd_server.http2.header_blocks import literal
from lossd_server.http2.header_rules import Headers
from lossd_server.http2.streams import Stream

# They change nothing in the table, so that they may come in any order.
BLOCK = b"\x83\x86\x84" + literal(b"a", b"b")  # of a request: POST, http, /
TRAILERS = literal(b"a", b"b")
INITIAL, FRAME_SIZE = SettingsFrame.INITIAL_WINDOW_SIZE, SettingsFrame.MAX_FRAME_SIZE


class Reader:
    """A Receiver that records what it receives, and sends its prepared answer after the end of the request."""

    def __init__(self, peer: "Peer", stream: Stream) -> None:
        self.peer, self.stream = peer, stream
        self.body, self.ended, self.was_aborted, self.was_drained = b"", False, 0, 0

    def data(self, data: memoryview, ended: bool) -> None:
        assert not self.ended
        self.body, self.ended = self.body + data, ended
        if ended and self.peer.echo:
            self.peer.connection.respond(self.stream, b"\x88", self.body, TRAILERS)

    def aborted(self) -> None:
        self.was_aborted += 1

    def drained(self) -> None:
        self.was_drained += 1

    def tick(self, now: float) -> None: ...


class Peer:
    """A connection and who speaks to it."""

    def __init__(self, *, max_streams: int = 100, echo: bool = False) -> None:
        self.echo = echo
        self.readers: dict[int, Reader] = {}
        self.opened: list[tuple[int, Headers, bool]] = []
        self.connection: Connection[Headers] = Connection(tuple, self._open, max_streams=max_streams)

    def _open(self, stream: Stream, head: Headers, ended: bool) -> Reader:
        self.opened.append((stream.id, head, ended))
        reader = self.readers[stream.id] = Reader(self, stream)
        return reader

    def send(self, *parts: Frame | bytes) -> list[Frame]:
        """What comes back."""
        self.receive(joined(*parts))
        return self.back()

    def receive(self, data: bytes | bytearray) -> None:
        used_up = self.connection.receive(memoryview(data))
        while used_up:
            used_up = self.connection.go_on()

    def back(self) -> list[Frame]:
        return parsed(self.connection.take())


def ready(*streams: int, **options: Any) -> Peer:
    """A peer that has opened these streams."""
    peer = Peer(**options)
    peer.send(PREFACE, SettingsFrame(0), *[opened(stream) for stream in streams])
    return peer


def opened(stream: int, *flags: str) -> Frame:
    return HeadersFrame(stream, BLOCK, flags=["END_HEADERS", *flags])


def joined(*parts: Frame | bytes) -> bytes:
    return b"".join([part if isinstance(part, bytes) else part.serialize() for part in parts])


def parsed(data: bytes) -> list[Frame]:
    view, found = memoryview(data), []
    while view:
        each, length = Frame.parse_frame_header(view[:9])
        each.parse_body(view[9 : 9 + length])
        found.append(each)
        view = view[9 + length :]
    return found


def said(frames: list[Frame]) -> dict[int, tuple[bytes, list[bytes]]]:
    """Of each stream, all data that was sent, however it was cut, and the other frames."""
    found: dict[int, tuple[bytes, list[bytes]]] = {}
    for each in frames:
        data, others = found.get(each.stream_id, (b"", []))
        if isinstance(each, DataFrame):
            found[each.stream_id] = data + each.data, others
        else:
            found[each.stream_id] = data, [*others, each.serialize()]
    return found


def resets(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(each.stream_id, each.error_code) for each in frames if isinstance(each, RstStreamFrame)]


# ---- what arrives, in any pieces


def conversation(pieces: list[tuple[int, int, int | None]]) -> bytes:
    """Three requests, two with bodies of these pieces: stream, bytes, padding."""
    headers = hpack.Encoder()
    first, second, third = [
        headers.encode([(":method", "POST"), (":scheme", "http"), (":path", path), ("some", "x" * 40)]) for path in ("/a", "/b", "/a")
    ]
    bodies = [
        DataFrame(stream, bytes([size & 255]) * size, flags=[] if pad is None else ["PADDED"], pad_length=pad or 0)
        for stream, size, pad in pieces
    ]
    return joined(
        PREFACE,
        SettingsFrame(0, settings={INITIAL: 100}),
        HeadersFrame(1, first, flags=["END_HEADERS", "PADDED", "PRIORITY"], pad_length=7, depends_on=0, stream_weight=9),
        frame(0x77, 0xFF, 1, b"nobody knows"),
        HeadersFrame(3, second[:2], flags=["PRIORITY"], depends_on=1),
        h2.ContinuationFrame(3, second[2:3]),
        h2.ContinuationFrame(3, second[3:], flags=["END_HEADERS"]),
        *bodies,
        h2.PingFrame(0, b"12345678"),
        h2.PriorityFrame(1, depends_on=3, stream_weight=1),
        DataFrame(3, b"", flags=["END_STREAM"]),
        HeadersFrame(5, third, flags=["END_HEADERS"]),
        DataFrame(1, b"the end", flags=["END_STREAM", "PADDED"], pad_length=200),
        WindowUpdateFrame(0, window_increment=1 << 20),
        WindowUpdateFrame(1, window_increment=1 << 20),
        HeadersFrame(5, TRAILERS, flags=["END_HEADERS", "END_STREAM"]),
        opened(7),
        RstStreamFrame(7, error_code=8),
    )
