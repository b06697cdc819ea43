# SPDX-License-Identifier: Apache-2.0
"""Servers of both transports, ours and grpcio's, and what a caller sees of the same RPC on each."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grpc
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from lossd import testing
from lossd.v1 import evaluation_service_pb2 as pb
from lossd.v1 import loss_service_pb2, response_pb2
from support.encoded_requests import encoded

TRANSPORTS = ("lossd", "grpcio")
MAX_REQUEST_BYTES = 16 << 20

LOSSES = "/lossd.v1.LossService/"
BATCH, STREAM, EVALUATE = (f"/lossd.v1.EvaluationService/{name}" for name in ("ScoreBatch", "ScoreStream", "Evaluate"))
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
INFO = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

RPC, MESSAGE = encoded("mse_loss", input=[3.0], target=[1.0])
MSE = LOSSES + RPC


class Answer(NamedTuple):
    """What a caller sees of an RPC."""

    messages: list[str]
    code: str
    text: str | None
    details: str
    pushback: str | None


class Pair(NamedTuple):
    """A channel to a server of each transport."""

    lossd: grpc.Channel
    grpcio: grpc.Channel
    addresses: tuple[str, str]

    def answers(self, path: str, *messages: bytes, **options: Any) -> tuple[Answer, Answer]:
        return answer_of(self.lossd, path, messages, **options), answer_of(self.grpcio, path, messages, **options)


_RESPONSES: dict[str, Any] = {
    BATCH: pb.ScoreBatchResponse,
    STREAM: pb.ScoreStreamResponse,
    EVALUATE: pb.EvaluateResponse,
    CHECK: health_pb2.HealthCheckResponse,
    WATCH: health_pb2.HealthCheckResponse,
    INFO: reflection_pb2.ServerReflectionResponse,
    f"{LOSSES}GetServerInfo": loss_service_pb2.GetServerInfoResponse,
}


def readable(path: str, messages: Sequence[bytes]) -> list[str]:
    """The responses without what says how they were computed; outcomes of a stream in the order of their ids."""
    parsed = [_RESPONSES.get(path, response_pb2.LossResponse).FromString(message) for message in messages]
    if path == STREAM:
        outcomes = sorted([outcome for message in parsed for outcome in message.outcomes], key=lambda outcome: outcome.id)
        for outcome in outcomes:
            outcome.outcome.response.ClearField("execution")
        return [str(outcome) for outcome in outcomes]
    for message in parsed:
        if path == BATCH:
            for outcome in message.outcomes:
                outcome.response.ClearField("execution")
        elif isinstance(message, response_pb2.LossResponse):
            message.ClearField("execution")
    return [str(message) for message in parsed]


def answer_of(
    channel: grpc.Channel, path: str, messages: Sequence[bytes], *, first_only: bool = False, timeout: float = 30, **options: Any
) -> Answer:
    call = channel.stream_stream(path)(iter(messages), timeout=timeout, **options)
    received: list[bytes] = []
    try:
        for message in call:
            received.append(message)
            if first_only:
                call.cancel()
                break
    except grpc.RpcError:
        pass
    trailing = dict(call.trailing_metadata() or ())
    details = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    return Answer(readable(path, received), call.code().name, call.details(), str(details), trailing.get("grpc-retry-pushback-ms"))


def both(**settings: Any) -> Iterator[Pair]:
    limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    with (
        testing.server(**settings) as first,
        testing.server(**settings, transport="grpcio") as second,
        grpc.insecure_channel(first, limits) as one,
        grpc.insecure_channel(second, limits) as two,
    ):
        yield Pair(one, two, (first, second))
