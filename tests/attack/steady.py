# SPDX-License-Identifier: Apache-2.0
"""A caller that means well and calls at a steady rate during each attack, whatever became of its earlier calls.

    python -m attack.steady ADDRESS FILE

A process of its own, so that its latencies are the server's. It speaks HTTP/2 itself because it needs an address of its own:
the server shares its memory and connections between hosts, and attacks come from others. FILE holds lines of METHOD HEX: the
calls, of which each is sent alone first. What was answered then is the truth for every later answer.

Writes "ready". Each line that it reads is a question in JSON, and each line that it writes is an answer to one: to "begin" a null, after
which it calls; to "end" a list of [monotonic seconds, seconds it took, what came of it], after which it calls no more. What came of a call
is "right", "wrong" (other bits than alone), "swapped" (the bits of another call) or a failure in words. After each "begin" it has a new
connection, over which each call was answered once before the calls that it lists.
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from pathlib import Path

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from .verdict import bits

CALLS_PER_SECOND = 25
PATIENCE_SECONDS = 15.0  # then an answer is lost
_HOST = "127.200.0.1"


class Calls(asyncio.Protocol):
    """Unary gRPC over one connection."""

    def __init__(self) -> None:
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._rest = b""
        self._next = 1
        self._open: dict[int, tuple[asyncio.Future[bytes], bytearray]] = {}
        self._window = 65535
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 24})
        transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._send(settings, WindowUpdateFrame(0, window_increment=1 << 30))

    def connection_lost(self, error: Exception | None) -> None:
        self._end("the connection was closed")

    def data_received(self, data: bytes) -> None:
        view = memoryview(self._rest + data)
        while len(view) >= 9:
            frame, length = Frame.parse_frame_header(view[:9])
            if len(view) < 9 + length:
                break
            frame.parse_body(view[9 : 9 + length])
            view = view[9 + length :]
            self._received(frame)
        self._rest = bytes(view)

    def close(self) -> None:
        self._transport.close()

    def call(self, method: str, message: bytes) -> asyncio.Future[bytes]:
        """The answer; RuntimeError with what went wrong."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if self.closed:
            answer.set_exception(RuntimeError("the connection was closed"))
            return answer
        stream, self._next = self._next, self._next + 2
        self._open[stream] = answer, bytearray()
        fields = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "honest")]
        block = self._encoder.encode([*fields, ("content-type", "application/grpc"), ("te", "trailers")])
        body = b"\0" + len(message).to_bytes(4, "big") + message
        self._send(HeadersFrame(stream, block, flags=["END_HEADERS"]), DataFrame(stream, body, flags=["END_STREAM"]))
        return answer

    # Implementation details follow.

    def _send(self, *frames: Frame) -> None:
        self._transport.write(b"".join([frame.serialize() for frame in frames]))

    def _end(self, why: str) -> None:
        self.closed = True
        for answer, _ in self._open.values():
            if not answer.done():
                answer.set_exception(RuntimeError(why))
        self._open.clear()

    def _received(self, frame: Frame) -> None:
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._send(PingFrame(0, frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, GoAwayFrame):
            self._end(f"GOAWAY {frame.error_code} {frame.additional_data!r}")
        elif isinstance(frame, RstStreamFrame):
            self._finish(frame.stream_id, f"RST_STREAM {frame.error_code}")
        elif isinstance(frame, DataFrame) and frame.stream_id in self._open:
            self._open[frame.stream_id][1].extend(frame.data)
        elif isinstance(frame, HeadersFrame):
            fields = dict(self._decoder.decode(frame.data))
            if "END_STREAM" in frame.flags:
                status, text = fields.get("grpc-status", "none"), fields.get("grpc-message", "")
                self._finish(frame.stream_id, "" if status == "0" else f"status {status}: {text}")

    def _finish(self, stream: int, failure: str) -> None:
        answer, body = self._open.pop(stream, (None, b""))
        if answer is None or answer.done():
            return
        if failure:
            answer.set_exception(RuntimeError(failure))
        else:
            answer.set_result(bytes(body[5:]))


async def connect(address: str) -> Calls:
    """A connection to HOST:PORT or unix:PATH."""
    loop = asyncio.get_running_loop()
    if address.startswith("unix:"):
        return (await loop.create_unix_connection(Calls, address.removeprefix("unix:")))[1]
    host, _, port = address.rpartition(":")
    return (await loop.create_connection(Calls, host, int(port), local_addr=(_HOST, 0)))[1]


class Caller:
    """Calls at a steady rate, and notes what came of each call."""

    def __init__(self, address: str, calls: list[tuple[str, bytes]]) -> None:
        self._address = address
        self._calls = calls
        self._truth: list[bytes] = []
        self._connection: Calls | None = None
        self._calling: asyncio.Task[None] | None = None
        self._pending: set[asyncio.Task[None]] = set()
        self._record: list[tuple[float, float, str]] = []

    async def learn(self) -> None:
        """The truth."""
        connection = await self._connect()
        self._truth = [bits(await asyncio.wait_for(connection.call(*call), 60)) for call in self._calls]

    async def begin(self) -> None:
        """Returns when it calls, over a new connection. Raises RuntimeError or OSError if the server does not serve it."""
        connection = await self._connect()
        for call in self._calls:
            await asyncio.wait_for(connection.call(*call), 60)
        self._record.clear()
        self._calling = asyncio.create_task(self._call())

    async def end(self) -> list[tuple[float, float, str]]:
        """What came of the calls since `begin`, once all of them are answered or lost."""
        assert self._calling is not None
        self._calling.cancel()
        await asyncio.gather(*self._pending)
        return self._record

    # Implementation details follow.

    async def _connect(self) -> Calls:
        if self._connection is not None:
            self._connection.close()
        self._connection = await connect(self._address)
        return self._connection

    async def _call(self) -> None:
        start = time.monotonic()
        for index in itertools.count():
            await asyncio.sleep(max(0.0, start + index / CALLS_PER_SECOND - time.monotonic()))
            task = asyncio.create_task(self._one(index % len(self._calls)))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def _one(self, index: int) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if self._connection is None or self._connection.closed:
                    self._connection = await connect(self._address)
                found = bits(await self._connection.call(*self._calls[index]))
            came = "right" if found == self._truth[index] else "swapped" if found in self._truth else "wrong"
        except TimeoutError:
            came = "lost: no answer"
        except (OSError, RuntimeError) as error:
            came = f"failed: {error}"
        self._record.append((began, time.monotonic() - began, came))


async def main(address: str, lines: list[list[str]]) -> None:
    """See the module."""
    caller = Caller(address, [(method, bytes.fromhex(message)) for method, message in lines])
    await caller.learn()
    print("ready", flush=True)
    questions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    async for line in questions:
        answer = await caller.begin() if json.loads(line) == "begin" else await caller.end()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)  # where we may: the attacker and the server have two cores between them
    asyncio.run(main(sys.argv[1], [line.split() for line in Path(sys.argv[2]).read_text().splitlines()]))
