# SPDX-License-Identifier: Apache-2.0
"""The calls of one ScoreStream: what the next message holds, and which waiter an answer is for. Pure: no thread, task, channel or clock.

There is no timer and no batch size to wait for. Each time a write completes, the stream's writer takes the calls that wait, unless
MESSAGES_UNDER_WAY messages have had no answer at all. So a lone call is sent at once, and calls made while the stream is busy are sent
together.
"""

from itertools import islice
from typing import Any, Final, Generic, NamedTuple, TypeVar

from lossd._calls import Encoded, stream_message, stream_outcomes

T = TypeVar("T")

# Enough that the server computes some calls while others are prepared, and few enough that calls share messages.
MESSAGES_UNDER_WAY: Final = 4
# A message holds at most MESSAGE_BYTES, and at most 1/MESSAGES_UNDER_WAY of the waiting calls or MESSAGE_CALLS, whichever is more.
MESSAGE_BYTES: Final = 1 << 20
MESSAGE_CALLS: Final = 32
# Maximum calls, and maximum cancellations, in a message, however small they are: a server refuses more than 16,384.
MOST_CALLS: Final = 1 << 13
# Parts of a request, or messages of a batch, that are in flight at a time.
CONCURRENT_MESSAGES: Final = MESSAGES_UNDER_WAY
# Larger calls gain nothing from sharing a message, and would delay the others: each is sent as a unary RPC.
LARGEST_CALL_BYTES: Final = 256 << 10


class Alone(Exception):  # noqa: N818 - an instruction, not a failure
    """The stream broke before it answered the call: make the call as a unary RPC.

    So the same rules for retries and errors hold for a call whose stream broke as for any other call. If one call made the stream
    fail, only that call fails again; if all calls fail, each of them gets its own error.
    """


class _Call(NamedTuple, Generic[T]):
    waiter: T
    encoded: Encoded
    deadline: float | None


class _Message:
    """A message that was sent; `silent` until one of its calls is answered or cancelled."""

    __slots__ = ("silent",)

    def __init__(self) -> None:
        self.silent = True


class Outbox(Generic[T]):
    """Calls that wait to be sent, and sent calls that wait for their answers. `waiter` is the object that waits for an answer.

    True if there is something to `take` now.
    """

    def __init__(self) -> None:
        self._ids = 0
        self._waiting: dict[int, _Call[T]] = {}
        self._unanswered: dict[int, tuple[_Call[T], _Message]] = {}
        self._cancelled: list[int] = []
        self._silent = 0

    def __bool__(self) -> bool:
        return bool(self._cancelled or (self._waiting and self._silent < MESSAGES_UNDER_WAY))

    def add(self, waiter: T, encoded: Encoded, deadline: float | None) -> int:
        """Queues a call; returns its id."""
        self._ids += 1
        self._waiting[self._ids] = _Call(waiter, encoded, deadline)
        return self._ids

    def cancel(self, id_: int) -> None:
        """Drops a call for which nobody waits any more. Does nothing if the call was answered."""
        if self._waiting.pop(id_, None) is None and self._settle(id_) is not None:
            self._cancelled.append(id_)

    def take(self, now: float) -> bytes:
        """The next message: calls in order of arrival, and cancellations, each up to the limits."""
        calls: list[tuple[int, Encoded, float | None]] = []
        nbytes = 0
        share = min(MOST_CALLS, max(MESSAGE_CALLS, len(self._waiting) // MESSAGES_UNDER_WAY))
        room = 0 if self._silent >= MESSAGES_UNDER_WAY else share
        for id_, (_, encoded, deadline) in islice(self._waiting.items(), room):
            nbytes += len(encoded.message)
            if calls and nbytes > MESSAGE_BYTES:
                break
            calls.append((id_, encoded, None if deadline is None else max(0.0, deadline - now)))
        if calls:
            message = _Message()
            self._silent += 1
            for id_, _, _ in calls:
                self._unanswered[id_] = (self._waiting.pop(id_), message)
        cancelled, self._cancelled = self._cancelled[:MOST_CALLS], self._cancelled[MOST_CALLS:]
        return stream_message(calls, cancelled)

    def answer(self, message: bytes) -> list[tuple[T, Any]]:
        """The waiters that a message answers, each with its LossResponse twin or the exception to raise."""
        answers = []
        for id_, outcome in stream_outcomes(message):
            waiter = self._settle(id_)
            if waiter is None:
                continue
            answers.append((waiter, outcome))
        return answers

    def clear(self) -> list[T]:
        """Removes every call, because the stream has ended. Returns the waiters."""
        waiters = [call.waiter for call in self._calls()]
        self._waiting, self._unanswered, self._cancelled, self._silent = {}, {}, [], 0
        return waiters

    def deadlines(self) -> list[tuple[float, T]]:
        """The deadline and the waiter of every call that has a deadline."""
        return [(call.deadline, call.waiter) for call in self._calls() if call.deadline is not None]

    # Implementation details follow.

    def _calls(self) -> list[_Call[T]]:
        return [*self._waiting.values(), *[call for call, _ in self._unanswered.values()]]

    def _settle(self, id_: int) -> T | None:
        """Removes a call that was sent, and returns its waiter; None if the call was already answered or cancelled."""
        call, message = self._unanswered.pop(id_, (None, None))
        if call is None or message is None:
            return None
        if message.silent:
            message.silent = False
            self._silent -= 1
        return call.waiter
