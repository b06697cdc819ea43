# SPDX-License-Identifier: Apache-2.0
"""A device and its thread: a bad call fails alone, and the device reports when it is lost."""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import torch

from lossd.v1 import evaluation_service_pb2
from lossd_server.call import Answer, Answers, Call
from lossd_server.compute import device as devices
from lossd_server.compute.device import Device, Results
from lossd_server.compute.memory import HostMemory
from lossd_server.errors import CallError, KernelFailure
from lossd_server.losses import LOSSES
from lossd_server.requests.reader import Reader
from lossd_server.requests.validate import RequestLimits
from support.encoded_requests import call_of


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


def test_of_requests_in_one_call_only_those_that_fail_do(cpu: Device) -> None:
    reader, spec = Reader(RequestLimits()), kernel_that_chokes_on(13.0, calls_of([0.0]))[0].spec
    messages = [call.SerializeToString() for call in map(loss_call, [1.0, 13.0, 3.0])]
    for _ in range(2):
        reader.read_call(messages[0])
    ((_, together),) = reader.read_together(messages, range(len(messages)))
    results = compute(cpu, [dataclasses.replace(together, spec=spec)])
    assert results is not None
    (answers,) = results
    assert isinstance(answers, Answers)
    assert [outcome_of(answers.of(index)) for index in range(3)] == [1.0, "KERNEL_FAILURE", 9.0]
    assert results_of(cpu, [2.0]) == [4.0], "the thread lives"


def loss_call(value: float) -> evaluation_service_pb2.LossCall:
    call = evaluation_service_pb2.LossCall()
    for tensor, number in ((call.mse_loss.input, value), (call.mse_loss.target, 0.0)):
        tensor.shape.append(1)
        tensor.float32_values.values.append(number)
    return call


def results_of(device: Device, inputs: Sequence[float]) -> list[float | str | None]:
    results = compute(device, calls_of(inputs))
    assert results is not None
    return [outcome_of(result) for result in results]  # type: ignore[arg-type]


def test_a_device_computes_in_all_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at a time, as a GPU, on the CPU: both wait for each other inside their kernels."""
    monkeypatch.setattr(devices, "_CPU_SLOTS", 2)
    meeting = threading.Barrier(2, timeout=30)

    def kernel(input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        meeting.wait()
        return (input - target) ** 2

    device = Device(torch.device("cpu"))
    spec = dataclasses.replace(LOSSES["MseLoss"], kernel=kernel)
    futures: list[Future[Results | None]] = [Future(), Future()]
    for future, value in zip(futures, (2.0, 3.0), strict=True):
        device.start([dataclasses.replace(call, spec=spec) for call in calls_of([value])], future.set_result)
    assert [outcome_of(result) for future in futures for result in future.result(30) or ()] == [4.0, 9.0]
    device.close()


def test_the_default_limit_of_operations_follows_the_device() -> None:
    limits = []
    for threads in (1, 4, 1000):
        device = Device(torch.device("cpu"), intra_op_threads=threads)
        limits.append(device.default_max_operations)
        device.close()
    assert limits == [6 * 10**10, 24 * 10**10, 10**12]
