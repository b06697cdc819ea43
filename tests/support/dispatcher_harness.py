# SPDX-License-Identifier: Apache-2.0
"""A dispatcher in virtual time, with a device that computes when a test tells it to."""

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from lossd_server.call import Answer, Call, Statistics
from lossd_server.compute.device import Done, Results
from lossd_server.queue.coalescer import Coalescer
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Entry, Submission
from lossd_server.queue.time_slices import TimeSlices
from support.encoded_requests import call_of
from support.virtual_time import run


def make_call(size: int = 1, *, cost_seconds: float = 5e-4, reduction: str = "mean", **changes: Any) -> Call:
    """A call that the event loop would not compute itself, unless it is made cheap."""
    values = np.zeros(size, np.float32)
    return dataclasses.replace(call_of("mse_loss", input=values, target=values, reduction=reduction), cost_seconds=cost_seconds, **changes)


class FakeDevice:
    """Holds the batch that it was given until `finish`. The answer to a call is its number of elements."""

    name = "fake"
    is_cpu = True
    slots = 1

    def __init__(self, replacements: int = 1) -> None:
        self.batches: list[Sequence[Call]] = []
        self.inline: list[Sequence[Call]] = []
        self.replacements = replacements
        self._done: Done | None = None

    def run_inline(self, calls: Sequence[Call]) -> Results:
        assert self._done is None, "never both at a time"
        self.inline.append(calls)
        return self._results(calls)

    def start(self, calls: Sequence[Call], done: Done) -> None:
        assert self._done is None, "one batch at a time"
        self.batches.append(calls)
        self._done = done

    def finish(self, results: Results | None = None, *, lost: bool = False) -> None:
        done, self._done = self._done, None
        assert done is not None
        done(None if lost else results or self._results(self.batches[-1]))

    def forget(self) -> Done:
        """The batch never comes back. Returns what would bring it back after all."""
        done, self._done = self._done, None
        assert done is not None
        return done

    def rebuild(self) -> bool:
        self._done = None
        self.replacements -= 1
        return self.replacements >= 0

    @staticmethod
    def _results(calls: Sequence[Call]) -> Results:
        return [Answer(Statistics(0.0, 0.0, 1.0, 1, 0), value=float(call.values_count)) for call in calls]


class Observer:
    def __init__(self) -> None:
        self.batches: list[tuple[str, int]] = []
        self.reasons: list[str] = []

    def batch_computed(self, loss: str, reason: str, calls: int, compute_seconds: float, queued: Sequence[tuple[float, int]]) -> None:
        assert sum(count for _, count in queued) == calls
        self.reasons.append(reason)
        self.batches.append((loss, calls))


class Harness:
    """A dispatcher and everything around it."""

    def __init__(self, *, replacements: int = 1, device: Any = None, **limits: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.device = device or FakeDevice(replacements)
        self.observer = Observer()
        self.lost: list[bool] = []
        self.dispatcher = Dispatcher(
            Coalescer(**limits),
            self.device,
            self.observer,
            clock=self.loop.time,
            stuck_batch_seconds=60.0,
            on_device_lost=self.lost.append,
        )
        self.dispatcher.slices = TimeSlices(math.inf)

    def submit(self, *calls: Call, timeout: float | None = None, caller: str = "") -> Submission:
        submission = Submission(len(calls))
        deadline = None if timeout is None else self.loop.time() + timeout
        self.dispatcher.submit(submission, [Entry(index, call, deadline, caller) for index, call in enumerate(calls)])
        return submission

    def nothing_left(self) -> bool:
        """Whether no call is queued or being computed."""
        return not self.dispatcher.queued_calls and not self.dispatcher._running

    async def finish(self, results: Results | None = None, *, lost: bool = False) -> None:
        self.device.finish(results, lost=lost)
        await asyncio.sleep(0)  # the result comes over call_soon_threadsafe


def settled(submission: Submission) -> bool:
    """Whether every call has its outcome."""
    return None not in submission.outcomes


def values(submission: Submission) -> list[float]:
    assert settled(submission)
    return [outcome.answer.value for outcome in submission.outcomes]  # type: ignore[union-attr, misc]


def errors(submission: Submission) -> list[type]:
    return [type(outcome) for outcome in submission.outcomes]


Scenario = Callable[[], Awaitable[None]]


def in_virtual_time(scenario: Scenario) -> Callable[[], None]:
    def test() -> None:
        run(scenario())  # type: ignore[arg-type]

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test
