# SPDX-License-Identifier: Apache-2.0
"""Requests that are scored together: unary RPCs of one loss that arrived in one turn of the event loop, or the calls of one message."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from lossd_server.admission import Hold
from lossd_server.call import Call, Outcome
from lossd_server.errors import CallError
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Entry, Submission, cancelled
from lossd_server.queue.time_slices import Work
from lossd_server.service import responses


class Requests:
    """Requests by their index. A subclass defines their deadlines and callers, and receives their outcomes.

    `messages` are encoded requests of the loss `spec`, or encoded LossCalls if `spec` is None. An entry is released when it is read.
    `queue_as_one` says whether requests that differ only in their values may wait in the queue as one call; then no request can be
    cancelled by itself, and all have the deadline `deadline`.
    """

    queue_as_one = False
    deadline: float | None = None

    def __init__(self, dispatcher: Dispatcher, spec: LossSpec | None, messages: list[Encoded], caller: str) -> None:
        self._dispatcher = dispatcher
        self.spec = spec
        self.messages = messages
        self.caller = caller
        self.indices: Sequence[int] = range(len(messages))  # of the requests to score
        self.work: Work = _no_work()  # what scores them, once they are started
        self.queued_count = 0
        self._resume: Callable[[], None] | None = None
        self._resume_at = 0
        self._submission: Submission | None = None
        self._as_one: dict[int, Sequence[int]] = {}  # the indices of requests that are queued as one, by the first index

    # For subclasses to define.

    def answer(self, indices: Sequence[int], outcome: Outcome) -> None:
        """Receives the outcome of a request, or of several that were computed as one. Called once for each index."""
        raise NotImplementedError

    def timely(self, indices: Sequence[int], now: float) -> Sequence[int]:
        """The requests among these that a caller still waits for, and whose deadline has not passed."""
        return () if self.deadline is not None and self.deadline <= now else indices

    def terms(self, index: int) -> tuple[float | None, str]:
        """The request's deadline, on the dispatcher's clock, and its caller. Raises CallError if nobody waits for it any more."""
        return self.deadline, self.caller

    def accept(self, indices: Sequence[int], call: Call) -> None:
        """Checks the call that was read from these requests, before it is computed. Raises CallError if it is refused."""

    def make_room(self, index: int, nbytes: int) -> None:
        """Reserves memory for unreduced values. Raises CallError if there is not enough."""
        raise NotImplementedError

    def submit(self, entries: list[Entry]) -> None:
        """Queues calls under the indices of their requests."""
        self.queued_count += sum([len(self._as_one.get(entry.index, (entry.index,))) for entry in entries])
        if self._submission is None:
            self._submission = Submission(len(self.messages), self._settle)
        self._dispatcher.submit(self._submission, entries)

    # For the service.

    def resume_at(self, queued_count: int, resume: Callable[[], None]) -> None:
        """Calls `resume` once, as soon as at most `queued_count` requests are queued or being computed."""
        self._resume_at, self._resume = queued_count, resume

    def queue(self, indices: Sequence[int], call: Call) -> None:
        """Queues one call that stands for these requests."""
        self._as_one[indices[0]] = indices
        self.submit([Entry(indices[0], call, self.deadline, self.caller)])

    def cancel(self, index: int | None = None) -> None:
        """Takes one request, or all, out of the queue. Each is answered as Cancelled, unless it is being computed."""
        if self._submission is not None:
            self._dispatcher.cancel(self._submission, index)

    def close(self) -> None:
        """Ends the work and cancels all requests: nobody waits for them any more."""
        self._resume = None
        self.work.close()
        self.cancel()

    def _settle(self, index: int, outcome: Outcome) -> None:
        indices = self._as_one.pop(index, (index,))
        self.queued_count -= len(indices)
        try:
            self.answer(indices, outcome)
        finally:
            if self._resume is not None and self.queued_count <= self._resume_at:
                resume, self._resume = self._resume, None
                resume()


def _no_work() -> Work:
    yield from ()


class Request(Protocol):
    """A unary RPC that is not completed."""

    spec: LossSpec
    message: Encoded
    deadline: float | None  # on the dispatcher's clock
    caller: str
    hold: Hold | None
    cancel: Callable[[], object] | None  # takes the request out of the queue; None if it is not queued
    code: str  # of its status; empty until it is answered or nobody waits for it

    def answer(self, outcome: bytes | CallError) -> None:
        """Receives the LossResponse or the error."""


class UnaryRequests(Requests):
    """Unary RPCs of one loss, of any callers."""

    def __init__(self, dispatcher: Dispatcher, requests: Sequence[Request]) -> None:
        first = requests[0]
        super().__init__(dispatcher, first.spec, [request.message for request in requests], first.caller)
        self._requests = requests

    def answer(self, indices: Sequence[int], outcome: Outcome) -> None:
        """See Requests."""
        for index, encoded in zip(indices, responses.responses(outcome, len(indices)), strict=True):
            self._requests[index].answer(encoded)

    def timely(self, indices: Sequence[int], now: float) -> Sequence[int]:
        """See Requests."""
        requests = self._requests
        return [i for i in indices if not requests[i].code and ((deadline := requests[i].deadline) is None or deadline > now)]

    def terms(self, index: int) -> tuple[float | None, str]:
        """See Requests."""
        request = self._requests[index]
        if request.code:
            raise cancelled()
        return request.deadline, request.caller

    def make_room(self, index: int, nbytes: int) -> None:
        """See Requests."""
        hold = self._requests[index].hold
        assert hold is not None
        hold.grow(nbytes)

    def submit(self, entries: list[Entry]) -> None:
        """See Requests."""
        for entry in entries:
            self._requests[entry.index].cancel = partial(self.cancel, entry.index)
        super().submit(entries)
