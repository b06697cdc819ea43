# SPDX-License-Identifier: Apache-2.0
"""The short form of the attacks that make a server hold what nobody takes: its memory stays bounded, and it serves on."""

import asyncio
from pathlib import Path

import pytest

import lossd

from .holds import HOLDS, OPEN_TO_ALL, Attack
from .victim import MAX_IN_FLIGHT_BYTES, MAX_WORKSPACE_BYTES, MIB, Victim

# What RPCs that are open to all may hold, and what connections hold besides.
_APART_BYTES = 64 * MIB + 64 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("attack", HOLDS, ids=lambda attack: attack.__name__)
def test_the_server_is_bounded_and_serves_on(tmp_path: Path, attack: Attack) -> None:
    with Victim(tmp_path) as victim:
        with lossd.Client(victim.address) as client:
            client.mse_loss([1.0], [2.0])
        at_rest = victim.resident_bytes()
        asyncio.run(attack(victim.address, 4.0))
        assert victim.resident_bytes(peak=True) - at_rest < _APART_BYTES + (
            0 if attack in OPEN_TO_ALL else 3 * MAX_IN_FLIGHT_BYTES + MAX_WORKSPACE_BYTES
        )
        with lossd.Client(victim.address, timeout=20.0) as client:
            assert client.mse_loss([1.0], [3.0]) == 4.0
        victim.settled(0, 0, timeout_seconds=5.0)
        assert victim.gauge("lossd_in_flight_bytes") == 0
        assert victim.faults() == []
