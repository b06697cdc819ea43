# SPDX-License-Identifier: Apache-2.0
"""A discrete-event simulation of one device behind the server's own Coalescer, in virtual time.

Policies: lossd's (`hold_seconds` 0: a free device takes what is there) and a fixed timer, which holds the calls of a key back until
the first of them has waited so long or a batch of `full_calls` is there, as batching servers do. Calls that were let go wait in the
same coalescer, so both policies merge whatever gathers while the device is busy. The transport is not part of it.
"""

import heapq
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from lossd_server.queue.coalescer import Coalescer


@dataclass(frozen=True)
class Device:
    """A batch takes a fixed time, and some for each element."""

    fixed_seconds: float
    seconds_per_element: float

    def seconds(self, elements: int) -> float:
        return self.fixed_seconds + self.seconds_per_element * elements


@dataclass(frozen=True)
class Traffic:
    """Who calls when. `rate` is in calls a second; with `clients` instead each waits for its answer before its next call."""

    rate: float = 0.0
    burst: int = 1  # calls that arrive at once; bursts are a Poisson process
    clients: int = 0
    keys: int = 1  # of equal shares, at random
    elements: int = 320  # of each call


@dataclass(frozen=True)
class Policy:
    """How long the first call of a key waits for company, and when there is enough of it."""

    hold_seconds: float = 0.0
    full_calls: int = 128


@dataclass
class Call:
    """One call and what became of it."""

    key: int
    arrived_at: float
    started_at: float = -1.0
    ended_at: float = -1.0
    calls_in_batch: int = 0

    @property
    def latency(self) -> float:
        return self.ended_at - self.arrived_at


@dataclass
class Run:
    """A simulation's outcome. `batches` are (start, end, calls that stayed queued at its start)."""

    calls: list[Call] = field(default_factory=list)
    batches: list[tuple[float, float, int]] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        """Calls a second."""
        return len(self.calls) / max(call.ended_at for call in self.calls)

    @property
    def median_latency(self) -> float:
        return statistics.median(call.latency for call in self.calls)

    @property
    def p99_latency(self) -> float:
        return sorted(call.latency for call in self.calls)[int(0.99 * len(self.calls))]

    @property
    def calls_per_batch(self) -> float:
        return len(self.calls) / len(self.batches)


def simulate(traffic: Traffic, device: Device, policy: Policy, calls: int, seed: int = 1) -> Run:
    """So many calls, from the first arrival to the last answer."""
    return _Simulation(traffic, device, policy, calls, seed).run()


# Implementation details follow.


class _Simulation:
    def __init__(self, traffic: Traffic, device: Device, policy: Policy, calls: int, seed: int) -> None:
        self._traffic, self._device, self._policy, self._left = traffic, device, policy, calls
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, str, object]] = []
        self._sequence = 0
        self._queue: Coalescer[Call] = Coalescer()
        self._held: dict[int, list[Call]] = {}
        self._busy = False
        self._run = Run()

    def run(self) -> Run:
        arrivals = self._arrivals()
        self._arrive(arrivals)
        while self._events:
            now, _, event, subject = heapq.heappop(self._events)
            if event == "arrival":
                for call in subject:  # type: ignore[attr-defined]
                    self._hold(call, now)
                self._arrive(arrivals)
            elif event == "release":
                if self._held.get(subject[0].key) is subject:  # type: ignore[index]
                    self._release(subject[0].key, now)  # type: ignore[index]
            else:
                self._end(subject, now)  # type: ignore[arg-type]
            self._start(now)
        return self._run

    def _arrivals(self) -> Iterator[tuple[float, list[Call]]]:
        now = 0.0
        if self._traffic.clients:
            yield now, [self._call(now) for _ in range(min(self._traffic.clients, self._left))]
            return
        while self._left > 0:
            now += self._random.expovariate(self._traffic.rate / self._traffic.burst)
            yield now, [self._call(now) for _ in range(min(self._traffic.burst, self._left))]

    def _call(self, now: float) -> Call:
        self._left -= 1
        call = Call(self._random.randrange(self._traffic.keys), now)
        self._run.calls.append(call)
        return call

    def _arrive(self, arrivals: Iterator[tuple[float, list[Call]]]) -> None:
        for now, calls in arrivals:
            self._push(now, "arrival", calls)
            return

    def _hold(self, call: Call, now: float) -> None:
        held = self._held.setdefault(call.key, [])
        held.append(call)
        if not self._policy.hold_seconds or len(held) == self._policy.full_calls:
            self._release(call.key, now)
        elif len(held) == 1:
            self._push(now + self._policy.hold_seconds, "release", held)

    def _release(self, key: int, now: float) -> None:
        for call in self._held.pop(key):
            elements = self._traffic.elements
            cost = self._device.seconds_per_element * elements
            self._queue.add(call, key=key, nbytes=8 * elements, elements=elements, cost_seconds=cost)

    def _start(self, now: float) -> None:
        if self._busy or not self._queue.queued_calls:
            return
        batch = self._queue.poll(now).batch
        ended_at = now + self._device.seconds(self._traffic.elements * len(batch))
        for call in batch:
            call.started_at, call.calls_in_batch = now, len(batch)
        self._run.batches.append((now, ended_at, self._queue.queued_calls))
        self._busy = True
        self._push(ended_at, "end", batch)

    def _end(self, batch: list[Call], now: float) -> None:
        self._busy = False
        for call in batch:
            assert call.ended_at < 0, "served once"
            call.ended_at = now
        if self._traffic.clients:
            for _ in range(min(len(batch), self._left)):
                self._hold(self._call(now), now)

    def _push(self, time: float, event: str, subject: object) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (time, self._sequence, event, subject))
