# SPDX-License-Identifier: Apache-2.0
"""A stream: a request and its response."""

from collections import deque
from typing import Final, Protocol

# Bytes that a receiver has room for when a stream opens. The peer's window is always one byte larger than what the receiver granted:
# clients hold back the empty DATA frame that ends a request while the window is 0, so a receiver that grants exactly the message that
# it expects would wait forever for the end of the request.
INITIAL_WINDOW: Final = 64 << 10
SPARE_WINDOW: Final = 1


class Receiver(Protocol):
    """The reader of a stream."""

    def data(self, data: memoryview, ended: bool) -> None:
        """More of the body. `data` is only valid during the call. `ended`: the request ends with it."""

    def aborted(self) -> None:
        """The stream was reset, or its connection ended, before the response was complete."""

    def drained(self) -> None:
        """No data that was sent on the stream waits for windows or the transport any more."""

    def tick(self, now: float) -> None:
        """Called about once a second. `now` is the value of time.monotonic()."""


class Stream:
    """A request and its response."""

    __slots__ = ("body_left", "cost", "id", "receive_window", "received", "receiver", "send_window", "trailers", "unsent")

    def __init__(self, id_: int, cost: float = 0.0, body_left: int | None = None) -> None:
        self.id = id_
        self.cost = cost  # of its headers; see Budget
        self.body_left = body_left  # bytes, if the request declares its length
        self.receive_window = INITIAL_WINDOW + SPARE_WINDOW
        self.send_window = 0  # relative to the peer's initial window, which may change
        self.received = False  # whether the request has ended
        self.receiver: Receiver | None = None
        self.unsent: deque[memoryview] | None = None
        self.trailers: bytes | None = None  # to send after `unsent`
