# SPDX-License-Identifier: Apache-2.0
"""The short form of tests/chaos.py."""

import pytest

from attack.in_process import InProcess
from attack.over_grpc import attack


@pytest.mark.parametrize("messages", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_hostile_messages_are_refused_and_what_is_valid_is_computed(messages: int) -> None:
    run = InProcess(seed=messages)
    run.run(messages)
    assert run.tally.findings == []
    assert run.tally.counts["computed"] > messages // 10
    assert run.tally.counts["error INVALID_ARGUMENT"] > messages // 3


@pytest.mark.slow
def test_honest_callers_among_hostile_ones_get_their_answers() -> None:
    tally, measured = attack(2000, seed=7)
    assert tally.findings == [], measured
    assert tally.counts["honest answers"] > 100
    assert measured["calls under way at SIGTERM"]["answered"] > 0
