# SPDX-License-Identifier: Apache-2.0
"""Splits bytes, in pieces of any size, into frames and header blocks. Passes DATA on as it arrives, and everything else whole."""

from typing import Final, Protocol

from lossd_server.http2 import budget, frames
from lossd_server.http2.budget import Budget
from lossd_server.http2.frames import ConnectionFault, ErrorCode
from lossd_server.http2.header_blocks import MAX_BLOCK_BYTES
from lossd_server.http2.streams import Stream

MAX_FRAME_SIZE: Final = 1 << 20  # of DATA, which is not buffered


class Handler(Protocol):
    """What a FrameReader calls. The methods raise ConnectionFault."""

    def begin_data(self, stream_id: int, flags: int, length: int, padding: int) -> Stream | None:
        """A DATA frame begins: `length` bytes that count for windows, of which `padding` are padding. Returns None to drop the frame."""

    def data(self, stream: Stream, data: memoryview, ended: bool) -> None:
        """A part of the frame's data. `ended`: the request ends with it. `data` is only valid during the call."""

    def header_block(self, stream_id: int, flags: int, data: bytes) -> None:
        """A whole header block, with the flags of its HEADERS frame."""

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A whole frame of any other type."""


class FrameReader:
    """See the module."""

    def __init__(self, handler: Handler, work: Budget) -> None:
        self._handler = handler
        self._budget = work
        self._rest = b""
        self._preface = False
        self._block: tuple[int, int, bytearray] | None = None  # stream id, flags and beginning of an unfinished block
        self._data: tuple[Stream | None, int, int, bool] | None = None  # of a frame: stream, bytes and padding left, END_STREAM

    def receive(self, view: memoryview) -> bool:
        """Reads bytes until the budget's slice is used up: then it returns True, and keeps a copy of the rest for the next call. Does
        not keep `view`. Raises ConnectionFault.
        """
        if self._rest:
            view = memoryview(self._rest + view)
            self._rest = b""
        position, end = 0, len(view)
        if not self._preface:
            if not frames.PREFACE.startswith(bytes(view[: len(frames.PREFACE)])):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
            if end < len(frames.PREFACE):
                self._rest = bytes(view)
                return False
            self._preface, position = True, len(frames.PREFACE)
        if self._data is not None:
            position = self._continue_data(view, position, end)
        unpack, head_bytes, work = frames.HEAD.unpack_from, frames.HEAD_BYTES, self._budget
        while end - position >= head_bytes and work.slice_left > 0:
            high, low, kind, flags, stream_id = unpack(view, position)
            stream_id &= frames.MAX_STREAM_ID  # the bit above it is reserved
            start, length = position + head_bytes, high << 8 | low
            stop = start + length
            if kind == frames.DATA and self._block is None:
                if length > MAX_FRAME_SIZE:
                    raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
                if flags & frames.PADDED and length and start == end:
                    break  # the length of the padding has not arrived yet
                position = self._begin_data(view, start, min(stop, end), length, flags, stream_id)
                continue
            if length > MAX_BLOCK_BYTES:
                if kind == frames.HEADERS:
                    raise _too_large()
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
            if stop > end:
                break
            self._frame(kind, flags, stream_id, bytes(view[start:stop]))
            position = stop
        self._rest = bytes(view[position:])
        return work.slice_left <= 0

    @property
    def in_data(self) -> bool:
        """Whether the next bytes continue a DATA frame."""
        return self._data is not None

    # Implementation details follow.

    def _begin_data(self, view: memoryview, start: int, available: int, length: int, flags: int, stream_id: int) -> int:
        """Returns the position after the part of the frame that has arrived."""
        padding, whole = 0, length
        if flags & frames.PADDED:
            padding = view[start] if length else 0
            if padding >= length:
                raise _too_much_padding()
            start, length = start + 1, length - 1 - padding
        stream = self._handler.begin_data(stream_id, flags, whole, whole - length)
        ended = bool(flags & frames.END_STREAM)
        if available - start >= length and not padding:
            if stream is not None:
                self._handler.data(stream, view[start : start + length], ended)
            return start + length
        self._data = (stream, length, padding, ended)
        return self._continue_data(view, start, available)

    def _continue_data(self, view: memoryview, position: int, end: int) -> int:
        assert self._data is not None
        stream, length, padding, ended = self._data
        piece = min(length, end - position)
        length -= piece
        skipped = min(padding, end - position - piece) if not length else 0
        padding -= skipped
        over = not length and not padding
        self._data = None if over else (stream, length, padding, ended)
        if stream is not None and (piece or over):
            self._handler.data(stream, view[position : position + piece], ended and over)
        return position + piece + skipped

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block[0]):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
        self._budget.charge(budget.FRAME)
        if kind == frames.HEADERS:
            self._headers(flags, stream_id, payload)
        elif kind == frames.CONTINUATION:
            self._continuation(flags, payload)
        else:
            self._handler.frame(kind, flags, stream_id, payload)

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
                raise _too_much_padding()
            payload = payload[start:stop]
        if flags & frames.END_HEADERS:
            self._handler.header_block(stream_id, flags, payload)
        else:
            self._block = (stream_id, flags, bytearray(payload))

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the continuation of nothing")
        stream_id, first_flags, block = self._block
        block += payload
        if len(block) > MAX_BLOCK_BYTES or not (payload or flags & frames.END_HEADERS):
            raise _too_large()
        if flags & frames.END_HEADERS:
            self._block = None
            self._handler.header_block(stream_id, first_flags, bytes(block))


def _too_large() -> ConnectionFault:
    return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too large")


def _too_much_padding() -> ConnectionFault:
    return ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than there is room for")
