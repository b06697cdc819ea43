# SPDX-License-Identifier: Apache-2.0
"""The dispatcher and its device: one that is lost or stuck, one with two slots, and long calls beside others. In virtual time."""

import asyncio
from collections.abc import Sequence

import pytest

from lossd_server.call import Call
from lossd_server.compute.device import Done, Results
from lossd_server.errors import DeviceLost, DeviceUnavailable
from lossd_server.queue.dispatcher import LONG_FROM_SECONDS
from support.dispatcher_harness import FakeDevice, Harness, errors, in_virtual_time, make_call, settled, values


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
async def test_without_a_device_queued_calls_and_later_ones_fail() -> None:
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
async def test_only_further_long_calls_wait_for_a_long_one() -> None:
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
