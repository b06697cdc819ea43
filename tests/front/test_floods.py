# SPDX-License-Identifier: Apache-2.0
"""Floods of frames: each ends its own connection, and an honest caller beside it is served."""

import asyncio

import pytest

import lossd
from attack.floods import FLOODS
from support.harness import Harness, run

SECONDS = 30.0  # a flood that is not ended by then fails; it takes less than one on a machine that does nothing else

# What ends a flood that breaks the protocol before its budget is used up.
_ENDED_WITH = {"table size updates": "COMPRESSION_ERROR"}

# The quick subset runs one flood of each kind of work: streams that are opened and reset, control frames, header blocks, windows.
_QUICK = (
    "rapid reset of ScoreStream",
    "settings that move 1,000 stalled answers",
    "huffman",
    "windows of one byte for 1,000 stalled answers",
)


@pytest.mark.parametrize("name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FLOODS])
def test_a_flood_is_ended_and_others_are_served_meanwhile(name: str) -> None:
    async def scenario(harness: Harness) -> None:
        async with lossd.AsyncClient(harness.server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as client:
            flood = asyncio.create_task(FLOODS[name](harness.server.address, SECONDS))
            while not flood.done():
                assert await client.mse_loss([3.0], [1.0], timeout=SECONDS) == 4.0
            assert flood.result().ended_with == _ENDED_WITH.get(name, "ENHANCE_YOUR_CALM")

    run(scenario)
