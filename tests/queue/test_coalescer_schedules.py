# SPDX-License-Identifier: Apache-2.0
"""Random schedules of the queue: each step is checked against a list of the calls that wait, and no call is lost or answered twice."""

import random
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from lossd_server.queue.coalescer import Coalescer, Full, Ticket


class Schedules(RuleBasedStateMachine):
    """Whatever is done to the queue, a list of the calls that wait says what may happen next."""

    tickets = Bundle("tickets")
    LIMITS: ClassVar = {"max_batch_bytes": 20, "max_batch_elements": 8, "max_queue_bytes": 90}

    def __init__(self) -> None:
        super().__init__()
        self.queue: Coalescer[int] = Coalescer(**self.LIMITS)
        self.now = 0.0
        self.waiting: dict[int, Ticket[int]] = {}  # in the order of arrival
        self.left: set[int] = set()
        self.count = 0

    @rule(
        target=tickets,
        key=st.sampled_from("ABC"),
        nbytes=st.integers(0, 25),
        elements=st.integers(1, 10),
        cost_seconds=st.sampled_from([0.0, 0.1, 1.0, 30.0]),
        ttl=st.none() | st.integers(0, 5),
        caller=st.sampled_from(["", "x", "y"]),
    )
    def add(self, key: str, nbytes: int, elements: int, cost_seconds: float, ttl: int | None, caller: str) -> Ticket[int] | None:
        free = self.LIMITS["max_queue_bytes"] - nbytes - sum(ticket.nbytes for ticket in self.waiting.values())
        fits = not self.waiting or nbytes + sum(ticket.nbytes for ticket in self.waiting.values() if ticket.caller == caller) <= free
        self.count += 1
        deadline = None if ttl is None else self.now + ttl
        arguments = {"key": key, "nbytes": nbytes, "elements": elements, "cost_seconds": cost_seconds, "deadline": deadline}
        if not fits:
            with pytest.raises(Full):
                self.queue.add(self.count, caller=caller, **arguments)  # type: ignore[arg-type]
            return None
        ticket = self.queue.add(self.count, caller=caller, **arguments)  # type: ignore[arg-type]
        self.waiting[self.count] = ticket
        return ticket

    @rule(ticket=consumes(tickets))
    def cancel(self, ticket: Ticket[int] | None) -> None:
        if ticket is not None:
            item = ticket.item
            assert self.queue.cancel(ticket) == (item in self.waiting)
            if item is not None:
                self._leaves(item)

    @rule(seconds=st.integers(1, 4))
    def advance(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self._expired(self.queue.expire(self.now))

    @precondition(lambda self: self.waiting)
    @rule()
    def poll(self) -> None:
        poll = self.queue.poll(self.now)
        self._expired(poll.expired)
        assert bool(poll.batch) == bool(self.waiting), "work-conserving"
        if not poll.batch:
            return
        calls = [self.waiting[item] for item in poll.batch]
        (key,) = {call.key for call in calls}
        nbytes, elements = sum(call.nbytes for call in calls), sum(call.elements for call in calls)
        assert len(calls) == 1 or (nbytes <= self.LIMITS["max_batch_bytes"] and elements <= self.LIMITS["max_batch_elements"])
        for caller in {call.caller for call in self.waiting.values()}:
            in_order = [item for item, call in self.waiting.items() if (call.key, call.caller) == (key, caller)]
            taken = [call.sequence for call in calls if call.caller == caller]
            assert taken == [self.waiting[item].sequence for item in in_order[: len(taken)]], "first come, first served"
            for item in in_order[len(taken) : len(taken) + 1]:
                call = self.waiting[item]
                full = call.nbytes + nbytes > self.LIMITS["max_batch_bytes"] or call.elements + elements > self.LIMITS["max_batch_elements"]
                assert full, "a batch takes all that fits"
        behind = [call for item, call in self.waiting.items() if call.key == key and item not in poll.batch]
        assert bool(poll.limit) == bool(behind), "a limit is named where it kept calls out, and only there"
        for item in poll.batch:
            self._leaves(item)

    def teardown(self) -> None:
        while self.waiting:
            self.poll()
        assert self.queue.poll(self.now) == type(self.queue.poll(self.now))([], [], None)

    @invariant()
    def the_books_agree(self) -> None:
        assert self.queue.queued_calls == len(self.waiting)
        assert self.queue.queued_bytes == sum(ticket.nbytes for ticket in self.waiting.values())
        deadlines = [ticket.deadline for ticket in self.waiting.values() if ticket.deadline is not None]
        assert self.queue.wake_at == min(deadlines, default=None)

    def _expired(self, items: list[int]) -> None:
        due = {item for item, ticket in self.waiting.items() if ticket.deadline is not None and ticket.deadline <= self.now}
        assert set(items) == due
        for item in items:
            self._leaves(item)

    def _leaves(self, item: int) -> None:
        del self.waiting[item]
        assert item not in self.left, "answered twice"
        self.left.add(item)


Schedules.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_schedules = Schedules.TestCase


@pytest.mark.parametrize("seed", range(3))
def test_long_random_schedules_lose_nothing_and_answer_nothing_twice(seed: int) -> None:
    dice = random.Random(seed)
    queue: Coalescer[int] = Coalescer(max_batch_bytes=100, max_batch_elements=20, max_queue_bytes=2000)
    tickets: dict[int, Ticket[int]] = {}
    accepted: set[int] = set()
    left: list[int] = []
    for item in range(5000):
        try:
            tickets[item] = queue.add(
                item,
                key=dice.choice("ABCDEFGH"),
                nbytes=dice.choice([1, 10, 90, 300]),
                cost_seconds=dice.random() ** 4,
                deadline=item + dice.randrange(200) if dice.random() < 0.5 else None,
                caller=dice.choice("xyz"),
            )
            accepted.add(item)
        except Full:
            pass
        if dice.random() < 0.1 and queue.cancel(tickets[dead := dice.choice(list(tickets))]):
            left.append(dead)
        if dice.random() < 0.3:
            poll = queue.poll(item)
            left += poll.batch + poll.expired
    while queue.queued_calls:
        left += queue.poll(5000.0).batch
        left += queue.expire(5000.0)
    assert sorted(left) == sorted(accepted)
