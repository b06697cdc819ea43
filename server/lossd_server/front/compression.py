# SPDX-License-Identifier: Apache-2.0
"""Unpacks compressed messages: short ones on the event loop, others on worker threads, so that callers do not delay each other.

An unpacked message is never larger than the room that was reserved for it. Its size is not known in advance: gzip's trailer claims a
size, and a false claim costs only the caller's own room. If the room does not suffice, all of it is released, and the message is
unpacked again with four times as much. So no message waits for room while it holds room, and unpacking takes at most a third longer
than a single attempt.

A caller has one thread at a time, and callers take turns. However many and large the messages of one caller are, another caller's
message waits only for messages that are being unpacked already, not for those that wait.
"""

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from lossd_server.admission import OVERHEAD_BYTES, Hold
from lossd_server.errors import CallError, MessageMalformed, RequestTooLarge, Unimplemented
from lossd_server.losses.tensor import Encoded

Reserve = Callable[[int], Hold]  # takes bytes; raises InFlightFull

_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}  # zlib's `wbits` of the formats
_GZIP_TRAILER_BYTES: Final = 4  # the unpacked size

# A message that is at most this large, both compressed and unpacked, takes up to 0.25 ms: about as long as a switch to a thread and
# back. All such messages of one turn of the event loop may take up to 1 ms together.
_SHORT_BYTES: Final = 32 << 10
_SHORT_BYTES_OF_A_TURN: Final = 128 << 10

_FIRST_ROOM_BYTES: Final = 4 * _SHORT_BYTES
_THREADS: Final = 2

_STEP_BYTES: Final = 256 << 10


class Unpacker:
    """See the module. Use on one event loop."""

    def __init__(self) -> None:
        self._turns = _Turns(_THREADS)
        self._left_of_turn = _SHORT_BYTES_OF_A_TURN

    def unpack_short(self, message: Encoded, encoding: str, max_bytes: int) -> Encoded | None:
        """The unpacked message, or None if it is too long for the event loop or this turn's share is used up. Raises as `unpack`."""
        _check(encoding)
        if len(message) > _SHORT_BYTES or self._left_of_turn <= 0 or _claimed_bytes(message, encoding) > _SHORT_BYTES:
            return None
        if self._left_of_turn == _SHORT_BYTES_OF_A_TURN:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        try:
            unpacked = _unpacked(message, encoding, min(_SHORT_BYTES, max_bytes))
        except _MoreError:
            self._left_of_turn -= _SHORT_BYTES
            if max_bytes <= _SHORT_BYTES:
                raise _too_large(max_bytes) from None
            return None
        except MessageMalformed:
            self._left_of_turn -= _SHORT_BYTES
            raise
        self._left_of_turn -= max(len(message), len(unpacked))
        return unpacked

    async def unpack(self, message: Encoded, encoding: str, max_bytes: int, caller: str, reserve: Reserve) -> tuple[Encoded, Hold]:
        """The unpacked message and its room, which the caller must release.

        Raises Unimplemented, MessageMalformed, RequestTooLarge, or what `reserve` raises.
        """
        _check(encoding)
        room = _claimed_bytes(message, encoding)
        while True:
            room = min(room, max_bytes)
            try:
                return await self._unpack(message, encoding, room, caller, reserve)
            except _MoreError:
                if room == max_bytes:
                    raise _too_large(max_bytes) from None
            room = max(4 * room, _FIRST_ROOM_BYTES)

    # Implementation details follow.

    def _begin_turn(self) -> None:
        self._left_of_turn = _SHORT_BYTES_OF_A_TURN

    async def _unpack(self, message: Encoded, encoding: str, room: int, caller: str, reserve: Reserve) -> tuple[Encoded, Hold]:
        """One attempt. If the waiting task is cancelled, the thread and the room are released once the thread is done."""
        await self._turns.take(caller)
        try:
            hold = reserve(room)
        except CallError:
            self._turns.give_back(caller)
            raise
        attempt = asyncio.get_running_loop().run_in_executor(None, _unpacked, message, encoding, room)
        attempt.add_done_callback(lambda _: self._turns.give_back(caller))
        try:
            unpacked = await asyncio.shield(attempt)
        except BaseException:
            if attempt.done():
                hold.release()
            else:
                attempt.add_done_callback(partial(_abandon, hold))
            raise
        hold.become(OVERHEAD_BYTES + len(unpacked))
        return unpacked, hold


class _Turns:
    """At most `count` turns at once, and one of each caller. Waiting callers get turns in rotation."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._active: set[str] = set()
        self._waiting: OrderedDict[str, dict[asyncio.Future[None], None]] = OrderedDict()  # no value is empty

    async def take(self, caller: str) -> None:
        """Waits for a turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, {})[turn] = None
        self._pass_on()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._drop(caller, turn)
            else:
                self.give_back(caller)
            raise

    def give_back(self, caller: str) -> None:
        """Ends a turn."""
        self._free += 1
        self._active.discard(caller)
        self._pass_on()

    def _pass_on(self) -> None:
        for caller in list(self._waiting):
            if not self._free:
                return
            if caller in self._active:
                continue
            self._waiting.move_to_end(caller)
            while caller in self._waiting:
                turn = next(iter(self._waiting[caller]))
                self._drop(caller, turn)
                if not turn.cancelled():
                    turn.set_result(None)
                    self._free -= 1
                    self._active.add(caller)
                    break

    def _drop(self, caller: str, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(caller)
        if waiting is not None and turn in waiting:
            del waiting[turn]
            if not waiting:
                del self._waiting[caller]


class _MoreError(Exception):
    """The unpacked message is larger than its room."""


def _unpacked(message: Encoded, encoding: str, room: int) -> memoryview:
    """The unpacked message. Raises MessageMalformed or _MoreError.

    In steps and with numpy: zlib holds the GIL while it puts a large result together, numpy does not while it copies.
    """
    unpacker = zlib.decompressobj(_WINDOW_BITS[encoding])
    unpacked, size = np.empty(room, np.uint8), 0
    packed, position = memoryview(message), 0
    while position < len(packed) and not unpacker.eof:
        rest: Encoded = packed[position : position + _STEP_BYTES]
        position += len(rest)
        more = True
        while more and not unpacker.eof:
            try:
                piece = unpacker.decompress(rest, _STEP_BYTES)
            except zlib.error:
                raise MessageMalformed("", f"the bytes are not {encoding}") from None
            if size + len(piece) > room:
                raise _MoreError
            unpacked.data[size : size + len(piece)] = piece
            size += len(piece)
            rest, more = unpacker.unconsumed_tail, len(piece) == _STEP_BYTES
    if not unpacker.eof:
        raise MessageMalformed("", f"the {encoding} bytes end too early")
    if unpacker.unused_data or position < len(packed):
        raise MessageMalformed("", f"bytes follow the end of the {encoding} data: only one gzip member is taken")
    return unpacked.data if size == room else unpacked[:size].copy().data


def _abandon(hold: Hold, attempt: asyncio.Future[memoryview]) -> None:
    if not attempt.cancelled():
        attempt.exception()  # marks the exception as retrieved
    hold.release()


def _claimed_bytes(message: Encoded, encoding: str) -> int:
    return int.from_bytes(message[-_GZIP_TRAILER_BYTES:], "little") if encoding == "gzip" else 4 * len(message)


def _check(encoding: str) -> None:
    if encoding not in _WINDOW_BITS:
        raise Unimplemented(f"messages may be compressed by gzip or deflate, not by {encoding[:20]!r}")


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"the request has more than {max_bytes} bytes when it is unpacked; {max_bytes} are allowed: split the batch",
        limit=max_bytes,
        actual=max_bytes + 1,
    )
