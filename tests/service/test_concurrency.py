# SPDX-License-Identifier: Apache-2.0
"""A thousand callers at once, with the device's one thread busy: they share batches, and everyone gets their own answer."""

import asyncio
import threading
from statistics import fmean

import pytest
import torch
import torch.nn.functional as F

import lossd
from lossd_server.compute.device import Device
from lossd_server.config import Settings
from lossd_server.server import Server

CALLERS = 1000


def test_calls_that_find_the_device_busy_share_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = [torch.randn(32, 10, generator=torch.Generator().manual_seed(seed)) for seed in range(CALLERS)]
    labels = [torch.randint(0, 10, (32,), generator=torch.Generator().manual_seed(seed)) for seed in range(CALLERS)]
    gate = threading.Event()
    start = Device.start

    def gated(self: Device, calls: object, done: object) -> None:
        """The large call holds the device's thread until the others have gathered."""
        gate.clear()
        start(self, calls, lambda results: (gate.wait(60), done(results)))  # type: ignore[arg-type, operator, return-value]

    async def run() -> list[lossd.LossResult]:
        server = Server(Settings(listen="127.0.0.1:0", admin_listen="", device="cpu", log_level="error"))
        await server.start()
        monkeypatch.setattr(Device, "start", gated)
        async with lossd.AsyncClient(server.address, timeout=120) as client:
            large = torch.zeros(2000, 1000)
            busy = asyncio.ensure_future(client.mse_loss(large, large))
            while not server._dispatcher._running:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)
            monkeypatch.setattr(Device, "start", start)
            calls = [asyncio.ensure_future(client.cross_entropy(x, y, return_statistics=True)) for x, y in zip(logits, labels, strict=True)]
            while server._dispatcher.queued_calls < CALLERS // 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            gate.set()
            answers = await asyncio.gather(*calls)
            assert await busy == 0.0
        await server.stop()
        return list(answers)

    answers = asyncio.run(asyncio.wait_for(run(), 120))
    for answer, x, y in zip(answers, logits, labels, strict=True):
        torch.testing.assert_close(torch.tensor(answer.value, dtype=torch.float32), F.cross_entropy(x, y))
    assert fmean(answer.execution.calls_in_batch for answer in answers) > 8
