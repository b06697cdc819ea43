# SPDX-License-Identifier: Apache-2.0
"""The messages between a supervisor and a worker, as frames over a pair of sockets.

    supervisor -> worker   Start, then SCRAPE for each scrape, and QUESTION from time to time
    worker -> supervisor   Ready or Failed, then a Page for each SCRAPE, an Answer for each QUESTION, and a last Page after the last call

The worker trusts the supervisor, whose frames are pickled, so that settings arrive unchanged. The supervisor does not trust the
worker, which reads messages from the network, so the worker's frames are JSON. The end of the stream means that the peer is gone.
"""

import asyncio
import contextlib
import json
import pickle
import socket
import struct
from typing import Any

from lossd_server.config import Settings

SCRAPE, QUESTION = b"", b"?"

_LENGTH = struct.Struct(">I")


class Channel:
    """One end. One task may send and another receive at the same time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connected: socket.socket) -> "Channel":
        """A channel over a connected socket, which it then owns."""
        return cls(*await asyncio.open_connection(sock=connected))

    async def send(self, payload: bytes) -> None:
        """Sends a frame. Raises OSError if the peer is gone."""
        self._writer.write(_LENGTH.pack(len(payload)) + payload)
        await self._writer.drain()

    def post(self, payload: bytes) -> None:
        """Sends a short frame without waiting for the peer to receive it."""
        self._writer.write(_LENGTH.pack(len(payload)) + payload)

    async def receive(self) -> bytes | None:
        """The next frame; None if the peer is gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def close(self) -> None:
        """Ends the stream after everything sent."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def start(index: int, settings: Settings) -> bytes:
    """The first frame to a worker."""
    return pickle.dumps((index, settings))


def started(frame: bytes) -> tuple[int, Settings]:
    """The arguments of `start`."""
    index, settings = pickle.loads(frame)
    return index, settings


def message(kind: str, value: Any) -> bytes:
    """A worker's frame."""
    return json.dumps([kind, value], separators=(",", ":")).encode()


def parse(frame: bytes) -> tuple[str, Any]:
    """The arguments of `message`."""
    kind, value = json.loads(frame)
    return kind, value
