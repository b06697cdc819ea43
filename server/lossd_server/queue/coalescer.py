# SPDX-License-Identifier: Apache-2.0
"""The request-coalescing queue. Pure: times are arguments, and there is no clock, thread, event loop or tensor in it.

Policy:

- Late binding: nothing is grouped until a device asks. `poll` then takes everything of one key that fits a batch.
- Keys take turns by age and cost: a key that was served waits until the others together have had as much time, so A,B,A,B becomes
  AA,BB, a large call delays a small one by one batch at most, and small calls cannot keep a large one waiting for ever.
- Callers take turns first, each with an equal share of the device's time (start-time fair queueing); a batch for one caller's
  turn is filled up with other callers' calls of its key, whose cost counts towards those callers' shares.
- Within a key and a caller, calls are served in the order of their arrival.
- A caller may hold at most as many bytes of the queue as are then left free: half of the queue if it is alone.
- There is no timer: every queued call is ready at once, and a single call never waits for others.

Every call that was added leaves exactly once: in a batch, as expired, or by `cancel`.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


class Full(Exception):  # noqa: N818 - an outcome, not a failure
    """The queue is full, or the caller holds its share of it; nothing was added."""


@dataclass(slots=True, eq=False)
class Ticket(Generic[T]):
    """A queued call. `item` belongs to the code that queued the call; it is None once the call has left."""

    item: T | None
    key: Hashable
    caller: str
    nbytes: int
    elements: int
    cost_seconds: float
    deadline: float | None
    sequence: int


@dataclass(slots=True, eq=False)
class _Flow(Generic[T]):
    """The calls of one key and caller. `turn` is the time on its caller's clock at which it is served next."""

    key: Hashable
    turn: float
    tickets: "OrderedDict[int, Ticket[T]]" = field(default_factory=OrderedDict)


@dataclass(slots=True, eq=False)
class _Caller(Generic[T]):
    """A caller's flows. `order` holds every non-empty flow once, by turn and age, and flows that became empty.

    `turn` is the time on the coalescer's clock at which the caller is served next: its first call's, and its costs since.
    That clock advances by the cost of every batch, shared by the callers that wait. `clock` is the sum of the caller's costs.
    """

    turn: float
    clock: float = 0.0
    nbytes: int = 0
    flows: "dict[Hashable, _Flow[T]]" = field(default_factory=dict)
    order: "list[tuple[float, int, _Flow[T]]]" = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Poll(Generic[T]):
    """What to do now: a batch to compute (empty if there is none), calls to answer as expired, and when to poll again.

    `limit` is "max_bytes" or "max_elements" if that limit kept calls of the batch's key out of it, else empty.
    """

    batch: list[T]
    expired: list[T]
    wake_at: float | None
    limit: str = ""


class Coalescer(Generic[T]):
    """See the module docstring. Times are seconds on any one monotonic clock."""

    def __init__(
        self,
        *,
        max_batch_bytes: int = 2 << 20,
        max_batch_elements: int = 16 << 20,
        max_queue_bytes: int = 512 << 20,
    ) -> None:
        self._max_batch_bytes = max_batch_bytes
        self._max_batch_elements = max_batch_elements
        self._max_queue_bytes = max_queue_bytes
        self._callers: dict[str, _Caller[T]] = {}
        self._clock = 0.0
        self._deadlines: list[tuple[float, int, Ticket[T]]] = []
        self._sequence = 0
        self.queued_calls = 0
        self.queued_bytes = 0

    def add(
        self,
        item: T,
        *,
        key: Hashable,
        nbytes: int,
        elements: int = 1,
        cost_seconds: float = 1.0,
        deadline: float | None = None,
        caller: str = "",
    ) -> Ticket[T]:
        """Queues a call. Raises Full, unless the queue is empty: then a call of any size is taken."""
        owner = self._callers.get(caller)
        held = nbytes if owner is None else nbytes + owner.nbytes
        if self.queued_calls and held > self._max_queue_bytes - self.queued_bytes - nbytes:
            raise Full
        self._sequence = sequence = self._sequence + 1
        ticket = Ticket(item, key, caller, nbytes, elements, cost_seconds, deadline, sequence)
        if owner is None:
            owner = self._callers[caller] = _Caller(self._clock)
        owner.nbytes = held
        flow = owner.flows.get(key)
        if flow is None:
            flow = owner.flows[key] = _Flow(key, owner.clock)
            if len(owner.order) > 2 * len(owner.flows) + 64:
                owner.order = [entry for entry in owner.order if entry[2].tickets]
                heapq.heapify(owner.order)
            heapq.heappush(owner.order, (flow.turn, sequence, flow))
        flow.tickets[sequence] = ticket
        self.queued_calls += 1
        self.queued_bytes += nbytes
        if deadline is not None:
            self._push_deadline(deadline, sequence, ticket)
        return ticket

    def cancel(self, ticket: Ticket[T]) -> bool:
        """Takes a call out. Returns whether it was still queued."""
        if ticket.item is None:
            return False
        self._leave(ticket)
        return True

    def expire(self, now: float) -> list[T]:
        """Takes out and returns the calls whose deadline has passed."""
        expired: list[T] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            ticket = heapq.heappop(self._deadlines)[2]
            if ticket.item is not None:
                expired.append(ticket.item)
                self._leave(ticket)
        return expired

    def poll(self, now: float, below_seconds: float = math.inf) -> Poll[T]:
        """Takes out the expired calls and the next batch for a free device, which costs less than `below_seconds`."""
        expired = self.expire(now)
        batch, limit = self._take(below_seconds) if self._callers else ([], "")
        return Poll(batch, expired, self.wake_at, limit)

    @property
    def wake_at(self) -> float | None:
        """When the next call expires. None if no call has a deadline."""
        while self._deadlines and self._deadlines[0][2].item is None:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    # Implementation details follow.

    def _take(self, below_seconds: float) -> tuple[list[T], str]:
        names = list(self._callers) if len(self._callers) == 1 else sorted(self._callers, key=lambda name: self._callers[name].turn)
        for first in names:
            key = _first_key(self._callers[first], below_seconds)
            if key is not None:
                break
        else:
            return [], ""
        others, turn = [name for name in names if name != first], self._callers[first].turn
        batch: list[T] = []
        limit = ""
        room_bytes, room_elements, cost_seconds = self._max_batch_bytes, self._max_batch_elements, 0.0
        for name in (first, *others):
            owner = self._callers[name]
            flow = owner.flows.get(key)
            if flow is None:
                continue
            cost = 0.0
            while flow.tickets:
                ticket = next(iter(flow.tickets.values()))
                if cost_seconds + cost + ticket.cost_seconds >= below_seconds:
                    break
                if batch and (ticket.nbytes > room_bytes or ticket.elements > room_elements):
                    limit = "max_bytes" if ticket.nbytes > room_bytes else "max_elements"
                    break
                room_bytes -= ticket.nbytes
                room_elements -= ticket.elements
                cost += ticket.cost_seconds
                batch.append(ticket.item)  # type: ignore[arg-type]
                self._leave(ticket)
            if cost:
                self._charge(owner, flow, cost)
                cost_seconds += cost
        self._clock = max(self._clock, turn) + cost_seconds / max(1, len(self._callers))
        return batch, limit

    def _charge(self, owner: _Caller[T], flow: _Flow[T], cost: float) -> None:
        owner.turn += cost
        owner.clock += cost
        if flow.tickets:  # it is served after the others
            flow.turn = owner.clock + cost
            owner.order = [entry for entry in owner.order if entry[2] is not flow and entry[2].tickets]
            heapq.heapify(owner.order)
            heapq.heappush(owner.order, (flow.turn, next(iter(flow.tickets)), flow))

    def _leave(self, ticket: Ticket[T]) -> None:
        owner = self._callers[ticket.caller]
        flow = owner.flows[ticket.key]
        del flow.tickets[ticket.sequence]
        if not flow.tickets:
            del owner.flows[ticket.key]
            if not owner.flows:
                del self._callers[ticket.caller]
        owner.nbytes -= ticket.nbytes
        ticket.item = None
        self.queued_calls -= 1
        self.queued_bytes -= ticket.nbytes

    def _push_deadline(self, deadline: float, sequence: int, ticket: Ticket[T]) -> None:
        heapq.heappush(self._deadlines, (deadline, sequence, ticket))
        if len(self._deadlines) > 2 * self.queued_calls + 64:  # most entries are of calls that left long before their deadline
            self._deadlines = [entry for entry in self._deadlines if entry[2].item is not None]
            heapq.heapify(self._deadlines)


def _first_key(owner: _Caller[T], below_seconds: float) -> Hashable | None:
    """The key of the caller's flow that is served next, of those whose next call costs less than `below_seconds`."""
    while not owner.order[0][2].tickets:
        heapq.heappop(owner.order)
    if below_seconds == math.inf or _next_cost(owner.order[0][2]) < below_seconds:
        return owner.order[0][2].key
    entries = [entry for entry in owner.order if entry[2].tickets and _next_cost(entry[2]) < below_seconds]
    return min(entries)[2].key if entries else None


def _next_cost(flow: _Flow[T]) -> float:
    return next(iter(flow.tickets.values())).cost_seconds
