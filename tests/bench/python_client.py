# SPDX-License-Identifier: Apache-2.0
"""Python's counterpart of the clients' bench programs (rule 44 of docs/design/clients.md): the client, and calls written by hand.

    python tests/bench/python_client.py ADDRESS SECONDS

The client is lossd.Client for one call at a time and lossd.AsyncClient for many. "stubs" is generated code on grpcio's channels, blocking
and asyncio, with the elements of arrays as lists.
"""

import asyncio
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import google.protobuf
import grpc
import grpc.aio
import numpy as np

import lossd
from lossd.v1 import classification_pb2, loss_service_pb2_grpc, regression_pb2, tensor_pb2

IN_FLIGHT = 64
TIMEOUT_SECONDS = 30.0
MESSAGE_BYTES = 64 << 20
WARM_UP = 0.3  # of the seconds

random = np.random.default_rng(7)
LOGITS, LABELS = random.standard_normal((32, 10), np.float32), random.integers(0, 10, 32)
PREDICTION, TARGET = random.standard_normal((2, 524_288), np.float32)


def alone(call: Callable[[], float], seconds: float) -> tuple[float, float]:
    """Calls one at a time: the median seconds of a call, and the CPU seconds of this process for each."""
    until = time.perf_counter() + WARM_UP * seconds
    while time.perf_counter() < until:
        assert math.isfinite(call())
    latencies = []
    cpu, until = time.process_time(), time.perf_counter() + seconds
    while (sent_at := time.perf_counter()) < until:
        call()
        latencies.append(time.perf_counter() - sent_at)
    return statistics.median(latencies), (time.process_time() - cpu) / len(latencies)


async def together(call: Callable[[], Awaitable[Any]], seconds: float) -> float:
    """IN_FLIGHT calls at a time: how many are answered in a second."""
    answered = 0
    started_at = time.perf_counter() + WARM_UP * seconds
    until = started_at + seconds

    async def work() -> None:
        nonlocal answered
        while (now := time.perf_counter()) < until:
            await call()
            if now >= started_at and time.perf_counter() < until:
                answered += 1

    await asyncio.gather(*[work() for _ in range(IN_FLIGHT)])
    return answered / seconds


def client(address: str, seconds: float) -> dict[str, float]:
    """The figures of lossd's client."""
    with lossd.Client(address) as blocking:
        lone, _ = alone(lambda: blocking.cross_entropy(LOGITS, LABELS), seconds)
        large, cpu = alone(lambda: blocking.mse_loss(PREDICTION, TARGET), seconds)

    async def rate(coalesce: bool) -> float:
        async with lossd.AsyncClient(address, coalesce=coalesce) as client:
            return await together(lambda: client.cross_entropy(LOGITS, LABELS), seconds)

    return {
        "lone_p50_seconds": lone,
        "unary_calls_per_second": asyncio.run(rate(False)),
        "coalesced_calls_per_second": asyncio.run(rate(True)),
        "large_call_seconds": large,
        "large_call_cpu_seconds": cpu,
    }


def floats(array: np.ndarray) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(shape=array.shape, float32_values=tensor_pb2.Float32Values(values=array.ravel().tolist()))


def cross_entropy() -> classification_pb2.CrossEntropyLossRequest:
    labels = tensor_pb2.Tensor(shape=LABELS.shape, int64_values=tensor_pb2.Int64Values(values=LABELS.tolist()))
    return classification_pb2.CrossEntropyLossRequest(input=floats(LOGITS), class_indices=labels)


def mse_loss() -> regression_pb2.MseLossRequest:
    return regression_pb2.MseLossRequest(input=floats(PREDICTION), target=floats(TARGET))


def stubs(address: str, seconds: float) -> dict[str, float]:
    """The figures of calls written by hand."""
    options = [("grpc.max_send_message_length", MESSAGE_BYTES), ("grpc.max_receive_message_length", MESSAGE_BYTES)]
    with grpc.insecure_channel(address, options) as channel:
        stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
        lone, _ = alone(lambda: stub.CrossEntropyLoss(cross_entropy(), timeout=TIMEOUT_SECONDS).value, seconds)
        large, cpu = alone(lambda: stub.MseLoss(mse_loss(), timeout=TIMEOUT_SECONDS).value, seconds)

    async def rate() -> float:
        async with grpc.aio.insecure_channel(address, options) as channel:
            stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
            return await together(lambda: stub.CrossEntropyLoss(cross_entropy(), timeout=TIMEOUT_SECONDS), seconds)

    return {
        "lone_p50_seconds": lone,
        "unary_calls_per_second": asyncio.run(rate()),
        "large_call_seconds": large,
        "large_call_cpu_seconds": cpu,
    }


def main() -> None:
    """See the module."""
    address, seconds = sys.argv[1], float(sys.argv[2])
    versions = f"Python {platform.python_version()}, grpcio {grpc.__version__}, protobuf {google.protobuf.__version__}"
    found = {"language": "python", "versions": versions, "client": client(address, seconds), "stubs": stubs(address, seconds)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
