# SPDX-License-Identifier: Apache-2.0
"""Which calls the dispatcher computes together, when, and how it answers them. In virtual time."""

import asyncio

import numpy as np

from lossd_server.call import CALL_OVERHEAD_BYTES, Success
from lossd_server.metrics import Metrics
from lossd_server.queue.dispatcher import INLINE_BELOW_SECONDS
from lossd_server.queue.submission import Entry, Submission
from support.dispatcher_harness import Harness, in_virtual_time, make_call, settled, values


@in_virtual_time
async def test_an_idle_device_starts_at_once_and_calls_gather_while_it_is_busy() -> None:
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
async def test_the_calls_of_one_message_share_a_batch_even_if_no_call_waits() -> None:
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
async def test_execution_times_are_read_from_the_clock() -> None:
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
