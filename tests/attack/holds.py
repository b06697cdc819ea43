# SPDX-License-Identifier: Apache-2.0
"""Attacks that make a server hold what nobody takes: answers, refusals, watches, unpacked messages, requests that never end.

Each is a coroutine function of the server's HOST:PORT and a number of seconds, for which it keeps its pressure up: a connection
or stream that the server ends is opened again. None of them needs a token when the server asks for none; those in OPEN_TO_ALL
need none in any case.
"""

import asyncio
import gzip
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Self

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.http2 import frames
from lossd_server.http2.header_blocks import literal
from lossd_server.http2.streams import INITIAL_WINDOW
from support.encoded_requests import encoded
from support.grpc_wire import CHECK, EVALUATE, MSE, REFLECTION, SCORE_STREAM, WATCH, prefixed
from support.harness import square
from support.wire_format import varint

Attack = Callable[[str, float], Awaitable[None]]


_STREAMS: Final = 1000  # of a connection
_BOMB_BYTES: Final = 1 << 20  # unpacked: what a server of small limits still takes
_PAUSE_SECONDS: Final = 0.05


# ---- the attacks


async def unread_answers(address: str, seconds: float) -> None:
    """Valid requests with large answers, on streams whose window stays at 0."""
    message = pb.EvaluateRequest()
    for number in range(3000):
        message.calls.add(series=f"{number:0200d}", call=square(1))
    evaluate = prefixed(message.SerializeToString())
    unreduced = prefixed(encoded("mse_loss", input=[1.0] * 100_000, target=[0.0] * 100_000, reduction="none")[1])

    async def press(connection: Connection) -> None:
        for number in range(_STREAMS):
            path, body = (EVALUATE, evaluate) if number % 2 else (MSE, unreduced)
            await connection.request(path, body)
        await connection.lost()

    await _with_connections(address, seconds, press, count=4, settings={frames.INITIAL_WINDOW_SIZE: 0})


async def unread_refusals(address: str, seconds: float) -> None:
    """Requests for a method that there is not, on connections that nobody reads: no token is needed."""

    async def press(connection: Connection) -> None:
        block = _block("/no.such.Service/Method")
        while True:
            await connection.send(b"".join([connection.headers(block, ended=True) for _ in range(1000)]))

    await _with_connections(address, seconds, press, count=8, reads=False)


async def unread_checks(address: str, seconds: float) -> None:
    """Health checks whose answers nobody takes, on streams whose window stays at 0: no token is needed."""
    await _with_connections(address, seconds, _open_many(CHECK, prefixed(b"")), count=64, settings={frames.INITIAL_WINDOW_SIZE: 0})


async def watches(address: str, seconds: float) -> None:
    """As many Health Watch streams as the server takes: no token is needed."""
    await _with_connections(address, seconds, _open_many(WATCH, prefixed(b"")), count=64)


async def checks_that_never_come(address: str, seconds: float) -> None:
    """Health checks of which half the prefix is sent, and nothing after it: no token is needed."""
    await _with_connections(address, seconds, _open_many(CHECK, b"\x00\x00", ended=False), count=64)


async def idle_streams(address: str, seconds: float) -> None:
    """Streams of ScoreStream and reflection on which half a prefix is sent, and nothing after it."""

    async def press(connection: Connection) -> None:
        for number in range(_STREAMS):
            await connection.request(SCORE_STREAM if number % 2 else REFLECTION, b"\x00\x00", ended=False)
        await connection.lost()

    await _with_connections(address, seconds, press, count=64)


async def gzip_bombs(address: str, seconds: float) -> None:
    """Unary requests of a kilobyte that unpack to a megabyte of nothing."""
    bomb = prefixed(gzip.compress(bytes(_BOMB_BYTES), 9), compressed=True)

    async def press(connection: Connection) -> None:
        while True:
            for _ in range(50):
                await connection.request(MSE, bomb, encoding="gzip")
            await asyncio.sleep(_PAUSE_SECONDS)

    await _with_connections(address, seconds, press, count=4)


async def gzip_on_streams(address: str, seconds: float) -> None:
    """Messages on streams that unpack to a thousand times their size. Nobody takes the answers of ScoreStream, so that it fills
    the room that a caller has, and the messages of Evaluate wait for room.
    """
    stream, evaluate = pb.ScoreStreamRequest(), pb.EvaluateRequest()
    stream.calls.add(id=1, call=square(1))
    evaluate.calls.add(series="one", call=square(1))
    padding = b"\xfa\x7f" + varint(_BOMB_BYTES - 1000) + bytes(_BOMB_BYTES - 1000)  # an unknown field
    bombs = [
        (path, 24 * prefixed(gzip.compress(message.SerializeToString() + padding, 9), compressed=True))
        for path, message in ((SCORE_STREAM, stream), (EVALUATE, evaluate))
    ]

    async def press(connection: Connection) -> None:
        for number in range(_STREAMS):
            path, body = bombs[number % 2]
            await connection.request(path, body, encoding="gzip", ended=False)
        await connection.lost()

    await _with_connections(address, seconds, press, count=4, settings={frames.INITIAL_WINDOW_SIZE: 0})


OPEN_TO_ALL: Final[tuple[Attack, ...]] = (unread_refusals, unread_checks, watches, checks_that_never_come)
HOLDS: Final[tuple[Attack, ...]] = (*OPEN_TO_ALL, unread_answers, idle_streams, gzip_bombs, gzip_on_streams)


# ---- what they are made of


class Connection:
    """HTTP/2 from a client that keeps to flow control and to nothing else. It reads unless told otherwise, and forgets what it reads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reads: bool) -> None:
        self._reader, self._writer = reader, writer
        self._next_id = 1
        self._windows: defaultdict[int, int] = defaultdict(lambda: INITIAL_WINDOW)
        self._changed = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read()) if reads else None

    @classmethod
    async def open(cls, address: str, settings: Mapping[int, int], *, reads: bool = True) -> Self:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(frames.PREFACE + frames.settings(dict(settings)) + frames.frame(frames.SETTINGS, frames.ACK, 0))
        return cls(reader, writer, reads=reads)

    def headers(self, block: bytes, *, ended: bool) -> bytes:
        """The frame that opens the next stream."""
        flags = frames.END_HEADERS | (frames.END_STREAM if ended else 0)
        id_, self._next_id = self._next_id, self._next_id + 2
        return frames.frame(frames.HEADERS, flags, id_, block)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def request(self, path: str, body: bytes, *, encoding: str = "", ended: bool = True) -> None:
        """Opens a stream and sends the body as fast as its window lets it, or as much as it takes within a second."""
        id_ = self._next_id
        await self.send(self.headers(_block(path, encoding), ended=False))
        view, until = memoryview(body), time.monotonic() + 1
        while view and time.monotonic() < until:
            size = min(len(view), self._windows[id_], 16 << 10)
            if size <= 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _PAUSE_SECONDS)
                continue
            self._windows[id_] -= size
            flags = frames.END_STREAM if ended and size == len(view) else 0
            await self.send(frames.frame(frames.DATA, flags, id_, bytes(view[:size])))
            view = view[size:]

    async def lost(self) -> None:
        """Until the server has ended the connection."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._writer.transport.abort()

    async def _read(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                length, kind, id_ = int.from_bytes(head[:3]), head[3], int.from_bytes(head[5:]) & frames.MAX_STREAM_ID
                payload = await self._reader.readexactly(length)
                if kind == frames.WINDOW_UPDATE:
                    self._windows[id_] += int.from_bytes(payload)
                    self._changed.set()
                elif kind == frames.PING and not head[4] & frames.ACK:
                    self._writer.write(frames.frame(frames.PING, frames.ACK, 0, payload))


async def _with_connections(
    address: str,
    seconds: float,
    press: Callable[[Connection], Awaitable[None]],
    *,
    count: int,
    settings: Mapping[int, int] | None = None,
    reads: bool = True,
) -> None:
    """Lets `press` have so many connections at once, each anew when it has ended, until the time is over."""

    async def again() -> None:
        while True:
            connection = None
            try:
                connection = await Connection.open(address, settings or {}, reads=reads)
                await press(connection)
            except OSError:
                pass
            finally:
                if connection is not None:
                    connection.close()
            await asyncio.sleep(_PAUSE_SECONDS)

    tasks = [asyncio.ensure_future(again()) for _ in range(count)]
    done, pending = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in pending:
        task.cancel()
    await asyncio.wait(tasks)
    for task in done:
        task.result()


def _open_many(path: str, body: bytes, *, ended: bool = True) -> Callable[[Connection], Awaitable[None]]:
    async def press(connection: Connection) -> None:
        for _ in range(_STREAMS):
            await connection.request(path, body, ended=ended)
        await connection.lost()

    return press


def _block(path: str, encoding: str = "") -> bytes:
    fields = {":method": "POST", ":scheme": "http", ":path": path, "content-type": "application/grpc", "te": "trailers"}
    if encoding:
        fields["grpc-encoding"] = encoding
    return b"".join([literal(name.encode(), value.encode()) for name, value in fields.items()])
