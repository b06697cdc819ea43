# SPDX-License-Identifier: Apache-2.0
"""The queue, with a clock that is moved by hand: scripts with expected output, and random schedules against invariants.

The scripts in testdata/coalescer are read as: commands, a line of dashes, what they print, an empty line. To write the
outputs anew after a deliberate change, run with REWRITE=1 and read the difference.
"""

import os
import random
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from lossd_server.queue.coalescer import Coalescer, Full, Ticket

SCRIPTS = sorted((Path(__file__).parents[1] / "testdata" / "coalescer").glob("*.txt"))
MIB = 1 << 20


def test_a_poll_with_a_bound_on_the_cost_takes_what_is_below_it_in_the_order_of_turns() -> None:
    queue: Coalescer[str] = Coalescer()
    for name, key, cost, caller in (
        ("a", "k", 5.0, "x"),
        ("b", "l", 1.0, "x"),
        ("c", "l", 1.0, "x"),
        ("d", "l", 1.0, "y"),
        ("e", "m", 9.0, "y"),
    ):
        queue.add(name, key=key, nbytes=1, cost_seconds=cost, caller=caller)
    assert queue.poll(0.0, below_seconds=2.5).batch == ["b", "c"]
    assert queue.poll(0.0, below_seconds=1.0).batch == []
    assert queue.poll(0.0, below_seconds=2.5).batch == ["d"]
    assert queue.poll(0.0, below_seconds=2.5).batch == []
    assert sorted(queue.poll(0.0).batch + queue.poll(0.0).batch) == ["a", "e"]
    assert queue.queued_calls == 0


# ---- scripts


class Interpreter:
    """One queue and its clock, driven by lines of text."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue: Coalescer[str] = Coalescer()
        self.tickets: dict[str, Ticket[str]] = {}

    def run(self, line: str) -> str:
        command, *words = line.split()
        names = [word for word in words if "=" not in word]
        options = {name: value for name, _, value in (word.partition("=") for word in words if "=" in word)}
        return str(getattr(self, command)(*names, **options))

    def limits(self, **limits: str) -> str:
        self.queue = Coalescer(**{f"max_{name}": int(value) for name, value in limits.items()})
        return ""

    def add(self, *names: str, key: str, bytes: str = "1", elements: str = "1", cost: str = "1", ttl: str = "", caller: str = "") -> str:
        full = []
        for name in names:
            try:
                self.tickets[name] = self.queue.add(
                    name,
                    key=key,
                    nbytes=int(bytes),
                    elements=int(elements),
                    cost_seconds=float(cost),
                    deadline=self.now + float(ttl) if ttl else None,
                    caller=caller,
                )
            except Full:
                full.append(name)
        return f"full: {' '.join(full)}" if full else ""

    def cancel(self, *names: str) -> str:
        gone = [name for name in names if not self.queue.cancel(self.tickets[name])]
        return f"not queued: {' '.join(gone)}" if gone else ""

    def advance(self, seconds: str) -> str:
        self.now += float(seconds)
        return ""

    def poll(self, times: str = "1") -> str:
        lines = []
        for _ in range(int(times)):
            poll = self.queue.poll(self.now)
            parts = [f"batch: {' '.join(poll.batch) or '-'}"]
            parts += [f"expired: {' '.join(poll.expired)}"] if poll.expired else []
            parts += [f"wake at: {poll.wake_at:g}"] if poll.wake_at is not None else []
            lines.append("; ".join(parts))
        return "\n".join(lines)

    def expire(self) -> str:
        return f"expired: {' '.join(self.queue.expire(self.now)) or '-'}"

    def show(self) -> str:
        return f"{self.queue.queued_calls} calls, {self.queue.queued_bytes} bytes"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    replayed = []
    for block in path.read_text().strip().split("\n\n"):
        if all(line.startswith("#") for line in block.splitlines()):
            replayed.append(block)
            continue
        commands = block.partition("\n----")[0]
        if "\nlimits" in f"\n{commands}":
            interpreter = Interpreter()
        output = [interpreter.run(line) for line in commands.splitlines() if not line.startswith("#")]
        replayed.append("\n".join([commands, "----", *filter(None, output)]))
    text = "\n\n".join(replayed) + "\n"
    if os.environ.get("REWRITE"):
        path.write_text(text)
    assert text == path.read_text()


# ---- properties that scripts cannot show


def add(queue: Coalescer[int], item: int, key: str = "k", nbytes: int = 1, **more: object) -> Ticket[int]:
    return queue.add(item, key=key, nbytes=nbytes, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("heavy", "light"), [({"key": "heavy"}, {"key": "light"}), ({"caller": "heavy"}, {"caller": "light"})])
def test_a_stream_of_calls_that_never_ends_does_not_starve_a_call_that_waits(heavy: dict[str, str], light: dict[str, str]) -> None:
    """The light calls drain with every batch, so they always come back as newcomers; their cost must count all the same."""
    queue: Coalescer[int] = Coalescer(max_batch_elements=1)
    heavy, light = {"key": "h", **heavy}, {"key": "l", **light}
    for item in range(3):
        add(queue, item, cost_seconds=10.0, **heavy)
    served = queue.poll(0.0).batch
    for item in range(100, 200):
        add(queue, item, cost_seconds=1.0, **light)
        served += queue.poll(0.0).batch
    first, *others = [served.index(item) for item in range(3)]
    assert first == 0
    for position in others:
        assert position - first <= 22
        first = position


def test_a_light_key_waits_for_one_batch_of_a_heavy_one_at_most() -> None:
    queue: Coalescer[int] = Coalescer(max_queue_bytes=1 << 40)
    for item in range(100):
        add(queue, item, "heavy", 64 * MIB, cost_seconds=0.1, elements=16 * MIB)
    for item in range(1000, 1050):
        add(queue, item, "light", 1024, cost_seconds=1e-6)
        batches = [queue.poll(0.0).batch for _ in range(2)]
        assert [item] in batches


def test_backlogged_callers_get_equal_shares_of_the_devices_time() -> None:
    costs = {"a": 5.0, "b": 1.0, "c": 1.0, "d": 0.5}
    queue: Coalescer[tuple[str, float]] = Coalescer(max_batch_elements=1)
    for caller, cost in costs.items():
        for _ in range(1000):
            queue.add((caller, cost), key=caller, nbytes=1, cost_seconds=cost, caller=caller)
    shares: dict[str, float] = defaultdict(float)
    for _ in range(600):
        ((caller, cost),) = queue.poll(0.0).batch
        shares[caller] += cost
    assert max(shares.values()) - min(shares.values()) <= 2 * max(costs.values())


def test_a_crowd_of_callers_is_served_in_turns_however_many_calls_each_has() -> None:
    queue: Coalescer[int] = Coalescer(max_batch_elements=1)
    for caller in range(20):
        for _ in range(100 if caller == 0 else 2):
            add(queue, caller, caller=str(caller))
    first_forty = [queue.poll(0.0).batch[0] for _ in range(40)]
    assert sorted(first_forty) == sorted(list(range(20)) * 2)


def test_calls_that_left_before_their_deadline_leave_no_garbage() -> None:
    queue: Coalescer[int] = Coalescer()
    for item in range(20_000):
        ticket = add(queue, item, key=str(item), deadline=item + 1e9, caller=str(item % 7))
        if item % 3:
            assert queue.cancel(ticket)
        else:
            assert queue.poll(item).batch == [item]
    stay = add(queue, -1, deadline=1e9)
    for item in range(20_000):  # with company: the caller's own heap must not grow either
        queue.cancel(add(queue, item, key=str(item), deadline=1e9))
    assert queue.queued_calls == 1
    assert len(queue._deadlines) < 100
    assert len(queue._callers) == 1
    assert len(queue._callers[""].order) < 100
    assert len(queue._callers[""].flows) == 1
    assert queue.cancel(stay)
    assert (queue.queued_calls, queue.queued_bytes, queue.wake_at) == (0, 0, None)


# ---- random schedules against a dumb version


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
