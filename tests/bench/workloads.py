# SPDX-License-Identifier: Apache-2.0
"""What is sent: request bodies as any language's generated code encodes them, framed for gRPC, the same for every server."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from lossd.v1 import classification_pb2, evaluation_service_pb2, regression_pb2, tensor_pb2

LOSS = "/lossd.v1.LossService/"
CROSS_ENTROPY = LOSS + "CrossEntropyLoss"
MSE = LOSS + "MseLoss"
L1 = LOSS + "L1Loss"
BATCH = "/lossd.v1.EvaluationService/ScoreBatch"
STREAM = "/lossd.v1.EvaluationService/ScoreStream"

CALLS = 100  # in a batch message, and on a stream
LARGE_BYTES = 1024 * 1000 * 4 + 1024 * 8


@dataclass(frozen=True)
class Workload:
    """A body, sent to the paths in turn, so many at a time. `body` is one RPC's messages."""

    name: str
    title: str
    body: Callable[[], list[bytes]]
    paths: Sequence[str]
    in_flight: int
    calls: int = 1  # of losses in one RPC
    loaded_by: str = "h2load"  # or a mode of clients.py
    only: Sequence[str] = ()  # servers; empty: all but those that are limited to some workloads

    def framed(self) -> bytes:
        """The body as HTTP/2 data."""
        return b"".join(struct.pack(">BI", 0, len(message)) + message for message in self.body())


def arrays(rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels."""
    random = np.random.default_rng(7)
    return random.standard_normal((rows, classes), np.float32), random.integers(0, classes, rows)


@cache
def cross_entropy(rows: int, classes: int) -> classification_pb2.CrossEntropyLossRequest:
    """Mean cross entropy of float32 logits and int64 labels."""
    logits, labels = arrays(rows, classes)
    return classification_pb2.CrossEntropyLossRequest(
        input=_floats(logits),
        class_indices=tensor_pb2.Tensor(shape=labels.shape, int64_values=tensor_pb2.Int64Values(values=labels.tolist())),
    )


@cache
def mse(size: int) -> regression_pb2.MseLossRequest:
    """Mean squared error; the same bytes are a request of L1Loss."""
    prediction, target = arrays(2, size)[0]
    return regression_pb2.MseLossRequest(input=_floats(prediction), target=_floats(target))


def small() -> list[bytes]:
    return [cross_entropy(32, 10).SerializeToString()]


def large() -> list[bytes]:
    return [cross_entropy(1024, 1000).SerializeToString()]


def squares() -> list[bytes]:
    return [mse(64).SerializeToString()]


def batch(keys: str = "A" * CALLS) -> list[bytes]:
    """One message of calls: A is CE 32x10, B is MSE of 64."""
    return [evaluation_service_pb2.ScoreBatchRequest(calls=[_call(key) for key in keys]).SerializeToString()]


def stream() -> list[bytes]:
    """A message for each call."""
    message, call = evaluation_service_pb2.ScoreStreamRequest, evaluation_service_pb2.StreamCall
    return [message(calls=[call(id=id_, call=_call("A"))]).SerializeToString() for id_ in range(CALLS)]


_UNARY = ("lossd", "naive_aio", "naive_threaded", "echo_aio", "echo_threaded", "echo_aio_uvloop")
_ALL = (*_UNARY[:5], "echo_aio_bytes", "echo_threaded_bytes")
_MIXED = ("lossd", "naive_aio")

WORKLOADS = (
    Workload("ce_1", "CE 32x10, lone caller", small, (CROSS_ENTROPY,), 1, only=_UNARY),
    Workload("ce_32", "CE 32x10, 32 in flight", small, (CROSS_ENTROPY,), 32, only=_UNARY),
    Workload("ce_128", "CE 32x10, 128 in flight", small, (CROSS_ENTROPY,), 128, only=(*_UNARY, *_ALL[5:])),
    Workload("mse_128", "MSE of 64, 128 in flight", squares, (MSE,), 128, only=_UNARY[:4]),
    Workload("large_8", "CE 1024x1000, 8 in flight", large, (CROSS_ENTROPY,), 8, only=_ALL),
    Workload("large_32", "CE 1024x1000, 32 in flight", large, (CROSS_ENTROPY,), 32, only=_ALL),
    Workload("mixed_128", "MSE, L1, MSE, L1, 128 in flight", squares, (MSE, L1), 128, only=_MIXED),
    Workload("sorted_128", "the same calls sorted", squares, (MSE,) * 256 + (L1,) * 256, 128, only=_MIXED),
    Workload("batch", "100 calls in a message", batch, (BATCH,), 32, CALLS, only=_ALL),
    Workload("batch_mixed", "100 in a message, A,B,A,B", lambda: batch("AB" * 50), (BATCH,), 32, CALLS, only=_MIXED),
    Workload("batch_sorted", "the same calls sorted", lambda: batch("A" * 50 + "B" * 50), (BATCH,), 32, CALLS, only=_MIXED),
    Workload("stream", "a stream of 100 calls", stream, (STREAM,), 4, CALLS, only=_ALL),
    Workload("py_unary", "Python Client, unary", small, (CROSS_ENTROPY,), 1, loaded_by="unary", only=("lossd",)),
    Workload("py_batch", "Python Client.batch(), 100 calls", batch, (BATCH,), 1, CALLS, loaded_by="batch", only=("lossd",)),
    Workload("py_async", "AsyncClient, 128 in flight", small, (CROSS_ENTROPY,), 128, loaded_by="async", only=("lossd",)),
    Workload("py_coalesce", "AsyncClient(coalesce=True), 128", small, (CROSS_ENTROPY,), 128, loaded_by="coalesce", only=("lossd",)),
)


def _floats(values: np.ndarray) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(shape=values.shape, float32_values=tensor_pb2.Float32Values(values=values.ravel().tolist()))


def _call(key: str) -> evaluation_service_pb2.LossCall:
    if key == "A":
        return evaluation_service_pb2.LossCall(cross_entropy_loss=cross_entropy(32, 10))
    return evaluation_service_pb2.LossCall(mse_loss=mse(64))
