# SPDX-License-Identifier: Apache-2.0
"""Streams, and what is sent on them: within the peer's windows, and not while the transport is `paused`."""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from lossd_server.http2 import frames
from lossd_server.http2.frames import ErrorCode

# Bytes that a receiver has room for when a stream opens. The peer may always send one more than its receiver has granted: clients
# hold back the empty DATA frame that ends a request while the window is 0, so a receiver that grants exactly the message that it
# expects would wait for the end for ever.
INITIAL_WINDOW: Final = 64 << 10
SPARE_WINDOW: Final = 1

# Bytes that are made ready before the transport is asked whether it takes more.
_TAKE_BYTES: Final = 256 << 10


class Receiver(Protocol):
    """Who reads a stream."""

    def data(self, data: memoryview, ended: bool) -> None:
        """More of the body. The memory is only valid now."""

    def aborted(self) -> None:
        """The peer, or the connection's end, has ended the stream before its time."""

    def drained(self) -> None:
        """Everything that was sent on the stream is on its way."""

    def tick(self, now: float) -> None:
        """Called about every second, with time.monotonic's time."""


class Stream:
    """A request and its response."""

    __slots__ = ("id", "receive_window", "received", "receiver", "send_window", "trailers", "unsent")

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.receive_window = INITIAL_WINDOW + SPARE_WINDOW
        self.send_window = 0  # over the peer's initial window, which may change
        self.received = False  # to its end
        self.receiver: Receiver | None = None
        self.unsent: deque[memoryview] | None = None
        self.trailers: bytes | None = None  # to follow what is unsent


class Sender:
    """One side of a connection. What it has to send is taken from it by `take`; `on_output` is called when there begins to be something."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.paused = False
        self.on_output: Callable[[], None] = nothing
        self.pings = 0  # that have come since HEADERS or DATA were sent or received
        self._table_update = b""  # to begin the next header block with
        self._send_window = frames.DEFAULT_WINDOW
        self._peer_window = frames.DEFAULT_WINDOW  # of new streams
        self._peer_frame_size = frames.DEFAULT_FRAME_SIZE
        self._blocked: dict[Stream, None] = {}  # have something to send, and wait for the connection's window or the transport
        self._stalled: dict[Stream, None] = {}  # wait for their own window
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0

    def respond(self, stream: Stream, block: bytes, payload: bytes, trailers: bytes) -> None:
        """A whole response: header block, body and trailer block."""
        length, id_ = len(payload), stream.id
        if length > min(self._peer_window + stream.send_window, self._send_window, self._peer_frame_size) or self.paused:
            self.send_headers(stream, block)
            self.send_data(stream, payload)
            self.send_trailers(stream, trailers)
            return
        self.pings = 0
        self._send_window -= length
        if self._table_update:
            block, self._table_update = self._table_update + block, b""
        head = frames.head
        self._put(
            b"".join(
                (
                    head(len(block), frames.HEADERS, frames.END_HEADERS, id_),
                    block,
                    head(length, frames.DATA, 0, id_),
                    payload,
                    head(len(trailers), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, id_),
                    trailers,
                )
            )
        )
        self._sent(stream)

    def send_headers(self, stream: Stream, block: bytes, *, ended: bool = False) -> None:
        """The response's headers; `ended`: they are all of it."""
        self.pings = 0
        flags = frames.END_HEADERS | (frames.END_STREAM if ended else 0)
        if self._table_update:
            block, self._table_update = self._table_update + block, b""
        self._put(frames.frame(frames.HEADERS, flags, stream.id, block))
        if ended:
            self._sent(stream)

    def send_data(self, stream: Stream, payload: bytes) -> None:
        """More of the response's body, which goes when windows and transport allow; its receiver is told by `drained`."""
        if stream.unsent is None:
            stream.unsent = deque()
        stream.unsent.append(memoryview(payload))
        self._pump(stream)

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """The response's end, after whatever is unsent."""
        stream.trailers = block
        self._pump(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Ends the stream at once."""
        if self.streams.pop(stream.id, None) is not None:
            self._forget(stream)
            stream.receiver = None
            self._put(frames.rst_stream(stream.id, code))

    def grant(self, stream: Stream, nbytes: int) -> None:
        """The peer may send so much more on the stream."""
        if not stream.received and nbytes > 0:
            stream.receive_window += nbytes
            self._put(frames.window_update(stream.id, nbytes))

    def resume(self) -> None:
        """Goes on with what waits for the transport or the connection's window."""
        for stream in list(self._blocked):
            if self.paused or self._send_window <= 0 or self._out_bytes >= _TAKE_BYTES:
                break
            del self._blocked[stream]
            self._pump(stream)

    def take(self) -> bytes:
        """What is to be sent, once."""
        out, self._out, self._out_bytes = self._out, [], 0
        return b"".join(out)

    @property
    def unsent(self) -> bool:
        """Whether `take` has something."""
        return bool(self._out)

    # For the other side, and implementation details.

    def _put(self, data: bytes | memoryview) -> None:
        if not self._out:
            self.on_output()
        self._out.append(data)
        self._out_bytes += len(data)

    def _forget(self, stream: Stream) -> None:
        """Nothing more is sent on it."""
        self._blocked.pop(stream, None)
        self._stalled.pop(stream, None)

    def _pump(self, stream: Stream) -> None:
        """Sends what there is for the stream, as far as windows and transport allow."""
        unsent = stream.unsent
        if unsent:
            while unsent:
                if self.paused or self._send_window <= 0 or self._out_bytes >= _TAKE_BYTES:
                    self._blocked[stream] = None
                    return
                piece = unsent[0]
                size = max(0, min(len(piece), self._peer_window + stream.send_window, self._send_window, self._peer_frame_size))
                if not size and len(piece):
                    self._stalled[stream] = None
                    return
                self.pings = 0
                stream.send_window -= size
                self._send_window -= size
                self._put(frames.head(size, frames.DATA, 0, stream.id))
                self._put(piece[:size])
                if size < len(piece):
                    unsent[0] = piece[size:]
                else:
                    unsent.popleft()
            if stream.receiver is not None:
                stream.receiver.drained()
        if stream.trailers is not None and self.streams.get(stream.id) is stream:
            block, stream.trailers = stream.trailers, None
            self.send_headers(stream, block, ended=True)

    def _sent(self, stream: Stream) -> None:
        """The response is complete. What the request may have left is not wanted any more."""
        if self.streams.pop(stream.id, None) is not None and not stream.received:
            self._put(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
        stream.receiver = None


def nothing() -> None:
    """What a connection tells nobody."""
