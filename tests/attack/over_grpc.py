# SPDX-License-Identifier: Apache-2.0
"""Honest callers among hostile ones, against one server process, up to its drain under load."""

import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import grpc

from .corpus import Valid, corpus
from .honest import Honest, truth_of
from .hostile import Hostile
from .mutations import Mutator
from .verdict import Tally, bits
from .victim import MAX_IN_FLIGHT_BYTES, MAX_WORKSPACE_BYTES, MIB, Victim

_DRAINED = 300  # calls under way at SIGTERM
_SPARE_THREADS, _SPARE_DESCRIPTORS = 8, 8  # gRPC starts some of its threads late


def attack(messages: int, seed: int) -> tuple[Tally, dict[str, Any]]:
    """The tally, and what was measured of the process."""
    tally, generator = Tally(), random.Random(seed)
    valid = corpus()
    with tempfile.TemporaryDirectory() as folder, Victim(Path(folder)) as victim:
        truth = truth_of(victim.address, valid)
        warm_up = Hostile(victim.address, Mutator(generator, valid), Tally())  # to the size that a busy server has
        warm_up.run(min(2000, messages // 4))
        for _ in range(3):
            warm_up.flood()
        threads, descriptors = victim.settled(0, 0, timeout_seconds=3.0)
        at_rest = victim.resident_bytes()

        with Honest(victim.address, truth, tally):
            Hostile(victim.address, Mutator(generator, valid), tally).run(messages)

        threads_after, descriptors_after = victim.settled(threads + _SPARE_THREADS, descriptors + _SPARE_DESCRIPTORS)
        measured = {
            "process restarts": 0 if victim.alive else 1,
            "resident MiB before": at_rest // MIB,
            "peak resident MiB": victim.resident_bytes(peak=True) // MIB,
            "bound on it, MiB": (at_rest + 3 * MAX_IN_FLIGHT_BYTES + MAX_WORKSPACE_BYTES) // MIB,
            "resident MiB afterwards": victim.resident_bytes() // MIB,
            "threads before and after": [threads, threads_after],
            "descriptors before and after": [descriptors, descriptors_after],
            "queued calls afterwards": int(victim.gauge("lossd_queue_calls")),
            "bytes in flight afterwards": int(victim.gauge("lossd_in_flight_bytes")),
        }
        drained = asyncio.run(_drain(victim, valid))
        measured["calls under way at SIGTERM"] = drained
        measured["calls lost in drain"] = sum(count for fate, count in drained.items() if fate.startswith("lost"))
        measured["exit code"] = victim.exit_code(60)
        faults = victim.faults()
    _judge(tally, measured, faults)
    return tally, measured


# Implementation details follow.


async def _drain(victim: Victim, valid: list[Valid]) -> dict[str, int]:
    """What became of calls that were sent before SIGTERM: answered, refused in words, or lost."""
    fates: Counter[str] = Counter()
    arrived = asyncio.Event()
    chosen = [valid[index % len(valid)] for index in range(_DRAINED)]
    async with grpc.aio.insecure_channel(victim.address) as channel:

        async def one(call: Valid) -> None:
            try:
                bits(await channel.unary_unary(f"/lossd.v1.LossService/{call.rpc}")(call.message, timeout=60))
                fates["answered"] += 1
            except grpc.aio.AioRpcError as error:
                refused = error.code() is grpc.StatusCode.UNAVAILABLE
                fates["refused" if refused else f"lost: {error.code().name}"] += 1
            arrived.set()

        calls = [asyncio.ensure_future(one(call)) for call in chosen]
        await arrived.wait()
        victim.terminate()
        await asyncio.gather(*calls)
    return dict(fates)


def _judge(tally: Tally, measured: dict[str, Any], faults: list[str]) -> None:
    wrong = [f"the log says: {line}" for line in faults]
    if measured["process restarts"] or measured["exit code"] != 0:
        wrong.append(f"the process ended with {measured['exit code']}")
    if measured["peak resident MiB"] > measured["bound on it, MiB"]:
        wrong.append("the process was larger than it may be")
    # The allocator keeps some of what requests and the workspace took.
    if measured["resident MiB afterwards"] > measured["resident MiB before"] + (MAX_IN_FLIGHT_BYTES + MAX_WORKSPACE_BYTES) // MIB:
        wrong.append("the process stayed large")
    for name, spare in (("threads", _SPARE_THREADS), ("descriptors", _SPARE_DESCRIPTORS)):
        before, after = measured[f"{name} before and after"]
        if after > before + spare:
            wrong.append(f"{after} {name} are left of {before}")
    if measured["queued calls afterwards"] or measured["bytes in flight afterwards"]:
        wrong.append("something is held for nobody")
    wrong += [f"a call was {fate} in the drain" for fate in measured["calls under way at SIGTERM"] if fate.startswith("lost")]
    for finding in wrong:
        tally.find(finding)
