# SPDX-License-Identifier: Apache-2.0
"""Frames on a socket, without a client library, for attacks: nothing is checked and nothing is answered."""

import asyncio
import struct
import time
from contextlib import suppress
from typing import Self

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK, PADDED = 1, 4, 1, 8
INITIAL_WINDOW_SIZE = 4
ENHANCE_YOUR_CALM = 11


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def headers(path: str, **more: str) -> bytes:
    """A header block that uses no dynamic table, so it is the same on every stream."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "attack")]
    fields += [("content-type", "application/grpc"), ("te", "trailers"), *more.items()]
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])


def prefixed(message: bytes, *, compressed: bool = False) -> bytes:
    return struct.pack(">?I", compressed, len(message)) + message


class Raw:
    """A connection. What the server sends is read in the background and forgotten, unless `reads` is False."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reads: bool) -> None:
        self._reader, self._writer = reader, writer
        self._reading = asyncio.create_task(self._read()) if reads else None
        self._opened_at = time.monotonic()
        self._granted = asyncio.Event()
        self._initial_window = 65535  # until the server says otherwise
        self._windows: dict[int, int] = {}  # what was granted, less what was sent
        self.ended_seconds: float | None = None
        self.received_bytes = 0

    @classmethod
    async def open(cls, address: str, *, window: int = 65535, reads: bool = True) -> Self:
        if address.startswith("unix:"):
            pair = await asyncio.open_unix_connection(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            pair = await asyncio.open_connection(host, int(port))
        connection = cls(*pair, reads=reads)
        connection._writer.write(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window)) + frame(SETTINGS, ACK, 0))
        return connection

    async def send(self, data: bytes) -> None:
        """Raises OSError if the server has closed the connection."""
        self._writer.write(data)
        await self._writer.drain()

    async def upload(self, stream: int, body: bytes, data_bytes: int, *, padding: int | None = None) -> None:
        """Sends the body as the stream's window allows, in DATA frames of so many bytes and their padding; without END_STREAM."""
        padded = (PADDED, b"" if padding is None else bytes([padding]), bytes(padding or 0))
        position, frames = 0, []
        while position < len(body):
            self._granted.clear()
            window = self._initial_window + self._windows.get(stream, 0)
            flags, head, pad = padded if padding is not None and window > 1 + padding else (0, b"", b"")
            window -= len(head + pad)
            if window > 0:
                piece = body[position : position + min(data_bytes, window)]
                position += len(piece)
                self._windows[stream] = self._windows.get(stream, 0) - len(head + piece + pad)
                frames.append(frame(DATA, flags, stream, head + piece + pad))
            if len(frames) * data_bytes >= 1000 or window <= 0 or position == len(body):
                await self.send(b"".join(frames))
                frames.clear()
                await asyncio.sleep(0)
            if window <= 0:
                await asyncio.wait_for(self._granted.wait(), 10)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._writer.transport.abort()

    async def ended(self) -> None:
        """Until the server has closed the connection."""
        assert self._reading is not None
        await asyncio.wait([self._reading])

    # Implementation details follow.

    async def _read(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                size, kind, flags, stream = int.from_bytes(head[:3]), head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF
                payload = await self._reader.readexactly(size)
                self.received_bytes += size
                if kind == WINDOW_UPDATE:
                    self._windows[stream] = self._windows.get(stream, 0) + int.from_bytes(payload)
                    self._granted.set()
                elif kind == SETTINGS and not flags & ACK:
                    values = dict(struct.iter_unpack(">HI", payload))
                    self._initial_window = values.get(INITIAL_WINDOW_SIZE, self._initial_window)
                elif kind == PING and not flags & ACK:
                    self._writer.write(frame(PING, ACK, 0, payload))
                elif kind == GOAWAY and int.from_bytes(payload[4:8]) == ENHANCE_YOUR_CALM:
                    self.ended_seconds = time.monotonic() - self._opened_at
