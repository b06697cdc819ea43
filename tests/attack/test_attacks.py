# SPDX-License-Identifier: Apache-2.0
"""The short form of `python tests/chaos.py --attacks`: the same attacks for a second or two, one after the other on one server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from attack.attacks import ATTACKS
from attack.trial import Bench

# A hundred times what an honest call takes beside an attack, because a busy machine pauses, too. Before the server worked in slices,
# half of the calls took longer beside a flood.
_MEDIAN_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 10.0
_REST_SECONDS = 0.2  # a few calls: only what comes of them is looked at, and no ratio to them


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if not attack.settings])
def test_an_attack_harms_no_honest_caller(bench: Bench, name: str) -> None:
    check(bench, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if attack.settings])
def test_nor_does_an_attack_on_a_server_with_other_settings(tmp_path: Path, name: str) -> None:
    with Bench(tmp_path, ATTACKS[name].settings) as own:
        check(own, name)


def check(bench: Bench, name: str) -> None:
    """That the attack breaks no promise, with patience for a busy machine."""
    attack = ATTACKS[name]
    row = bench.attack(attack, rest_seconds=_REST_SECONDS, seconds=1.0)
    if attack.flood and row.ended_seconds is None:
        row = bench.attack(attack, rest_seconds=_REST_SECONDS, seconds=5.0)
    assert row.sent or row.came
    assert row.rest.what.keys() == {"right"}
    assert row.attack.what.keys() == {"right"}
    assert row.attack.p50 < _MEDIAN_SECONDS
    assert row.attack.worst < _LONGEST_WAIT_SECONDS
    assert row.peak < row.bound
    assert row.recovered_seconds is not None
    assert row.after.what.keys() == {"right"}
    assert not row.faults
    assert row.ended_seconds is not None or not attack.flood
