# SPDX-License-Identifier: Apache-2.0
"""The budget for the bytes that the server holds for its callers, from a message's arrival until its answer has been sent.

Memory is bounded by this budget and three other limits: the queue's bytes, the working memory of one request, and the size of a
batch, of which there is one at a time. While a request is read and computed, its bytes exist about three times (message, tensors,
batch), so the process stays below its size at rest + 3 x in-flight bytes + the working memory of one request or batch. A message
counts as soon as its first bytes give its length: a message that does not fit is refused before it is received.

Callers share the budget by the rule in shares.py: a caller may hold at most as much as is then left free, and a quarter is reserved
for callers that hold little. So whatever one caller does, such as opening streams and never reading them, there is room for the next
caller, even if dozens of addresses belong to the same caller.

A hold has one owner at a time, which releases it:

    Unary or Streaming (front/)   from the RPC's headers; Unary until its answer has been sent or it was aborted, Streaming until
                                  its task has ended and everything that it wrote has been sent
    Unpacker (front/)             the unpacked message, until the RPC takes the hold together with the message
    MessageStream (service/)      a stream's message, which arrives with its hold, and everything made from it, until its calls are
                                  answered and the answers sent
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from lossd_server.errors import InFlightFull, RequestTooLarge, ShuttingDown
from lossd_server.shares import Shares, fits

# The bytes that an RPC counts besides its message, so that a flood of tiny requests is bounded too.
OVERHEAD_BYTES = 16 << 10

_RETRY_AFTER_SECONDS = 0.1

T = TypeVar("T")


class Admission:
    """Counts bytes in flight, and refuses messages that do not fit. Belongs to one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._shares = Shares(max_bytes)
        self.draining = False  # nothing more is admitted

    def reserve(self, nbytes: int, caller: str = "") -> "Hold":
        """Counts a message until its hold is released. Raises ShuttingDown, and InFlightFull unless nothing else is in flight."""
        if self.draining:
            raise shutting_down()
        wanted = nbytes + OVERHEAD_BYTES
        if self._shares.used + wanted > self._shares.quarter:
            self._check(wanted, caller)
        return Hold(self, wanted, caller)

    @property
    def in_flight_bytes(self) -> int:
        """The bytes that all holds count."""
        return self._shares.used

    def hold(self, nbytes: int, caller: str = "") -> "Hold":
        """Counts bytes that are held already and cannot be refused."""
        return Hold(self, nbytes, caller)

    # Implementation details follow.

    def _check(self, wanted: int, caller: str) -> None:
        if self._shares.used and not self._shares.fits(caller, wanted):
            whose = "" if self._shares.free < wanted else " from this caller"
            raise InFlightFull(
                f"the server holds as many requests{whose} as it may; try again later", retry_after_seconds=_RETRY_AFTER_SECONDS
            )


class Hold:
    """Bytes that are counted until they are released, by `release` or at the end of a `with` block."""

    __slots__ = ("_admission", "_caller", "_nbytes")

    def __init__(self, admission: Admission, nbytes: int, caller: str) -> None:
        self._admission = admission
        self._nbytes = nbytes
        self._caller = caller
        admission._shares.change(caller, nbytes)

    def grow(self, nbytes: int) -> None:
        """Counts more bytes for the same message, such as its answer. Raises InFlightFull, which leaves the hold unchanged."""
        shares = self._admission._shares
        if shares.used + nbytes > shares.quarter and shares.used > self._nbytes:  # there are other holds
            self._admission._check(nbytes, self._caller)
        self._nbytes += nbytes
        shares.change(self._caller, nbytes)

    def take_over(self, other: "Hold", nbytes: int) -> None:
        """Moves this many bytes from another hold of the same caller to this one."""
        other._nbytes -= nbytes
        self._nbytes += nbytes

    def reach(self, nbytes: int) -> None:
        """Grows to a message of this size, part of which the hold may count already. Raises ShuttingDown or InFlightFull."""
        if self._admission.draining:
            raise shutting_down()
        more = nbytes + OVERHEAD_BYTES - self._nbytes
        if more > 0:
            self.grow(more)

    def empty(self) -> "Hold":
        """A new hold of the same caller, with no bytes."""
        return Hold(self._admission, 0, self._caller)

    def beside(self, nbytes: int) -> "Hold":
        """A separate hold for other bytes of the same RPC, also while the server drains.

        Raises InFlightFull, or RequestTooLarge if there would be no room even if nothing else were in flight.
        """
        wanted = nbytes + OVERHEAD_BYTES
        total, alone = self._admission._shares.total, self._nbytes + wanted
        if not fits(total, alone, total - alone):
            limit = max(0, total // 2 - self._nbytes - OVERHEAD_BYTES)
            text = f"the message has {nbytes} bytes; one caller may have {limit} in flight: split the batch"
            raise RequestTooLarge(text, limit=limit, actual=nbytes)
        self._admission._check(wanted, self._caller)
        return Hold(self._admission, wanted, self._caller)

    @property
    def overdrawn(self) -> bool:
        """Whether the caller holds more than it may, because of something that could not be refused."""
        shares = self._admission._shares
        return shares.held(self._caller) > shares.free

    def become(self, nbytes: int) -> None:
        """Counts this many bytes instead, even after a release. For bytes that are held already and cannot be refused."""
        more, self._nbytes = nbytes - self._nbytes, nbytes
        self._admission._shares.change(self._caller, more)

    def release(self) -> None:
        """Gives the bytes back. Idempotent."""
        if self._nbytes:
            nbytes, self._nbytes = self._nbytes, 0
            self._admission._shares.change(self._caller, -nbytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.release()


def shutting_down() -> ShuttingDown:
    """The error of a call that arrives while the server drains."""
    return ShuttingDown("the server is shutting down; another replica will answer", retry_after_seconds=0.1)


def request_too_large(nbytes: int, max_bytes: int) -> RequestTooLarge:
    """The error of a request message above the limit."""
    text = f"the request has {nbytes} bytes; {max_bytes} are allowed: split the batch"
    return RequestTooLarge(text, limit=max_bytes, actual=nbytes)


async def when_there_is_room(take: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Awaits `take` until it no longer raises InFlightFull, and returns its result. Raises InFlightFull after `seconds`."""
    ends_at = time.monotonic() + seconds
    while True:
        try:
            return await take()
        except InFlightFull as full:
            if time.monotonic() >= ends_at:
                raise
            pause_seconds = full.retry_after_seconds
        await asyncio.sleep(pause_seconds)
