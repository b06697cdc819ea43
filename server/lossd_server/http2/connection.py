# SPDX-License-Identifier: Apache-2.0
"""One HTTP/2 connection, server side, without I/O: `receive` takes bytes, receivers get events, `take` returns bytes to send.

Windows: a peer may send INITIAL_WINDOW bytes on a stream; the stream's receiver grants more. A peer never waits for the connection's
own window, because every byte that arrives is either wanted or dropped.

If a peer breaks the rules of RFC 9113, `receive` raises ConnectionFault. The caller then sends a GOAWAY and receives nothing more.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from lossd_server.http2 import budget, frames
from lossd_server.http2.budget import Budget
from lossd_server.http2.frame_reader import MAX_FRAME_SIZE, FrameReader
from lossd_server.http2.frames import ConnectionFault, ErrorCode
from lossd_server.http2.header_blocks import MAX_LIST_BYTES, Block, HeaderBlocks
from lossd_server.http2.header_rules import Headers
from lossd_server.http2.sending import Sender
from lossd_server.http2.streams import INITIAL_WINDOW, SPARE_WINDOW, Receiver, Stream

Head = TypeVar("Head")

# The connection's window is kept between this and the maximum.
_CONNECTION_WINDOW: Final = 1 << 30

# Its acknowledgement shows that the peer knows of the drain.
_LAST_PING: Final = b"the last"

_OF_THE_CONNECTION: Final = (frames.SETTINGS, frames.PING, frames.GOAWAY)
_NOTHING: Final = memoryview(b"")


def _ignore() -> None:
    pass


class Connection(Generic[Head]):
    """See the module. `read_headers` parses a request's headers; its result is cached. `open_stream` takes the stream, that result and
    whether the request ends with its headers; it returns the stream's receiver, or None if the request was answered already.
    `on_output` is called when `take` begins to have bytes, `on_ping` for each ping.
    """

    def __init__(
        self,
        read_headers: Callable[[Headers], Head],
        open_stream: Callable[[Stream, Head, bool], Receiver | None],
        *,
        max_streams: int,
        on_output: Callable[[], None] = _ignore,
        on_ping: Callable[[], None] = _ignore,
    ) -> None:
        self._open_stream = open_stream
        self._on_ping = on_ping
        self._max_streams = max_streams
        self.budget = Budget()
        self.sending = sending = Sender(self.budget, on_output)
        self._blocks = HeaderBlocks(read_headers, self.budget)
        self._reader = FrameReader(self, self.budget)
        self._last_id = 0
        self._receive_window = frames.DEFAULT_WINDOW
        self.closing = False  # further streams are refused
        self.greeted = False  # the preface and SETTINGS have arrived
        # The sending half, for the receivers and the transport.
        self.streams = sending.streams
        self.respond, self.send_headers, self.send_data = sending.respond, sending.send_headers, sending.send_data
        self.send_trailers, self.reset, self.grant = sending.send_trailers, sending.reset, sending.grant
        self.take, self.resume = sending.take, sending.resume
        settings = {
            frames.MAX_CONCURRENT_STREAMS: max_streams,
            frames.INITIAL_WINDOW_SIZE: INITIAL_WINDOW + SPARE_WINDOW,
            frames.MAX_FRAME_SIZE: MAX_FRAME_SIZE,
            frames.MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
        }
        sending.put(frames.settings(settings))
        self._widen()

    # Receiving.

    def receive(self, view: memoryview, now: float = 0.0, max_cost: float = budget.SLICE) -> bool:
        """Takes bytes in pieces of any size, and does not keep `view`. `now` is in seconds. Returns True once frames have cost `max_cost`
        (see budget.py): then the caller calls `go_on` after other connections have had their turn. Raises ConnectionFault.
        """
        self.budget.refill(now)
        self.budget.slice_left = max_cost
        used_up = self._reader.receive(view)
        self.resume()
        return used_up

    @property
    def in_data(self) -> bool:
        """Whether the next bytes continue a DATA frame."""
        return self._reader.in_data

    def go_on(self, now: float = 0.0, max_cost: float = budget.SLICE) -> bool:
        """Processes the bytes that are left; see `receive`."""
        return self.receive(_NOTHING, now, max_cost)

    def lost(self) -> None:
        """The transport was lost, or is about to be: aborts all streams."""
        streams = list(self.streams.values())
        self.streams.clear()
        for stream in streams:
            self.sending.forget(stream)
            self._abort(stream)

    # Sending, other than on streams.

    def ping(self) -> None:
        """Sends a PING, which a peer that is reachable acknowledges."""
        self.sending.put(frames.frame(frames.PING, 0, 0, b"lossd is"))

    def drain(self) -> None:
        """Asks the peer to open no further streams. Streams that it opens before it knows of the drain are still served."""
        self.sending.put(frames.goaway(frames.MAX_WINDOW, ErrorCode.NO_ERROR))
        self.sending.put(frames.frame(frames.PING, 0, 0, _LAST_PING))

    def goaway(self, code: ErrorCode = ErrorCode.NO_ERROR, text: str = "") -> None:
        """Sends a final GOAWAY: further streams are refused."""
        self.closing = True
        self.sending.put(frames.goaway(self._last_id, code, text))

    # frame_reader.Handler

    def begin_data(self, stream_id: int, flags: int, length: int, padding: int) -> Stream | None:
        """See frame_reader.Handler."""
        stream = self.streams.get(stream_id)
        self.budget.charge_data(length if stream is not None and not padding else 0)
        self.sending.pings = 0
        self._receive_window -= length
        if self._receive_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._receive_window < _CONNECTION_WINDOW:
            self._widen()
        if stream is None:
            self._data_on_closed(stream_id, flags)
        elif stream.received:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "data after the end of a stream")
        else:
            stream.receive_window -= length
            if stream.receive_window < 0:
                self._break(stream, ErrorCode.FLOW_CONTROL_ERROR)
                return None
            if padding:
                self.grant(stream, padding)
        return stream

    def data(self, stream: Stream, data: memoryview, ended: bool) -> None:
        """See frame_reader.Handler."""
        if self.streams.get(stream.id) is not stream:
            return  # the stream has ended since the frame began
        stream.received = ended
        if stream.body_left is not None:
            stream.body_left -= len(data)
            if stream.body_left < 0 or (ended and stream.body_left):
                self._break(stream, ErrorCode.PROTOCOL_ERROR)
                return
        if stream.receiver is not None:
            stream.receiver.data(data, ended)
        if ended and stream.receiver is None:
            self.streams.pop(stream.id, None)

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """See frame_reader.Handler."""
        if kind == frames.WINDOW_UPDATE:
            self._window_update(stream_id, frames.read_number(payload))
        elif kind == frames.RST_STREAM:
            self._rst_stream(stream_id, frames.read_number(payload))
        elif kind in _OF_THE_CONNECTION and stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame of the connection on a stream")
        elif kind == frames.SETTINGS:
            self._settings(flags, payload)
        elif kind == frames.PING:
            self._ping(flags, payload)
        elif kind == frames.GOAWAY:
            self.closing = True
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients do not push")
        elif kind == frames.PRIORITY and not (stream_id and len(payload) == 5):
            code = ErrorCode.FRAME_SIZE_ERROR if stream_id else ErrorCode.PROTOCOL_ERROR
            raise ConnectionFault(code, "a priority of no stream or of a wrong size")
        # Frames of other kinds are ignored (RFC 9113, section 4.1).

    def header_block(self, stream_id: int, flags: int, data: bytes) -> None:
        """See frame_reader.Handler."""
        block = self._blocks.decode(data)
        ended = bool(flags & frames.END_STREAM)
        self.sending.pings = 0
        if stream_id <= self._last_id:
            self._trailers(stream_id, block, ended)
            return
        self._last_id = stream_id
        self.budget.charge(budget.REQUEST)
        refused = self.closing or block.head is None or len(self.streams) >= self._max_streams or (ended and block.content_length)
        if refused:
            refusal = self._refusal(block)
            self.budget.charge(budget.CANCEL)
            self.sending.refuse(stream_id, refusal, ended=ended)
            return
        assert block.head is not None
        stream = self.streams[stream_id] = Stream(stream_id, block.cost, block.content_length)
        stream.received = ended
        receiver = self._open_stream(stream, block.head, ended)
        if self.streams.get(stream_id) is stream:
            stream.receiver = receiver

    def _refusal(self, block: Block[Head]) -> ErrorCode:
        if self.closing or len(self.streams) >= self._max_streams:
            return ErrorCode.REFUSED_STREAM
        return ErrorCode.ENHANCE_YOUR_CALM if block.too_large else ErrorCode.PROTOCOL_ERROR

    def _trailers(self, stream_id: int, block: Block[Head], ended: bool) -> None:
        """Request trailers, which gRPC clients do not send: they end the request, and are otherwise ignored."""
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id not in self.sending.abandoned:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that was closed, or that comes after a later one")
        elif stream.received:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "headers after the end of a stream")
        elif not (ended and block.trailers):
            self._break(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            self.data(stream, _NOTHING, True)

    def _data_on_closed(self, stream_id: int, flags: int) -> None:
        if stream_id > self._last_id or not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "data on a stream that is not open")
        if stream_id not in self.sending.abandoned:
            self.budget.charge(budget.CANCEL)
            self.sending.refuse(stream_id, ErrorCode.STREAM_CLOSED, ended=True)
        elif flags & frames.END_STREAM:
            del self.sending.abandoned[stream_id]

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement that says something")
            return
        self.greeted = True
        values = frames.read_settings(payload)
        self.budget.charge(budget.SETTINGS + budget.FRAME * len(values))
        self.sending.settings(values)
        self.sending.put(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _ping(self, flags: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a ping of a wrong size")
        if flags & frames.ACK:
            if payload == _LAST_PING:
                self.goaway()
            return
        self.sending.put(frames.frame(frames.PING, frames.ACK, 0, payload))
        self.sending.pings += 1
        self._on_ping()

    def _window_update(self, stream_id: int, increment: int) -> None:
        increment &= frames.MAX_WINDOW
        if not stream_id:
            self.sending.widen(increment)
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window of a stream that is not open")
        elif not increment:
            self._break(stream, ErrorCode.PROTOCOL_ERROR)
        elif not self.sending.widen_stream(stream, increment):
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR)

    def _rst_stream(self, stream_id: int, _: int) -> None:
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self.sending.forget(stream)
            self._abort(stream)
            self.budget.charge(budget.CANCEL)
        elif stream_id > self._last_id or not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the reset of a stream that is not open")
        else:
            self.sending.abandoned.pop(stream_id, None)

    def _break(self, stream: Stream, code: ErrorCode) -> None:
        """Resets a stream on which the peer broke the rules."""
        receiver = stream.receiver
        self.budget.charge(budget.CANCEL)
        self.reset(stream, code)
        if receiver is not None:
            receiver.aborted()

    @staticmethod
    def _abort(stream: Stream) -> None:
        receiver, stream.receiver = stream.receiver, None
        if receiver is not None:
            receiver.aborted()

    def _widen(self) -> None:
        self.sending.put(frames.window_update(0, frames.MAX_WINDOW - self._receive_window))
        self._receive_window = frames.MAX_WINDOW
