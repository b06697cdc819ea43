# SPDX-License-Identifier: Apache-2.0
"""Limits what the frames of one connection may cost, beyond useful work.

Costs are in microseconds of CPU time, approximately. The budget refills with time and with useful work, so a client that gets answers
is never disconnected, however it behaves between them. A peer that causes work and gets no answers is disconnected after about a
second of CPU time. At a time a connection processes at most one slice: then the caller of Connection.receive lets others have their turn.
"""

from typing import Final

from lossd_server.http2.frames import ConnectionFault, ErrorCode

SLICE: Final = 2_000
_CAPACITY: Final = 300_000
_PER_SECOND: Final = 50_000

# What is charged.
FRAME: Final = 4  # of any kind
SETTINGS: Final = 20  # including its acknowledgement
REQUEST: Final = 12  # finding its method and receiver
FIELD: Final = 5  # of a header block that is not cached
HUFFMAN_BYTE: Final = 0.2
CANCEL: Final = 60  # starting a request that is not wanted any more, and undoing it
REFUSAL: Final = 80  # a response without a body
PUMP: Final = 6  # an attempt to send more on a stream

# What useful work earns.
ANSWER: Final = 40  # frames that a client may send for each answer, in addition to the cost of its request
MESSAGE: Final = 10  # the same for each message of a stream
SENT_BYTES: Final = 1 << 10  # bytes that earn 1

_SMALL_DATA: Final = 1 << 10
_BYTES_READ: Final = 512  # bytes that cost 1


class Budget:
    """See the module. `slice_left` is what the current slice still allows; the caller that begins a slice sets it."""

    __slots__ = ("_at", "_left", "slice_left")

    def __init__(self) -> None:
        self._at = 0.0
        self._left: float = _CAPACITY
        self.slice_left: float = SLICE

    def refill(self, now: float) -> None:
        """Refills for the time that has passed until `now`, in seconds."""
        self._left = min(_CAPACITY, self._left + (now - self._at) * _PER_SECOND)
        self._at = now

    def charge(self, cost: float) -> None:
        """Charges for work. Raises ConnectionFault if the budget is used up."""
        self._left -= cost
        self.slice_left -= cost
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames for what is asked for")

    def charge_data(self, nbytes: int) -> None:
        """Charges for a DATA frame. Large frames are useful, so they count towards the slice only. Raises ConnectionFault."""
        if nbytes < _SMALL_DATA:
            self.charge(FRAME)
        self.slice_left -= FRAME + nbytes // _BYTES_READ

    def owe(self, cost: float) -> None:
        """Charges for work that our side has already done. Never raises; the next `charge` may."""
        self._left -= cost

    def earn(self, cost: float) -> None:
        """Credits useful work."""
        self._left = min(_CAPACITY, self._left + cost)
