# SPDX-License-Identifier: Apache-2.0
"""Where a unary call's time goes in the server: CE 32x10 from a lone caller, and with 32 and 128 in flight.

    python tests/bench/stages.py

The server runs in this process with a clock around each stage, and h2load loads it. Stages hold those that are indented. What
calls share is divided among them.
"""

import asyncio
import functools
import tempfile
import time
from collections import defaultdict
from typing import Any

import torch.nn.functional as F

from lossd_server import log
from lossd_server.compute import batch
from lossd_server.compute.memory import HostMemory
from lossd_server.config import Settings
from lossd_server.front.unary import Unary
from lossd_server.http2.asyncio_protocol import Connections
from lossd_server.http2.connection import Connection
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.requests.reader import Reader
from lossd_server.requests.templates import Template
from lossd_server.server import Server
from lossd_server.service import responses
from lossd_server.service.scoring import Service
from workloads import CROSS_ENTROPY, WORKLOADS

STAGES: list[tuple[Any, str, str]] = [
    (Connection, "receive", "receive: from bytes to whole requests"),
    (Service, "score_together", "score"),
    (Template, "calls", "    read as one: match, slice, check values"),
    (Reader, "read", "    read one: match, slice, check values"),
    (Dispatcher, "compute_now", "    compute and count"),
    (batch, "compute", "        compute"),
    (HostMemory, "load", "            make tensors"),
    (F, "cross_entropy", "            PyTorch's kernel"),
    (HostMemory, "reduce", "            sum in float64"),
    (responses, "responses", "    encode"),
    (Unary, "answer", "    answer: from responses to frames"),
    (Connections, "flush", "send"),
]
_CALLS = "    answer: from responses to frames"


class Clock:
    """The time in each stage, of all calls since `reset`."""

    def __init__(self) -> None:
        self._spent: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0])
        for owner, name, stage in STAGES:
            setattr(owner, name, self._timed(getattr(owner, name), stage))

    def reset(self) -> None:
        self._spent.clear()

    def microseconds(self) -> dict[str, float]:
        """Of each stage, by call."""
        calls = max(1, self._spent[_CALLS][0])
        return {stage: 1e6 * seconds / calls for stage, (_, seconds) in self._spent.items()}

    def _timed(self, function: Any, stage: str) -> Any:
        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            started_at = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent = self._spent[stage]
                spent[0] += 1
                spent[1] += time.perf_counter() - started_at

        return timed


async def load(address: str, in_flight: int, body: str) -> None:
    """Two seconds of it."""
    command = ["h2load", "-D", "2", "-c", "1", "-m", str(in_flight), "-d", body]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    process = await asyncio.create_subprocess_exec(
        *command, *headers, f"http://{address}{CROSS_ENTROPY}", stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise RuntimeError("h2load failed")


async def main() -> None:
    """See the module."""
    log.configure("error")
    clock = Clock()
    server = Server(Settings(listen="127.0.0.1:0", admin_listen="", device="cpu"))
    await server.start()
    found: dict[str, dict[str, float]] = {}
    with tempfile.NamedTemporaryFile() as body:
        body.write(WORKLOADS[0].framed())
        body.flush()
        for in_flight, title in ((1, "lone caller"), (32, "32 in flight"), (128, "128 in flight")):
            clock.reset()
            await load(server.address, in_flight, body.name)
            found[title] = clock.microseconds()
    await server.stop()
    print(f"{'us a call':44s}" + "".join(f"{title:>14s}" for title in found))
    for _, _, stage in STAGES:
        print(f"{stage:44s}" + "".join(f"{times.get(stage, 0.0):14.1f}" for times in found.values()))


if __name__ == "__main__":
    asyncio.run(main())
