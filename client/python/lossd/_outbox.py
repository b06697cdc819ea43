# SPDX-License-Identifier: Apache-2.0
"""The calls of one ScoreStream: what leaves next, and whom an answer is for. Pure: no thread, task, channel or clock.

There is no timer and no batch size to wait for. Whoever writes to the stream takes what is there each time that the write before
is done, as long as fewer than MESSAGES_UNDER_WAY messages have met with no answer at all. So a lone call leaves at once, and calls
made while the stream is busy leave together.
"""

from itertools import islice
from typing import Any, Final, Generic, NamedTuple, TypeVar

from lossd._calls import Encoded, stream_message, stream_outcomes

T = TypeVar("T")

# Enough that the server computes some while others are prepared, and few enough that calls find company.
MESSAGES_UNDER_WAY: Final = 4
# A message holds so many bytes at most, and of what waits a share of MESSAGES_UNDER_WAY, or so many calls if they are more.
MESSAGE_BYTES: Final = 1 << 20
MESSAGE_CALLS: Final = 32
# No message has more calls, or cancels more, however small they are: a server refuses those of more than 16,384.
MOST_CALLS: Final = 1 << 13
# Parts of a request, and messages of a batch, that are under way at a time.
CONCURRENT_MESSAGES: Final = MESSAGES_UNDER_WAY
# Larger calls do not gain from company, and would make the others wait: they go by themselves.
LARGEST_CALL_BYTES: Final = 256 << 10


class Alone(Exception):  # noqa: N818 - an instruction, not a failure
    """The stream broke before it answered the call: make it as a call of its own.

    So a call whose stream broke is retried and failed by the same rules as any other, and an error that the stream met because
    of one call, or that all of them would meet, comes to each of them as its own.
    """


class _Call(NamedTuple, Generic[T]):
    waiter: T
    encoded: Encoded
    deadline: float | None


class _Message:
    """A message that left; `silent` until one of its calls is answered, or cancelled."""

    __slots__ = ("silent",)

    def __init__(self) -> None:
        self.silent = True


class Outbox(Generic[T]):
    """Calls that wait to leave, and calls that left and wait for their answer. `waiter` is whatever waits for it.

    True where there is something to `take` now.
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
        """Nobody waits for the call any more. Nothing happens where it was answered."""
        if self._waiting.pop(id_, None) is None and self._settle(id_) is not None:
            self._cancelled.append(id_)

    def take(self, now: float) -> bytes:
        """The next message: calls in their order and cancellations, each up to the limits."""
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
        """Takes out every call, answered by nobody: the stream is gone."""
        waiters = [call.waiter for call in self._calls()]
        self._waiting, self._unanswered, self._cancelled, self._silent = {}, {}, [], 0
        return waiters

    def deadlines(self) -> list[tuple[float, T]]:
        """Of every call that has one, with its waiter."""
        return [(call.deadline, call.waiter) for call in self._calls() if call.deadline is not None]

    # Implementation details follow.

    def _calls(self) -> list[_Call[T]]:
        return [*self._waiting.values(), *[call for call, _ in self._unanswered.values()]]

    def _settle(self, id_: int) -> T | None:
        """The waiter of a call that left, which it does no more; None where it was answered or cancelled."""
        call, message = self._unanswered.pop(id_, (None, None))
        if call is None or message is None:
            return None
        if message.silent:
            message.silent = False
            self._silent -= 1
        return call.waiter
