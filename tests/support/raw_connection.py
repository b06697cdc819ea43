# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frames by hand on a socket, for tests that send what a client library refuses to send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import hpack
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame, WindowUpdateFrame

from support.harness import Harness

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize() + SettingsFrame(0, flags=["ACK"]).serialize()


SCORE_STREAM = "/lossd.v1.EvaluationService/ScoreStream"
FIELDS = {
    ":method": "POST",
    ":scheme": "http",
    ":path": SCORE_STREAM,
    ":authority": "x",
    "content-type": "application/grpc",
    "te": "trailers",
}


def opening(stream: int, headers: hpack.Encoder, path: str = SCORE_STREAM) -> Frame:
    """What opens a request of this path."""
    return HeadersFrame(stream, headers.encode({**FIELDS, ":path": path}), flags=["END_HEADERS"])


class Wire:
    """A connection that sends any frames, valid or not, and acknowledges only the server's settings."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._headers = hpack.Encoder()
        writer.write(PREFACE)

    def send(self, *frames: Frame) -> None:
        self._writer.write(b"".join([frame.serialize() for frame in frames]))

    def open(self, stream: int, path: str = SCORE_STREAM) -> None:
        self.send(opening(stream, self._headers, path))

    async def upload(self, stream: int, body: bytes, frame_bytes: int = 1 << 14) -> None:
        """Sends a request's body within its window, and its end in a DATA frame of its own, which waits while the window is 0: as
        nghttp2 does. The first thing that is read on a connection; the connection's own window is not looked at.
        """
        window = (await self.next(SettingsFrame)).settings[SettingsFrame.INITIAL_WINDOW_SIZE]
        while True:
            size = min(window, frame_bytes, len(body))
            if size:
                self.send(DataFrame(stream, body[:size]))
                body, window = body[size:], window - size
            elif window:
                self.send(DataFrame(stream, b"", flags=["END_STREAM"]))
                return
            else:
                await self._writer.drain()
                got = await self.next(WindowUpdateFrame)
                window += got.window_increment if got.stream_id == stream else 0

    async def next(self, kind: type[Frame] | tuple[type[Frame], ...]) -> Any:
        """The next frame of this kind, or of one of these."""
        while True:
            frame, length = Frame.parse_frame_header(memoryview(await self._reader.readexactly(9)))
            frame.parse_body(memoryview(await self._reader.readexactly(length)))
            if isinstance(frame, kind):
                return frame

    async def end(self) -> None:
        """Until the server has closed the connection."""
        while await self._reader.read(1 << 16):
            pass


@asynccontextmanager
async def wire(harness: Harness) -> AsyncIterator[Wire]:
    host, port = harness.server.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
