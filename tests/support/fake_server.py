# SPDX-License-Identifier: Apache-2.0
"""A server that misbehaves as a test asks. It knows mse_loss only."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from lossd.v1 import evaluation_service_pb2 as evaluation_pb2
from lossd.v1 import regression_pb2, response_pb2

UNARY, BATCH, STREAM = "MseLoss", "ScoreBatch", "ScoreStream"


class Refused(Exception):  # noqa: N818 - a signal
    """Raised by a behaviour: the RPC ends with this status."""

    def __init__(self, code: grpc.StatusCode, pushback_ms: int | None = None) -> None:
        super().__init__(code)
        self.code, self.pushback_ms = code, pushback_ms


def score_of(request: Any) -> Any:
    """The LossResponse to an MseLossRequest."""
    difference = np.subtract(request.input.float32_values.values, request.target.float32_values.values)
    total, count = float((difference**2).sum()), difference.size
    statistics = response_pb2.LossStatistics(sum=total, mean_numerator=total, mean_denominator=count, element_count=count)
    return response_pb2.LossResponse(value=total / count, statistics=statistics)


def outcome(call: Any) -> Any:
    """The outcome of a LossCall."""
    return evaluation_pb2.LossOutcome(response=score_of(call.mse_loss))


def overloaded(retry_after_seconds: float) -> Any:
    """The outcome of a call that found the queue full."""
    error = evaluation_pb2.Error(code=14, reason="QUEUE_FULL", message="full", retry_after_seconds=retry_after_seconds)
    return evaluation_pb2.LossOutcome(error=error)


@dataclass
class Fake:
    """What was received, in order, and what comes of it. Behaviours get what came, and may raise Refused."""

    address: str = ""
    received: list[tuple[str, Any]] = field(default_factory=list)  # method, message
    on_unary: Callable[[Any], Any] = score_of
    on_call: Callable[[Any], Any] = outcome  # of a batch or stream
    # Returns whether the message's calls are to be answered; those that are skipped never are.
    on_stream: Callable[[Any], bool] = lambda message: True
    skipped: Callable[[Any], bool] = lambda call: False
    peers: set[str] = field(default_factory=set)  # the other ends of the connections over which something came
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def of(self, method: str) -> list[Any]:
        """The messages of one method."""
        with self.arrived:
            return [message for name, message in self.received if name == method]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until what has arrived meets a condition."""
        with self.arrived:
            assert self.arrived.wait_for(condition, 10)

    def _note(self, method: str, message: Any, context: Any) -> None:
        with self.arrived:
            self.peers.add(context.peer())
            self.received.append((method, message))
            self.arrived.notify_all()

    def _unary(self, data: bytes, context: Any) -> bytes:
        message = regression_pb2.MseLossRequest.FromString(data)
        self._note(UNARY, message, context)
        with _aborting(context):
            return self.on_unary(message).SerializeToString()  # type: ignore[no-any-return]

    def _batch(self, data: bytes, context: Any) -> bytes:
        message = evaluation_pb2.ScoreBatchRequest.FromString(data)
        self._note(BATCH, message, context)
        with _aborting(context):
            outcomes = [self.on_call(call) for call in message.calls]
            return evaluation_pb2.ScoreBatchResponse(outcomes=outcomes).SerializeToString()

    def _stream(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        with _aborting(context):
            for data in messages:
                message = evaluation_pb2.ScoreStreamRequest.FromString(data)
                self._note(STREAM, message, context)
                if not self.on_stream(message) or not message.calls:
                    continue
                calls = [call for call in message.calls if not self.skipped(call)]
                outcomes = [evaluation_pb2.StreamOutcome(id=call.id, outcome=self.on_call(call.call)) for call in calls]
                yield evaluation_pb2.ScoreStreamResponse(outcomes=outcomes).SerializeToString()


@contextmanager
def _aborting(context: Any) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        if refused.pushback_ms is not None:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(refused.pushback_ms)),))
        context.abort(refused.code, "refused by the test")


@contextmanager
def fake_server() -> Iterator[Fake]:
    """A fake that listens."""
    fake = Fake()
    server = grpc.server(ThreadPoolExecutor(64))
    unary = {UNARY: grpc.unary_unary_rpc_method_handler(fake._unary)}
    many = {BATCH: grpc.unary_unary_rpc_method_handler(fake._batch), STREAM: grpc.stream_stream_rpc_method_handler(fake._stream)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("lossd.v1.LossService", unary),
            grpc.method_handlers_generic_handler("lossd.v1.EvaluationService", many),
        )
    )
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield fake
    finally:
        server.stop(0).wait()


def pair(number: float, **options: Any) -> dict[str, Any]:
    """A call of mse_loss whose answer is the square of the number."""
    return {"input": [float(number)], "target": [0.0], **options}
