# SPDX-License-Identifier: Apache-2.0
"""The short form of `python tests/chaos.py --attacks`: the same attacks for a second or two, one after the other on one server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from attack.attacks import ATTACKS
from attack.trial import Bench, Row

# Ten times what the slowest slice of the server's work should take, many times over: a busy machine pauses, too.
_LONGEST_WAIT_SECONDS = 2.0
_REST_SECONDS = 0.2  # a few calls: only what comes of them is looked at, and no ratio to them


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if not attack.settings])
def test_an_attack_harms_no_honest_caller(bench: Bench, name: str) -> None:
    check(bench.attack(ATTACKS[name], rest_seconds=_REST_SECONDS, seconds=1.0), flood=ATTACKS[name].flood)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if attack.settings])
def test_nor_does_an_attack_on_a_server_with_other_settings(tmp_path: Path, name: str) -> None:
    with Bench(tmp_path, ATTACKS[name].settings) as own:
        check(own.attack(ATTACKS[name], rest_seconds=_REST_SECONDS, seconds=1.0), flood=ATTACKS[name].flood)


def check(row: Row, *, flood: bool) -> None:
    """That no promise was broken, with patience for a busy machine."""
    assert row.sent or row.came
    assert row.rest.what.keys() == {"right"}
    assert row.attack.what.keys() == {"right"}
    assert row.attack.worst < _LONGEST_WAIT_SECONDS
    assert row.peak < row.bound
    assert row.recovered_seconds is not None
    assert row.after.what.keys() == {"right"}
    assert not row.faults
    assert row.ended_seconds is not None or not flood
