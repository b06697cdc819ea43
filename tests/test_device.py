# SPDX-License-Identifier: Apache-2.0
"""A device and its thread: one bad call harms nobody, and what is lost is said to be lost."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import torch

from lossd_server import device as devices
from lossd_server.batch import Answer
from lossd_server.device import Device, Results
from lossd_server.errors import CallError, KernelFailure
from lossd_server.losses import LOSSES
from lossd_server.memory import HostMemory
from lossd_server.validate import Call
from requests_of import call_of


def kernel_that_chokes_on(poison: float, calls: Sequence[Call]) -> list[Call]:
    """The calls with a kernel that raises for batches that hold this value."""

    def kernel(input: torch.Tensor, target: torch.Tensor, **more: Any) -> torch.Tensor:
        if (input == poison).any():
            raise RuntimeError(f"CUDA error: secret {poison}")
        return (input - target) ** 2

    spec = dataclasses.replace(LOSSES["MseLoss"], kernel=kernel)
    return [dataclasses.replace(call, spec=spec) for call in calls]


def calls_of(inputs: Sequence[float]) -> list[Call]:
    return [call_of("mse_loss", input=np.array([value], np.float32), target=np.zeros(1, np.float32), reduction="sum") for value in inputs]


def outcome_of(result: Answer | CallError) -> float | str | None:
    return result.value if isinstance(result, Answer) else result.reason


def test_a_kernel_that_raises_harms_only_the_call_it_raises_for() -> None:
    results = devices.run(kernel_that_chokes_on(13.0, calls_of([1, 2, 13, 3])), HostMemory())
    assert [outcome_of(result) for result in results] == [1.0, 4.0, "KERNEL_FAILURE", 9.0]
    failure = results[2]
    assert isinstance(failure, KernelFailure)
    assert "secret" not in failure.message
    assert "this is a bug" in failure.message


@pytest.fixture
def cpu() -> Iterator[Device]:
    device = Device(torch.device("cpu"))
    yield device
    device.close()


def compute(device: Device, calls: Sequence[Call]) -> Results | None:
    """What the device's thread makes of the calls."""
    future: Future[Results | None] = Future()
    device.start(calls, future.set_result)
    return future.result(30)


def test_the_thread_survives_a_kernel_that_raises(cpu: Device) -> None:
    results = compute(cpu, kernel_that_chokes_on(13.0, calls_of([13, 2])))
    assert results is not None
    assert [outcome_of(result) for result in results] == ["KERNEL_FAILURE", 4.0]
    results = compute(cpu, calls_of([5]))
    assert results is not None
    assert outcome_of(results[0]) == 25.0


def test_a_context_that_no_longer_computes_loses_the_device_and_a_cpu_gets_another_thread_once(
    cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(device: torch.device) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(devices, "check_context", poisoned)
    bad = kernel_that_chokes_on(13.0, calls_of([13]))
    assert compute(cpu, bad) is None
    assert cpu.rebuild()
    results = compute(cpu, calls_of([5]))
    assert results is not None
    assert outcome_of(results[0]) == 25.0
    assert compute(cpu, bad) is None
    assert not cpu.rebuild()


def test_a_thread_that_dies_says_so(cpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def exit_thread(*arguments: Any) -> Results:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(devices, "run", exit_thread)
        assert compute(cpu, calls_of([1])) is None
    assert cpu.rebuild()
    assert compute(cpu, calls_of([1])) is not None
