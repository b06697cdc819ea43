# SPDX-License-Identifier: Apache-2.0
"""What the frames of one connection may cost, beyond what is asked for and served.

Costs are in microseconds of our time, roughly. The budget refills with time and with useful work, so that a client that gets answers
is never ended, however it behaves between them; a peer that sends nothing but work is ended within about a second of ours. Within a
turn of the event loop a connection gets no more than a slice; whoever calls Connection.receive lets the others have theirs.
"""

from typing import Final

from lossd_server.http2.frames import ConnectionFault, ErrorCode

SLICE: Final = 2_000
_CAPACITY: Final = 300_000
_PER_SECOND: Final = 50_000

# What is charged.
FRAME: Final = 4  # of any kind
SETTINGS: Final = 20  # with its acknowledgement
REQUEST: Final = 12  # to find its method and receiver
FIELD: Final = 5  # of a header block that was not seen before
HUFFMAN_BYTE: Final = 0.2
CANCEL: Final = 60  # to begin what is not wanted, and to undo it
REFUSAL: Final = 80  # an answer without a body
PUMP: Final = 6  # to try to send more on a stream

# What useful work pays back.
ANSWER: Final = 40  # frames that a client may send about each answer, besides what its request cost
MESSAGE: Final = 10  # the same for each message of a stream
SENT_BYTES: Final = 1 << 10  # for so many, one

_SMALL_DATA: Final = 1 << 10
_BYTES_READ: Final = 512  # take so long


class Budget:
    """See the module. `spent` counts towards the slice, and whoever ends the slice sets it to 0."""

    __slots__ = ("_at", "_left", "spent")

    def __init__(self) -> None:
        self._at = 0.0
        self._left: float = _CAPACITY
        self.spent: float = 0

    def refill(self, now: float) -> None:
        """The time has come to `now`, in seconds."""
        self._left = min(_CAPACITY, self._left + (now - self._at) * _PER_SECOND)
        self._at = now

    def charge(self, cost: float) -> None:
        """Raises ConnectionFault when the budget is used up."""
        self._left -= cost
        self.spent += cost
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames for what is asked for")

    def charge_data(self, nbytes: int) -> None:
        """A DATA frame: large ones are useful, and count for the slice only. Raises ConnectionFault."""
        if nbytes < _SMALL_DATA:
            self.charge(FRAME)
        self.spent += FRAME + nbytes // _BYTES_READ

    def owe(self, cost: float) -> None:
        """Charges what our own side has done: the next charge may raise."""
        self._left -= cost

    def earn(self, cost: float) -> None:
        """Useful work was done."""
        self._left = min(_CAPACITY, self._left + cost)
