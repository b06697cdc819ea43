# SPDX-License-Identifier: Apache-2.0
"""A stream: a request and its response."""

from collections import deque
from typing import Final, Protocol

# Bytes that a receiver has room for when a stream opens. The peer may always send one more than its receiver has granted: clients
# hold back the empty DATA frame that ends a request while the window is 0, so a receiver that grants exactly the message that it
# expects would wait for the end for ever.
INITIAL_WINDOW: Final = 64 << 10
SPARE_WINDOW: Final = 1


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

    __slots__ = ("body_left", "cost", "id", "receive_window", "received", "receiver", "send_window", "trailers", "unsent")

    def __init__(self, id_: int, cost: float = 0.0, body_left: int | None = None) -> None:
        self.id = id_
        self.cost = cost  # of its headers; see Budget
        self.body_left = body_left  # bytes, of a request that said how many
        self.receive_window = INITIAL_WINDOW + SPARE_WINDOW
        self.send_window = 0  # over the peer's initial window, which may change
        self.received = False  # to its end
        self.receiver: Receiver | None = None
        self.unsent: deque[memoryview] | None = None
        self.trailers: bytes | None = None  # to follow what is unsent
