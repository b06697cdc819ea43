# SPDX-License-Identifier: Apache-2.0
"""The floods of frames as attacks: each connection that the server ends is followed by the next at once."""

import asyncio
import time
from functools import partial

from . import floods
from .attack import Attack, Outcome


async def _flood(flood: floods.Flood, address: str, seconds: float) -> Outcome:
    outcome, end = Outcome(), time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        try:
            result = await flood(address, end - began)
        except OSError:
            outcome.count("connection refused")
            await asyncio.sleep(0.05)
            continue
        outcome.sent += result.frames
        outcome.count(result.ended_with or "never ended")
        if result.ended_with:
            outcome.ended_seconds = max(outcome.ended_seconds or 0.0, time.monotonic() - began)
    return outcome


ATTACKS = tuple([Attack(f"flood: {name}", "13", partial(_flood, flood), flood=True) for name, flood in floods.FLOODS.items()])
