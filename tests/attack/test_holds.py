# SPDX-License-Identifier: Apache-2.0
"""The short form of the attacks that make a server hold what nobody takes: its memory stays bounded, and it serves on."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

import lossd

from .holds import HOLDS, OPEN_TO_ALL, Attack
from .victim import MAX_IN_FLIGHT_BYTES, MAX_WORKSPACE_BYTES, MIB, Victim

# What RPCs that are open to all may hold, and what connections hold besides.
_APART_BYTES = 64 * MIB + 64 * MIB


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with Victim(tmp_path_factory.mktemp("victim")) as made:
        yield made


@pytest.fixture(scope="module")
def at_rest(victim: Victim) -> int:
    """What the server has before the first attack, in bytes."""
    with lossd.Client(victim.address) as client:
        client.mse_loss([1.0], [2.0])
    return victim.resident_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("attack", HOLDS, ids=lambda attack: attack.__name__)
def test_the_server_is_bounded_and_serves_on(victim: Victim, at_rest: int, attack: Attack) -> None:
    """The attacks that may hold least come first, so that what the allocator keeps of one attack does not count against the next."""
    victim.reset_peak()
    asyncio.run(attack(victim.address, 4.0))
    gc.collect()  # closes the connections that the attack left open
    assert victim.resident_bytes(peak=True) - at_rest < _APART_BYTES + (
        0 if attack in OPEN_TO_ALL else 3 * MAX_IN_FLIGHT_BYTES + MAX_WORKSPACE_BYTES
    )
    with lossd.Client(victim.address, timeout=20.0) as client:
        assert client.mse_loss([1.0], [3.0]) == 4.0
    assert victim.released(timeout_seconds=20.0)
    assert victim.faults() == []
