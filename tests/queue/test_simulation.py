# SPDX-License-Identifier: Apache-2.0
"""The simulation of tests/bench: its books balance, and time runs forward."""

from itertools import pairwise

import pytest

from bench.simulation import Device, Policy, Traffic, simulate

DEVICE = Device(fixed_seconds=1e-4, seconds_per_element=1e-8)

TRAFFIC = {
    "poisson": Traffic(rate=20_000.0),
    "many keys": Traffic(rate=20_000.0, keys=7),
    "bursts": Traffic(rate=5_000.0, burst=50, keys=2),
    "clients": Traffic(clients=64, keys=3),
}
POLICIES = {"no timer": Policy(), "a timer": Policy(5e-3, full_calls=16)}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("traffic", TRAFFIC.values(), ids=TRAFFIC)
def test_every_call_is_served_once_and_time_runs_forward(traffic: Traffic, policy: Policy) -> None:
    run = simulate(traffic, DEVICE, policy, calls=1000)
    assert len(run.calls) == 1000
    for call in run.calls:
        assert 0 <= call.arrived_at <= call.started_at < call.ended_at
    # Each call counts 1 / its batch's size: the sum over all calls is the number of batches.
    assert sum(1 / call.calls_in_batch for call in run.calls) == pytest.approx(len(run.batches))
    for start, end, _ in run.batches:
        assert end > start
    for (_, end, queued), (start, _, _) in pairwise(run.batches):
        assert start >= end, "one batch at a time"
        assert start == end or not queued, "a free device takes what is queued"


@pytest.mark.parametrize("traffic", TRAFFIC.values(), ids=TRAFFIC)
def test_equal_seeds_give_equal_runs(traffic: Traffic) -> None:
    first, second = (simulate(traffic, DEVICE, Policy(1e-3), calls=200, seed=5) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("hold_seconds", [0.0, 1e-3, 1e-2])
def test_a_lone_caller_waits_for_the_timer_and_for_nothing_else(hold_seconds: float) -> None:
    run = simulate(Traffic(clients=1, elements=100), DEVICE, Policy(hold_seconds), calls=20)
    assert run.median_latency == pytest.approx(hold_seconds + DEVICE.seconds(100))
    assert run.calls_per_batch == 1


def test_a_full_batch_does_not_wait_for_the_timer() -> None:
    run = simulate(Traffic(clients=16), DEVICE, Policy(1.0, full_calls=16), calls=160)
    assert run.p99_latency < 0.01
    assert run.calls_per_batch == 16
