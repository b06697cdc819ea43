# SPDX-License-Identifier: Apache-2.0
"""The dispatcher, with a device that computes when a test tells it to, in virtual time."""

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from lossd_server.call import CALL_OVERHEAD_BYTES, Answer, Call, Statistics, Success
from lossd_server.compute.device import Done, Results
from lossd_server.errors import Cancelled, DeadlineExceeded, DeviceLost, DeviceUnavailable, QueueFull
from lossd_server.metrics import Metrics
from lossd_server.queue.coalescer import Coalescer
from lossd_server.queue.dispatcher import INLINE_BELOW_SECONDS, LONG_FROM_SECONDS, Dispatcher
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


@in_virtual_time
async def test_an_idle_device_starts_at_once_and_a_busy_one_lets_calls_gather() -> None:
    harness = Harness()
    first = harness.submit(make_call(1))
    others = [harness.submit(make_call(size)) for size in (2, 3, 4)]
    assert [len(batch) for batch in harness.device.batches] == [1]
    assert harness.dispatcher.queued_calls == 3
    await harness.finish()
    assert values(first) == [1.0]
    assert [len(batch) for batch in harness.device.batches] == [1, 3]
    await harness.finish()
    assert [values(submission) for submission in others] == [[2.0], [3.0], [4.0]]
    assert others[0].outcomes[0].execution.calls_in_batch == 3  # type: ignore[union-attr]
    assert harness.observer.batches == [("mse_loss", 1), ("mse_loss", 3)]
    assert harness.nothing_left()


@in_virtual_time
async def test_every_batch_has_a_reason() -> None:
    """A call that found the device idle; calls that gathered while it was busy; one that a limit had kept out of a batch."""
    harness = Harness(max_batch_elements=4)
    for size in (1, 2, 2, 2):
        harness.submit(make_call(size))
    for _ in range(3):
        await harness.finish()
    assert harness.observer.reasons == ["idle", "max_elements", "freed"]
    assert [len(batch) for batch in harness.device.batches] == [1, 2, 1]
    harness.submit(make_call(1))
    await harness.finish()
    assert harness.observer.reasons[3:] == ["idle"]

    harness = Harness(max_batch_bytes=2 * (8 + CALL_OVERHEAD_BYTES))
    harness.submit(*[make_call(1, cost_seconds=0.0) for _ in range(3)])
    assert harness.observer.reasons == ["max_bytes", "freed"], "computed at once, one after the other"


def test_the_reasons_are_counted() -> None:
    metrics = Metrics()
    for reason in ("idle", "freed", "freed"):
        metrics.batch_computed("l1_loss", reason, 1, 0.0, ())
    counts = [metrics.registry.get_sample_value("lossd_batches_total", {"reason": reason}) for reason in ("idle", "freed", "max_bytes")]
    assert counts == [1.0, 2.0, 0.0]


@in_virtual_time
async def test_the_calls_of_one_message_share_a_batch_even_where_nothing_waits() -> None:
    harness = Harness()
    submission = harness.submit(*[make_call(size) for size in range(1, 6)])
    await harness.finish()
    assert values(submission) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert harness.observer.batches == [("mse_loss", 5)]


@in_virtual_time
async def test_a_cheap_batch_is_computed_before_submit_returns_and_an_expensive_one_is_not() -> None:
    harness = Harness()
    assert values(harness.submit(make_call(7, cost_seconds=INLINE_BELOW_SECONDS / 2))) == [7.0]
    assert not settled(harness.submit(make_call(7, cost_seconds=INLINE_BELOW_SECONDS)))
    assert (len(harness.device.inline), len(harness.device.batches)) == (1, 1)
    cheap = harness.submit(make_call(8, cost_seconds=0.0))
    assert not settled(cheap), "the device computes one batch at a time"
    await harness.finish()
    assert values(cheap) == [8.0]


@in_virtual_time
async def test_a_gpu_computes_even_the_cheapest_batch_on_its_own_thread() -> None:
    harness = Harness()
    harness.device.is_cpu = False
    assert not settled(harness.submit(make_call(cost_seconds=0.0)))
    assert not harness.device.inline


@in_virtual_time
async def test_times_are_those_of_the_clock() -> None:
    harness = Harness()
    harness.submit(make_call())
    waiting = harness.submit(make_call())
    await asyncio.sleep(3)
    await harness.finish()
    await asyncio.sleep(2)
    await harness.finish()
    execution = waiting.outcomes[0].execution  # type: ignore[union-attr]
    assert execution == (3.0, 2.0, 1, "fake")


@in_virtual_time
async def test_a_call_expires_on_time_while_the_device_is_busy_and_is_never_computed() -> None:
    harness = Harness()
    harness.submit(make_call())
    submission = harness.submit(make_call(5), timeout=1.5)
    await submission.wait()
    assert harness.loop.time() == pytest.approx(1.5)
    assert errors(submission) == [DeadlineExceeded]
    assert (harness.dispatcher.queued_calls, harness.dispatcher.queued_bytes) == (0, 0)
    await harness.finish()
    assert len(harness.device.batches) == 1


@in_virtual_time
async def test_calls_expire_each_at_its_own_time() -> None:
    harness = Harness()
    harness.submit(make_call())
    expired = []
    for timeout in (3, 1, 2):
        submission = Submission(1, lambda index, outcome, timeout=timeout: expired.append((timeout, harness.loop.time())))
        harness.dispatcher.submit(submission, [Entry(0, make_call(), float(timeout))])
    await asyncio.sleep(10)
    assert expired == [(1, pytest.approx(1)), (2, pytest.approx(2)), (3, pytest.approx(3))]


@in_virtual_time
async def test_a_call_that_arrives_expired_is_answered_at_once_even_by_an_idle_device() -> None:
    harness = Harness()
    for timeout in (0.0, -1.0):
        assert errors(harness.submit(make_call(), make_call(0), timeout=timeout)) == [DeadlineExceeded] * 2
    assert not harness.device.batches


@in_virtual_time
async def test_a_call_that_started_in_time_is_answered_though_its_deadline_passes() -> None:
    harness = Harness()
    submission = harness.submit(make_call(), timeout=1.0)
    await asyncio.sleep(5)
    await harness.finish()
    assert values(submission) == [1.0]


@in_virtual_time
async def test_cancelled_calls_leave_at_once_and_those_being_computed_run_on() -> None:
    harness = Harness()
    computing = harness.submit(make_call())
    submission = harness.submit(make_call(), make_call())
    neighbour = harness.submit(make_call(9))
    harness.dispatcher.cancel(submission)
    assert errors(submission) == [Cancelled, Cancelled]
    assert harness.dispatcher.queued_bytes == 8 * 9 + CALL_OVERHEAD_BYTES
    harness.dispatcher.cancel(submission)  # again: nothing
    harness.dispatcher.cancel(computing)
    await harness.finish()
    assert values(computing) == [1.0]
    assert len(harness.device.batches[1]) == 1
    await harness.finish()
    assert values(neighbour) == [9.0]


@in_virtual_time
async def test_a_waiter_that_is_cancelled_harms_nobody() -> None:
    harness = Harness()
    submission, neighbour = harness.submit(make_call(1), make_call(2)), harness.submit(make_call(3))
    waiter = asyncio.create_task(submission.wait())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])
    await harness.finish()
    await harness.finish()
    assert values(submission) == [1.0, 2.0]
    assert values(neighbour) == [3.0]


@in_virtual_time
async def test_a_full_queue_refuses_what_is_too_much_at_once_and_takes_more_when_it_has_room() -> None:
    each = 8 * 10 + CALL_OVERHEAD_BYTES
    harness = Harness(max_queue_bytes=2 * each)
    harness.submit(make_call(10))
    waiting, mixed = harness.submit(make_call(10)), harness.submit(make_call(10), make_call(10))
    assert errors(mixed)[1] is QueueFull
    assert isinstance(mixed.outcomes[1], QueueFull)
    assert mixed.outcomes[1].retry_after_seconds > 0
    assert not settled(waiting)
    harness.dispatcher.cancel(waiting)
    assert not settled(harness.submit(make_call(10)))
    assert errors(harness.submit(make_call(10))) == [QueueFull]


@in_virtual_time
async def test_a_flood_of_the_tiniest_calls_is_refused_too() -> None:
    harness = Harness(max_queue_bytes=100 * CALL_OVERHEAD_BYTES)
    calls = [make_call(1)] * 1000
    harness.submit(make_call(1))
    refused = sum(errors(harness.submit(call)) == [QueueFull] for call in calls)
    assert refused >= 900


@in_virtual_time
async def test_empty_batches_are_answered_by_rule_though_the_device_is_busy() -> None:
    harness = Harness()
    harness.submit(make_call())
    submission = harness.submit(*[make_call(0, reduction=reduction) for reduction in ("mean", "sum", "none")])
    assert settled(submission)
    mean, total, none = (outcome for outcome in submission.outcomes if isinstance(outcome, Success))
    assert np.isnan(mean.answer.value)
    assert total.answer.value == 0.0
    assert none.answer.values == b""
    assert {outcome.execution.calls_in_batch for outcome in (mean, total, none)} == {0}
    assert len(harness.device.batches) == 1


@in_virtual_time
async def test_outcomes_are_reported_one_by_one() -> None:
    harness = Harness()
    reported: list[int] = []
    submission = Submission(3, lambda index, outcome: reported.append(index))
    calls = [make_call(1), make_call(0), make_call(2, key="another")]
    harness.dispatcher.submit(submission, [Entry(index, call) for index, call in enumerate(calls)])
    assert reported == [1]
    await harness.finish()
    assert reported == [1, 0]
    await harness.finish()
    assert reported == [1, 0, 2]


@in_virtual_time
async def test_abandoning_settles_everything_queued_and_lets_the_running_batch_end() -> None:
    harness = Harness()
    running = harness.submit(make_call())
    queued = harness.submit(make_call(), make_call(key="another"), timeout=1.0)
    harness.dispatcher.abandon(lambda: QueueFull("gone", retry_after_seconds=1.0))
    assert errors(queued) == [QueueFull, QueueFull]
    await harness.finish()
    assert values(running) == [1.0]
    assert harness.nothing_left()


# ---- a device that is lost


@in_virtual_time
async def test_a_lost_device_fails_its_batch_is_rebuilt_and_goes_on_with_the_queue() -> None:
    harness = Harness()
    alone = harness.submit(make_call())
    queued = [harness.submit(make_call(2)), harness.submit(make_call(3))]
    await harness.finish(lost=True)
    assert errors(alone) == [DeviceLost], "it may be the cause, and must not be tried elsewhere"
    assert harness.lost == [True]
    await harness.finish()
    assert [values(submission) for submission in queued] == [[2.0], [3.0]]


@in_virtual_time
async def test_of_several_calls_at_most_one_is_to_blame_so_all_may_try_again() -> None:
    harness = Harness()
    submission = harness.submit(make_call(), make_call())
    await harness.finish(lost=True)
    assert errors(submission) == [DeviceUnavailable, DeviceUnavailable]


@in_virtual_time
async def test_a_batch_that_never_ends_is_given_up_and_what_it_says_later_is_ignored() -> None:
    harness = Harness()
    stuck, queued = harness.submit(make_call()), harness.submit(make_call(2))
    await stuck.wait()
    assert harness.loop.time() == pytest.approx(60.0)
    assert errors(stuck) == [DeviceLost]
    assert harness.lost == [True]
    await harness.finish()
    assert values(queued) == [2.0]


@in_virtual_time
async def test_a_batch_that_comes_back_after_it_was_given_up_answers_nobody_twice() -> None:
    harness = Harness()
    stuck, queued = harness.submit(make_call()), harness.submit(make_call(2))
    late = harness.device.forget()
    await stuck.wait()
    late(FakeDevice._results([make_call()]))
    await asyncio.sleep(0)
    assert errors(stuck) == [DeviceLost]
    assert not settled(queued), "the rebuilt device is still at it"
    await harness.finish()
    assert values(queued) == [2.0]


@in_virtual_time
async def test_a_batch_that_is_known_to_be_long_is_waited_for() -> None:
    harness = Harness()
    submission = harness.submit(make_call(cost_seconds=100.0))
    await asyncio.sleep(1999)
    assert not settled(submission)
    await harness.finish()
    assert values(submission) == [1.0]
    await asyncio.sleep(1000)
    assert harness.lost == []


@in_virtual_time
async def test_without_a_device_everything_queued_fails_and_so_does_all_that_comes() -> None:
    harness = Harness(replacements=0)
    alone = harness.submit(make_call())
    queued = harness.submit(make_call(), make_call(key="another"))
    await harness.finish(lost=True)
    assert harness.lost == [False]
    assert errors(alone) == [DeviceLost]
    assert errors(queued) == [DeviceUnavailable, DeviceUnavailable]
    assert errors(harness.submit(make_call())) == [DeviceUnavailable]
    assert harness.nothing_left()


class FakeGpu(FakeDevice):
    """Takes two batches at a time, and finishes them in any order."""

    is_cpu = False
    slots = 2

    def __init__(self) -> None:
        super().__init__(replacements=0)
        self.running: list[tuple[Sequence[Call], Done]] = []

    def start(self, calls: Sequence[Call], done: Done) -> None:
        assert len(self.running) < self.slots
        self.running.append((calls, done))

    def complete(self, index: int, *, lost: bool = False) -> None:
        calls, done = self.running.pop(index)
        done(None if lost else self._results(calls))


@in_virtual_time
async def test_a_device_with_two_slots_takes_the_next_batch_while_one_runs() -> None:
    harness = Harness(device=FakeGpu())
    first, second = harness.submit(make_call(1)), harness.submit(make_call(2))
    third, fourth = harness.submit(make_call(3)), harness.submit(make_call(4))
    assert [len(calls) for calls, _ in harness.device.running] == [1, 1]
    harness.device.complete(1)
    await asyncio.sleep(0)
    assert (settled(first), values(second)) == (False, [2.0])
    assert [len(calls) for calls, _ in harness.device.running] == [1, 2], "what had gathered meanwhile goes together"
    harness.device.complete(0)
    harness.device.complete(0)
    await asyncio.sleep(0)
    assert values(first) + values(third) + values(fourth) == [1.0, 3.0, 4.0]
    assert harness.nothing_left()


@in_virtual_time
async def test_a_device_that_is_lost_fails_both_its_batches_and_what_is_queued() -> None:
    harness = Harness(device=FakeGpu())
    first, second, queued = harness.submit(make_call(1)), harness.submit(make_call(2)), harness.submit(make_call(3))
    harness.device.complete(0, lost=True)
    await asyncio.sleep(0)
    assert errors(first) + errors(second) + errors(queued) == [DeviceLost, DeviceLost, DeviceUnavailable]
    assert harness.lost == [False]
    harness.device.complete(0)  # it comes back after all: nobody asks
    await asyncio.sleep(0)
    assert errors(harness.submit(make_call(4))) == [DeviceUnavailable]
    await asyncio.sleep(1000)  # nor does a timer


class FakeCpu(FakeGpu):
    """Takes one batch at a time, and a long one beside it."""

    is_cpu = True
    slots = 1

    def run_inline(self, calls: Sequence[Call]) -> Results:
        assert all(running[0].cost_seconds >= LONG_FROM_SECONDS for running, _ in self.running)
        self.inline.append(calls)
        return self._results(calls)

    def start(self, calls: Sequence[Call], done: Done) -> None:
        is_long = sum(call.cost_seconds for call in calls) >= LONG_FROM_SECONDS
        others = [sum(call.cost_seconds for call in running) >= LONG_FROM_SECONDS for running, _ in self.running]
        assert others.count(is_long) == 0, "one long batch and one other"
        self.running.append((calls, done))


@in_virtual_time
async def test_nobody_but_further_long_calls_waits_for_a_long_one() -> None:
    harness = Harness(device=FakeCpu())
    long, next_long = (harness.submit(make_call(size, cost_seconds=60.0)) for size in (1, 2))
    cheap = harness.submit(make_call(3, cost_seconds=0.0))
    assert values(cheap) == [3.0], "computed at once"
    ordinary, gathered, more = (harness.submit(make_call(size)) for size in (4, 5, 6))
    assert harness.dispatcher.queued_calls == 3
    harness.device.complete(1)
    await asyncio.sleep(0)
    assert values(ordinary) == [4.0]
    assert [len(calls) for calls, _ in harness.device.running] == [1, 2]
    harness.device.complete(1)
    await asyncio.sleep(0)
    assert values(gathered) + values(more) == [5.0, 6.0]
    assert not settled(long)
    assert harness.dispatcher.idle
    harness.device.complete(0)
    await asyncio.sleep(0)
    assert values(long) == [1.0]
    harness.device.complete(0)
    await asyncio.sleep(0)
    assert values(next_long) == [2.0]
    assert harness.nothing_left()


@in_virtual_time
async def test_many_calls_beside_a_long_one_do_not_become_a_second_long_batch() -> None:
    harness = Harness(device=FakeCpu())
    long, _ = harness.submit(make_call(cost_seconds=60.0)), harness.submit(make_call(cost_seconds=LONG_FROM_SECONDS / 2))
    others = [harness.submit(make_call(cost_seconds=LONG_FROM_SECONDS / 3)) for _ in range(4)]
    harness.device.complete(1)
    await asyncio.sleep(0)
    assert [len(calls) for calls, _ in harness.device.running] == [1, 2]
    harness.device.complete(1)
    await asyncio.sleep(0)
    harness.device.complete(1)
    await asyncio.sleep(0)
    assert all(settled(other) for other in others)
    assert not settled(long)


@in_virtual_time
async def test_a_long_batch_that_never_ends_loses_the_device() -> None:
    harness = Harness(device=FakeCpu())
    long, beside = harness.submit(make_call(cost_seconds=1.0)), harness.submit(make_call())
    await asyncio.sleep(61)
    assert errors(long) + errors(beside) == [DeviceLost, DeviceLost]
