# SPDX-License-Identifier: Apache-2.0
"""Calls that the dispatcher does not compute: they expire, are cancelled, find the queue full, or are abandoned. In virtual time."""

import asyncio

import pytest

from lossd_server.call import CALL_OVERHEAD_BYTES
from lossd_server.errors import Cancelled, DeadlineExceeded, QueueFull
from lossd_server.queue.submission import Entry, Submission
from support.dispatcher_harness import Harness, errors, in_virtual_time, make_call, settled, values


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
async def test_a_full_queue_refuses_at_once_and_accepts_more_when_it_has_room() -> None:
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
async def test_abandoning_settles_everything_queued_and_lets_the_running_batch_end() -> None:
    harness = Harness()
    running = harness.submit(make_call())
    queued = harness.submit(make_call(), make_call(key="another"), timeout=1.0)
    harness.dispatcher.abandon(lambda: QueueFull("gone", retry_after_seconds=1.0))
    assert errors(queued) == [QueueFull, QueueFull]
    await harness.finish()
    assert values(running) == [1.0]
    assert harness.nothing_left()
