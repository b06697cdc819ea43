# SPDX-License-Identifier: Apache-2.0
"""What a server answers to encoded requests, as it is recorded: without how it was computed."""

import base64
from collections.abc import Iterable
from typing import Any

import grpc

from golden.encoding import Json, to_json
from lossd import _codec, twins
from lossd._errors import error_of_rpc
from lossd.v1 import evaluation_service_pb2, response_pb2


def to_base64(data: bytes) -> str:
    """As bytes are written in JSON."""
    return base64.b64encode(data).decode()


def answer_to_loss(channel: grpc.Channel, rpc: str, request: bytes) -> Json:
    """The answer of a method of LossService: {"response": ...} or {"error": ...}."""
    method: Any = channel.unary_unary(f"/lossd.v1.LossService/{rpc}")
    try:
        return {"response": _loss_response(method(request, timeout=30))}
    except grpc.RpcError as raised:
        return _error(raised)


def answer_to_message(channel: grpc.Channel, method: str, message: bytes) -> Json:
    """The answer of a method of EvaluationService, its message in base64: a stream's outcomes are in one message, in the order of ids."""
    path = f"/lossd.v1.EvaluationService/{method}"
    try:
        if method == "ScoreStream":
            stream: Any = channel.stream_stream(path)
            parts = [evaluation_service_pb2.ScoreStreamResponse.FromString(part) for part in stream(iter([message]), timeout=30)]
            outcomes = sorted((outcome for part in parts for outcome in part.outcomes), key=_order)
            _forget_execution(outcome.outcome for outcome in outcomes)
            return _message(evaluation_service_pb2.ScoreStreamResponse(outcomes=outcomes))
        if method == "Evaluate":
            collect: Any = channel.stream_unary(path)
            return _message(evaluation_service_pb2.EvaluateResponse.FromString(collect(iter([message]), timeout=30)))
        unary: Any = channel.unary_unary(path)
        response = evaluation_service_pb2.ScoreBatchResponse.FromString(unary(message, timeout=30))
        _forget_execution(response.outcomes)
        return _message(response)
    except grpc.RpcError as raised:
        return _error(raised)


# Implementation details follow.


def _loss_response(encoded: bytes) -> Json:
    response = response_pb2.LossResponse.FromString(encoded)
    response.ClearField("execution")
    statistics = {field.name: to_json(getattr(response.statistics, field.name)) for field in response_pb2.LossStatistics.DESCRIPTOR.fields}
    if response.HasField("value"):
        output: Json = {"value": to_json(response.value)}
    else:
        values = _codec.value(twins.twin("LossResponse").FromString(encoded))
        output = {"values": {"dtype": values.dtype.name, "shape": list(values.shape), "data": to_base64(values.tobytes())}}
    return {**output, "statistics": statistics, "encoded": to_base64(response.SerializeToString())}


def _error(raised: grpc.RpcError) -> Json:
    details = error_of_rpc(raised).details
    violations = [{"field": violation.field, "description": violation.description} for violation in details.field_violations]
    error = {"code": details.code, "reason": details.reason, "message": details.message, "field_violations": violations}
    return {"error": error | {"metadata": dict(sorted((details.metadata or {}).items()))}}


def _order(outcome: Any) -> tuple[int, bool]:
    return outcome.id, outcome.outcome.HasField("response")


def _forget_execution(outcomes: Iterable[Any]) -> None:
    for outcome in outcomes:
        if outcome.HasField("response"):
            outcome.response.ClearField("execution")


def _message(response: Any) -> Json:
    return {"response": to_base64(response.SerializeToString(deterministic=True))}
