# SPDX-License-Identifier: Apache-2.0
"""One HTTP/2 connection, server side, without I/O: bytes in by `receive`, events to receivers, bytes out by `take`.

Windows: a peer may send INITIAL_WINDOW bytes on a stream; whoever reads the stream grants more. The connection's own window is
never what a peer waits for, because what arrives is either wanted or dropped.

A peer that breaks the rules (RFC 9113) gets a GOAWAY: `receive` raises ConnectionFault, and nothing more is received.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from lossd_server.http2 import frames
from lossd_server.http2.frames import ConnectionFault, ErrorCode
from lossd_server.http2.header_blocks import DEFAULT_TABLE_BYTES, MAX_BLOCK_BYTES, MAX_LIST_BYTES, NO_TABLE, HeaderBlocks, Headers
from lossd_server.http2.sending import INITIAL_WINDOW, SPARE_WINDOW, Receiver, Sender, Stream, nothing

Head = TypeVar("Head")

_FRAME_SIZE: Final = 1 << 20  # DATA is handed on as it comes, so a large frame need not be held

# The connection's window is kept between this and the largest that there is.
_CONNECTION_WINDOW: Final = 1 << 30

# Its answer says that the peer knows that we drain.
_LAST_PING: Final = b"the last"


class Connection(Sender, Generic[Head]):
    """See the module. `open_stream` is (stream, what `read_headers` made of its headers, whether that is all of the request) and
    returns who reads the stream, None where it was answered already. `read_headers` depends on nothing but the headers.
    """

    def __init__(
        self, read_headers: Callable[[Headers], Head], open_stream: Callable[[Stream, Head, bool], Receiver | None], *, max_streams: int
    ) -> None:
        super().__init__()
        self._open_stream = open_stream
        self._max_streams = max_streams
        self._blocks = HeaderBlocks(read_headers)
        self._rest = b""
        self._preface = False
        self._block: tuple[int, int, bytearray] | None = None  # stream id, flags, what there is of it, while it continues
        self._data: tuple[Stream | None, int, int, bool] | None = None  # of a frame's: stream, bytes, padding to come, END_STREAM
        self._last_id = 0
        self._receive_window = frames.DEFAULT_WINDOW
        self._table_is_empty = False
        self.closing = False  # no further streams
        self.on_ping: Callable[[], None] = nothing
        self._put(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: max_streams,
                    frames.INITIAL_WINDOW_SIZE: INITIAL_WINDOW + SPARE_WINDOW,
                    frames.MAX_FRAME_SIZE: _FRAME_SIZE,
                    frames.MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
                }
            )
        )
        self._widen()

    # What arrives.

    def receive(self, view: memoryview) -> None:
        """Whatever came, in pieces of any size. The memory is only read now. Raises ConnectionFault."""
        if self._rest:
            view = memoryview(self._rest + view)
            self._rest = b""
        position, end = 0, len(view)
        if not self._preface:
            if not frames.PREFACE.startswith(bytes(view[: len(frames.PREFACE)])):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
            if end < len(frames.PREFACE):
                self._rest = bytes(view)
                return
            self._preface, position = True, len(frames.PREFACE)
        if self._data is not None:
            position = self._continue_data(view, position, end)
        unpack, head_bytes = frames.HEAD.unpack_from, frames.HEAD_BYTES
        while end - position >= head_bytes:
            high, low, kind, flags, stream_id = unpack(view, position)
            stream_id &= frames.MAX_STREAM_ID  # the bit above it is reserved
            start, length = position + head_bytes, high << 8 | low
            stop = start + length
            if kind == frames.DATA and self._block is None:
                if length > _FRAME_SIZE:
                    raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
                if flags & frames.PADDED and length and start == end:
                    break  # the length of the padding is not there yet
                position = self._begin_data(view, start, min(stop, end), length, flags, stream_id)
                continue
            if length > MAX_BLOCK_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
            if stop > end:
                break
            self._frame(kind, flags, stream_id, bytes(view[start:stop]))
            position = stop
        self._rest = bytes(view[position:])

    def lost(self) -> None:
        """The transport is gone."""
        streams, self.streams = self.streams, {}
        self._blocked.clear()
        self._stalled.clear()
        for stream in streams.values():
            self._abort(stream)

    # What is sent, besides what streams send.

    def ping(self) -> None:
        """Asks whether the peer is there: something will come from it."""
        self._put(frames.frame(frames.PING, 0, 0, b"lossd is"))

    def drain(self) -> None:
        """Asks the peer to open no further streams. Those that it opens before it has heard are still served."""
        self._put(frames.goaway(frames.MAX_WINDOW, ErrorCode.NO_ERROR))
        self._put(frames.frame(frames.PING, 0, 0, _LAST_PING))

    def goaway(self, code: ErrorCode = ErrorCode.NO_ERROR, text: str = "") -> None:
        """No further streams are served."""
        self.closing = True
        self._put(frames.goaway(self._last_id, code, text))

    # Implementation details follow.

    def _begin_data(self, view: memoryview, start: int, available: int, length: int, flags: int, stream_id: int) -> int:
        """The head of a DATA frame was read; returns the position behind what there is of it."""
        stream = self.streams.get(stream_id)
        if stream is None and (stream_id > self._last_id or not stream_id & 1):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "data on a stream that is not open")
        self.pings = 0
        self._receive_window -= length
        if self._receive_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._receive_window < _CONNECTION_WINDOW:
            self._widen()
        if stream is not None:
            if stream.received:
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "data after the end of a stream")
            stream.receive_window -= length
            if stream.receive_window < 0:
                self._break(stream, ErrorCode.FLOW_CONTROL_ERROR)
                stream = None
        ended = bool(flags & frames.END_STREAM)
        padding = 0
        if flags & frames.PADDED:
            padding = view[start] if length else 0
            if not length or padding >= length:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than there is room for")
            start, length = start + 1, length - 1 - padding
        if stream is not None and padding + int(bool(flags & frames.PADDED)):
            self.grant(stream, padding + 1)
        if available - start >= length and not padding:
            if stream is not None:
                self._deliver(stream, view[start : start + length], ended)
            return start + length
        self._data = (stream, length, padding, ended)
        return self._continue_data(view, start, available)

    def _continue_data(self, view: memoryview, position: int, end: int) -> int:
        assert self._data is not None
        stream, length, padding, ended = self._data
        if stream is not None and self.streams.get(stream.id) is not stream:
            stream = None  # it was ended since
        piece = min(length, end - position)
        length -= piece
        skipped = min(padding, end - position - piece) if not length else 0
        padding -= skipped
        over = not length and not padding
        self._data = None if over else (stream, length, padding, ended)
        if stream is not None and (piece or over):
            self._deliver(stream, view[position : position + piece], ended and over)
        return position + piece + skipped

    def _deliver(self, stream: Stream, data: memoryview, ended: bool) -> None:
        stream.received = ended
        if stream.receiver is not None:
            stream.receiver.data(data, ended)
        if ended and stream.receiver is None:
            self.streams.pop(stream.id, None)

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block[0]):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
        if kind == frames.HEADERS:
            self._headers(flags, stream_id, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._window_update(stream_id, frames.read_number(payload))
        elif kind == frames.RST_STREAM:
            self._rst_stream(stream_id, frames.read_number(payload))
        elif kind == frames.CONTINUATION:
            self._continuation(flags, payload)
        elif kind in (frames.SETTINGS, frames.PING, frames.GOAWAY) and stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame of the connection on a stream")
        elif kind == frames.SETTINGS:
            self._settings(flags, payload)
        elif kind == frames.PING:
            self._ping(flags, payload)
        elif kind == frames.GOAWAY:
            self.closing = True
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients do not push")
        elif kind == frames.PRIORITY and not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the priority of no stream")
        elif kind == frames.PRIORITY and len(payload) != 5:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority of a wrong size")
        # Frames of other kinds are ignored (RFC 9113, section 4.1).

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if flags & (frames.PADDED | frames.PRIORITIZED):
            start, stop = 0, len(payload)
            if flags & frames.PADDED:
                stop -= payload[0] if payload else 1
                start += 1
            if flags & frames.PRIORITIZED:
                start += 5
            if start > stop:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than there is room for")
            payload = payload[start:stop]
        if not flags & frames.END_HEADERS:
            self._block = (stream_id, flags, bytearray(payload))
            return
        self._request(stream_id, flags, payload)

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the continuation of nothing")
        stream_id, first_flags, block = self._block
        block += payload
        if len(block) > MAX_BLOCK_BYTES or not (payload or flags & frames.END_HEADERS):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._request(stream_id, first_flags, bytes(block))

    def _request(self, stream_id: int, flags: int, block: bytes) -> None:
        head = self._blocks.decode(block)
        ended = bool(flags & frames.END_STREAM)
        self.pings = 0
        if stream_id <= self._last_id:
            stream = self.streams.get(stream_id)
            if stream is not None:  # trailers: nothing that gRPC uses
                if not ended or stream.received:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "headers in the middle of a stream")
                self._deliver(stream, memoryview(b""), True)
            return
        self._last_id = stream_id
        if self.closing or len(self.streams) >= self._max_streams:
            self._put(frames.rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
            return
        stream = self.streams[stream_id] = Stream(stream_id)
        stream.received = ended
        receiver = self._open_stream(stream, head, ended)
        if self.streams.get(stream_id) is stream:
            stream.receiver = receiver

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement that says something")
            return
        for name, value in frames.read_settings(payload):
            if name == frames.HEADER_TABLE_SIZE:
                self._shrink_table(value)
            elif name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
                self._peer_window = value
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME_SIZE <= value <= frames.LARGEST_FRAME_SIZE:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame size that cannot be")
                self._peer_frame_size = value
            elif name == frames.ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "neither push nor no push")
        self._put(frames.frame(frames.SETTINGS, frames.ACK, 0))
        stalled, self._stalled = self._stalled, {}
        for stream in stalled:
            self._pump(stream)

    def _shrink_table(self, size: int) -> None:
        """A table below its default size must be acknowledged by the next header block (RFC 7541, section 4.2). We use none, so the
        first acknowledgement says 0, which is below whatever the peer may ask for later.
        """
        if size < DEFAULT_TABLE_BYTES and not self._table_is_empty:
            self._table_update, self._table_is_empty = NO_TABLE, True

    def _ping(self, flags: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a ping of a wrong size")
        if flags & frames.ACK:
            if payload == _LAST_PING:
                self.goaway()
            return
        self._put(frames.frame(frames.PING, frames.ACK, 0, payload))
        self.pings += 1
        self.on_ping()

    def _window_update(self, stream_id: int, increment: int) -> None:
        increment &= frames.MAX_WINDOW
        if not stream_id:
            self._send_window += increment
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window that does not grow")
            if self._send_window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
            if self._blocked:
                self.resume()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window of a stream that is not open")
            return
        stream.send_window += increment
        if not increment or self._peer_window + stream.send_window > frames.MAX_WINDOW:
            self._break(stream, ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR)
            return
        self._stalled.pop(stream, None)
        self._pump(stream)

    def _rst_stream(self, stream_id: int, _: int) -> None:
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._forget(stream)
            self._abort(stream)
        elif stream_id > self._last_id or not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the reset of a stream that is not open")

    def _break(self, stream: Stream, code: ErrorCode) -> None:
        """The peer broke the rules on this stream."""
        receiver = stream.receiver
        self.reset(stream, code)
        if receiver is not None:
            receiver.aborted()

    @staticmethod
    def _abort(stream: Stream) -> None:
        receiver, stream.receiver = stream.receiver, None
        if receiver is not None:
            receiver.aborted()

    def _widen(self) -> None:
        grown = frames.MAX_WINDOW - self._receive_window
        self._receive_window += grown
        self._put(frames.window_update(0, grown))
