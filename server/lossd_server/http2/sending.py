# SPDX-License-Identifier: Apache-2.0
"""Sends on one connection: within the peer's windows and settings, and only while the transport is not `paused`."""

from collections import deque
from collections.abc import Callable
from typing import Final

from lossd_server.http2 import budget, frames
from lossd_server.http2.budget import Budget
from lossd_server.http2.frames import ConnectionFault, ErrorCode
from lossd_server.http2.header_blocks import DEFAULT_TABLE_BYTES, NO_TABLE
from lossd_server.http2.streams import Stream

# Maximum bytes prepared before they are written to the transport, which may then pause.
_TAKE_BYTES: Final = 256 << 10

# Maximum number of streams that we remember to have ended before the peer did: frames that it still sends on them are not errors.
_MAX_ABANDONED: Final = 1024


class Sender:
    """See the module. `take` returns the bytes to send; `on_output` is called when there begin to be any."""

    def __init__(self, work: Budget, on_output: Callable[[], None]) -> None:
        self.streams: dict[int, Stream] = {}
        self.abandoned: dict[int, None] = {}
        self.paused = False
        self._budget = work
        self._on_output = on_output
        self.pings = 0  # received since HEADERS or DATA were last sent or received
        self._table_update = b""  # sent at the beginning of the next header block
        self._table_is_empty = False
        self._send_window = frames.DEFAULT_WINDOW
        self._peer_window = frames.DEFAULT_WINDOW  # of new streams
        self._peer_frame_size = frames.DEFAULT_FRAME_SIZE
        self._blocked: dict[Stream, None] = {}  # have data to send, and wait for the connection's window or the transport
        self._stalled: dict[Stream, None] = {}  # have data to send, and wait for their own window
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0

    def respond(self, stream: Stream, block: bytes, payload: bytes, trailers: bytes) -> None:
        """Sends a whole response: header block, body and trailer block."""
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
        self.put(
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
        self._budget.earn(budget.ANSWER + budget.REQUEST + stream.cost)
        self._sent(stream)

    def send_headers(self, stream: Stream, block: bytes, *, ended: bool = False) -> None:
        """Sends the response's headers. `ended`: the response has nothing else."""
        self._headers(stream, block, ended)
        if ended:
            self._budget.owe(budget.REFUSAL)
            self._sent(stream)

    def send_data(self, stream: Stream, payload: bytes) -> None:
        """Sends more of the response's body, when windows and transport allow. Calls the receiver's `drained` once all of it is sent."""
        if stream.unsent is None:
            stream.unsent = deque()
        stream.unsent.append(memoryview(payload))
        self._budget.earn(budget.MESSAGE)
        self._pump(stream)

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """Ends the response, after its unsent data."""
        stream.trailers = block
        self._pump(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Resets the stream at once."""
        if self.streams.pop(stream.id, None) is not None:
            self.forget(stream)
            stream.receiver = None
            self.refuse(stream.id, code, ended=stream.received)

    def grant(self, stream: Stream, nbytes: int) -> None:
        """Lets the peer send `nbytes` more on the stream."""
        if not stream.received and nbytes > 0:
            stream.receive_window += nbytes
            self._budget.earn(budget.FRAME)
            self.put(frames.window_update(stream.id, nbytes))

    def refuse(self, stream_id: int, code: ErrorCode, *, ended: bool = False) -> None:
        """Resets a stream that is not in `streams`. `ended`: the peer has already ended its side."""
        self.put(frames.rst_stream(stream_id, code))
        if not ended:
            self.abandoned[stream_id] = None
            if len(self.abandoned) > _MAX_ABANDONED:
                del self.abandoned[next(iter(self.abandoned))]

    # The peer's settings and windows.

    def settings(self, values: list[tuple[int, int]]) -> None:
        """Applies the peer's settings. Data that may be sent now waits for `resume`. Raises ConnectionFault."""
        for name, value in values:
            if name == frames.HEADER_TABLE_SIZE:
                self._shrink_table(value)
            elif name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
                if value > self._peer_window and self._stalled:
                    self._budget.charge(budget.PUMP * len(self._stalled))
                    self._blocked.update(self._stalled)
                    self._stalled.clear()
                self._peer_window = value
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME_SIZE <= value <= frames.LARGEST_FRAME_SIZE:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame size that cannot be")
                self._peer_frame_size = min(value, _TAKE_BYTES)  # so that the transport is asked after each frame
            elif name == frames.ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "neither push nor no push")

    def widen(self, increment: int) -> None:
        """Enlarges the peer's window of the connection. Raises ConnectionFault."""
        if not increment:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window that does not grow")
        self._send_window += increment
        if self._send_window > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")

    def widen_stream(self, stream: Stream, increment: int) -> bool:
        """Enlarges the peer's window of a stream. Returns False if the window is then too large."""
        stream.send_window += increment
        if self._peer_window + stream.send_window > frames.MAX_WINDOW:
            return False
        if stream in self._stalled:
            self._budget.charge(budget.PUMP)
            del self._stalled[stream]
            self._blocked[stream] = None
        return True

    # Output.

    def resume(self) -> None:
        """Sends more of the data that waits for the transport or the connection's window."""
        for stream in list(self._blocked):
            if self.paused or self._send_window <= 0 or self._out_bytes >= _TAKE_BYTES:
                break
            del self._blocked[stream]
            self._pump(stream)

    def take(self) -> bytes:
        """Returns the bytes to send, and forgets them."""
        out, self._out, self._out_bytes = self._out, [], 0
        return b"".join(out)

    @property
    def unsent(self) -> bool:
        """Whether `take` has bytes to return."""
        return bool(self._out)

    def put(self, data: bytes | memoryview) -> None:
        """Adds frames, or a part of a frame, to the bytes to send."""
        if not self._out:
            self._on_output()
        self._out.append(data)
        self._out_bytes += len(data)

    def forget(self, stream: Stream) -> None:
        """Sends no more data on the stream."""
        self._blocked.pop(stream, None)
        self._stalled.pop(stream, None)

    # Implementation details follow.

    def _shrink_table(self, size: int) -> None:
        """The next header block must acknowledge a table below its default size (RFC 7541, section 4.2). We use no table, so the first
        acknowledgement says 0, which covers every size that the peer may ask for later.
        """
        if size < DEFAULT_TABLE_BYTES and not self._table_is_empty:
            self._table_update, self._table_is_empty = NO_TABLE, True

    def _pump(self, stream: Stream) -> None:
        """Sends the stream's data and trailers, as far as windows and transport allow."""
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
                self._budget.earn(size / budget.SENT_BYTES)
                self.put(frames.head(size, frames.DATA, 0, stream.id))
                self.put(piece[:size])
                if size < len(piece):
                    unsent[0] = piece[size:]
                else:
                    unsent.popleft()
            if stream.receiver is not None:
                stream.receiver.drained()
        if stream.trailers is not None and self.streams.get(stream.id) is stream:
            block, stream.trailers = stream.trailers, None
            self._headers(stream, block, True)
            if unsent is None:
                self._budget.owe(budget.REFUSAL)
            else:
                self._budget.earn(budget.ANSWER + budget.REQUEST + stream.cost)
            self._sent(stream)

    def _sent(self, stream: Stream) -> None:
        """The response is complete. The rest of the request, if any, is not wanted any more."""
        if self.streams.pop(stream.id, None) is not None and not stream.received:
            self.refuse(stream.id, ErrorCode.NO_ERROR)
        stream.receiver = None

    def _headers(self, stream: Stream, block: bytes, ended: bool) -> None:
        self.pings = 0
        if self._table_update:
            block, self._table_update = self._table_update + block, b""
        flags = frames.END_HEADERS | (frames.END_STREAM if ended else 0)
        self.put(frames.frame(frames.HEADERS, flags, stream.id, block))
