# SPDX-License-Identifier: Apache-2.0
"""Large calls of an AsyncClient: its event loop runs other tasks while tensors are copied."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossd
from lossd import _codec, _core, _split
from lossd._codec import Request

LARGE = 400_000  # float32 elements, 1.6 MB
TIMEOUT_SECONDS = 10


class Blocked:
    """Makes a function wait for the event loop, which must not be the one that runs the function."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def waiting(*arguments: Any) -> Any:
            self.entered.set()
            assert self.released.wait(TIMEOUT_SECONDS), "the event loop stood still"
            return function(*arguments)

        return waiting


async def release(blocked: Blocked) -> None:
    """Ends the wait, once the function has begun."""
    await asyncio.to_thread(blocked.entered.wait, TIMEOUT_SECONDS)
    blocked.released.set()


def value_beside_other_tasks(address: str, blocked: Blocked, reduction: str, **options: Any) -> Any:
    """The loss of a large call, made while another task waits for the blocked function and releases it."""

    async def main() -> Any:
        async with lossd.AsyncClient(address, **options) as client:
            values = np.ones(LARGE, np.float32)
            value, _ = await asyncio.gather(client.mse_loss(values, 0 * values, reduction=reduction), release(blocked))
            return value

    return asyncio.run(main())


def test_requests_are_encoded_beside_the_loop(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked()
    monkeypatch.setattr(Request, "encode", blocked(Request.encode))
    assert value_beside_other_tasks(address, blocked, "mean") == 1.0


def test_answers_are_parsed_beside_the_loop(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked, parse = Blocked(), _core._LossResponse.FromString

    class Slow:
        FromString = staticmethod(blocked(parse))

    monkeypatch.setattr(_core, "_LossResponse", Slow)
    assert np.array_equal(value_beside_other_tasks(address, blocked, "none"), np.ones(LARGE))


def test_values_are_copied_beside_the_loop(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked()
    monkeypatch.setattr(_codec, "value", blocked(_codec.value))
    assert np.array_equal(value_beside_other_tasks(address, blocked, "none"), np.ones(LARGE))


def test_parts_are_merged_beside_the_loop(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked()
    monkeypatch.setattr(_split, "merge", blocked(_split.merge))
    assert np.array_equal(value_beside_other_tasks(address, blocked, "none", max_message_bytes=2_000_000), np.ones(LARGE))
