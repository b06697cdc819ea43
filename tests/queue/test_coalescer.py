# SPDX-License-Identifier: Apache-2.0
"""What the queue promises: no call starves, callers share the device's time, and a call that leaves costs no memory."""

from collections import defaultdict

import pytest

from lossd_server.queue.coalescer import Coalescer, Ticket

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
