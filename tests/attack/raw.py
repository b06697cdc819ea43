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
        self.windows: dict[int, int] = {}
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

    async def upload(self, stream: int, body: bytes, data_bytes: int, *, padding: int | None = None, pace_seconds: float = 0.0) -> None:
        """Sends the body as the stream's window allows, in DATA frames of so many bytes and their padding; without END_STREAM."""
        pad = b"" if padding is None else bytes(padding)
        flags, head = (0, b"") if padding is None else (PADDED, bytes([padding]))
        each = data_bytes + len(head + pad)
        together = max(1, min(1000 // data_bytes, 16_000 // each))
        for start in range(0, len(body), together * data_bytes):
            pieces = [body[at : at + data_bytes] for at in range(start, min(len(body), start + together * data_bytes), data_bytes)]
            while self.windows.get(stream, 65535) < each * len(pieces):
                self._granted.clear()
                await asyncio.wait_for(self._granted.wait(), 10)
            self.windows[stream] = self.windows.get(stream, 65535) - each * len(pieces)
            await self.send(b"".join([frame(DATA, flags, stream, head + piece + pad) for piece in pieces]))
            await asyncio.sleep(pace_seconds)

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
                    self.windows[stream] = self.windows.get(stream, 65535) + int.from_bytes(payload)
                    self._granted.set()
                elif kind == PING and not flags & ACK:
                    self._writer.write(frame(PING, ACK, 0, payload))
                elif kind == GOAWAY and int.from_bytes(payload[4:8]) == ENHANCE_YOUR_CALM:
                    self.ended_seconds = time.monotonic() - self._opened_at
