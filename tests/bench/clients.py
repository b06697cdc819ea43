# SPDX-License-Identifier: Apache-2.0
"""The Python SDK as a load generator: CE 32x10 from ndarrays, in a process of its own.

    python tests/bench/clients.py ADDRESS {unary,batch,async,coalesce} SECONDS

unary     Client, one call at a time
batch     Client.batch(), 100 calls at a time
async     AsyncClient, 128 tasks
coalesce  AsyncClient(coalesce=True), 128 tasks

Prints {"calls": how many, "seconds": in how long, "latencies": of each call (batch: of each batch)} as JSON.
"""

import asyncio
import json
import math
import sys
import time

import lossd
from workloads import CALLS, arrays

TASKS = 128
WARM_UP = 0.2  # share of the time


class Meter:
    """Counts calls between the end of the warm-up and the end."""

    def __init__(self, seconds: float) -> None:
        self.started_at = time.perf_counter() + WARM_UP * seconds
        self.ends_at = time.perf_counter() + (1 + WARM_UP) * seconds
        self.calls = 0
        self.latencies: list[float] = []

    def count(self, calls: int, sent_at: float, value: float) -> None:
        now = time.perf_counter()
        assert math.isfinite(value)
        if self.started_at < now < self.ends_at:
            self.calls += calls
            self.latencies.append(now - sent_at)

    @property
    def over(self) -> bool:
        return time.perf_counter() >= self.ends_at


def one_by_one(address: str, meter: Meter, calls: int) -> None:
    logits, labels = arrays(32, 10)
    with lossd.Client(address) as client:
        while not meter.over:
            sent_at = time.perf_counter()
            if calls == 1:
                meter.count(1, sent_at, client.cross_entropy(logits, labels))
                continue
            with client.batch() as batch:
                pending = [batch.cross_entropy(logits, labels) for _ in range(calls)]
            meter.count(calls, sent_at, sum(one.result() for one in pending))


async def together(address: str, meter: Meter, coalesce: bool) -> None:
    logits, labels = arrays(32, 10)
    async with lossd.AsyncClient(address, coalesce=coalesce) as client:

        async def work() -> None:
            while not meter.over:
                sent_at = time.perf_counter()
                meter.count(1, sent_at, await client.cross_entropy(logits, labels))

        await asyncio.gather(*[work() for _ in range(TASKS)])


def main() -> None:
    """See the module."""
    address, mode, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    meter = Meter(seconds)
    if mode in ("unary", "batch"):
        one_by_one(address, meter, CALLS if mode == "batch" else 1)
    else:
        asyncio.run(together(address, meter, mode == "coalesce"))
    print(json.dumps({"calls": meter.calls, "seconds": meter.ends_at - meter.started_at, "latencies": meter.latencies}))


if __name__ == "__main__":
    main()
