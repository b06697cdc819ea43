# SPDX-License-Identifier: Apache-2.0
"""Many calls in one message, and the outcomes in the answer. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import grpc

from lossd import twins
from lossd._errors import ErrorDetails, FieldViolation, LossdError, error_of
from lossd.v1 import evaluation_service_pb2

SERVICE: Final = "lossd.v1.EvaluationService"

# The member of LossCall for each RPC of LossService.
_MEMBERS: Final = {
    field.message_type.name.removesuffix("Request"): field.name
    for field in evaluation_service_pb2.LossCall.DESCRIPTOR.fields
    if field.message_type
}
_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}

_ScoreBatchRequest: Final = twins.envelope("ScoreBatchRequest")
_ScoreBatchResponse: Final = twins.twin("ScoreBatchResponse")
_ScoreStreamRequest: Final = twins.envelope("ScoreStreamRequest")
_ScoreStreamResponse: Final = twins.twin("ScoreStreamResponse")


class Encoded(NamedTuple):
    """An encoded request: the name of its RPC, and its message."""

    rpc: str
    message: bytes


def batch_message(calls: Iterable[Encoded]) -> bytes:
    """A ScoreBatchRequest."""
    batch = _ScoreBatchRequest()
    for rpc, message in calls:
        setattr(batch.calls.add(), _MEMBERS[rpc], message)
    encoded: bytes = batch.SerializeToString()
    return encoded


def batch_outcomes(message: bytes, expected: int) -> list[Any]:
    """The LossResponse twin or LossdError of each call in a ScoreBatchResponse."""
    outcomes = [_outcome(outcome) for outcome in _ScoreBatchResponse.FromString(message).outcomes]
    if len(outcomes) != expected:
        raise error_of(ErrorDetails("INTERNAL", f"the server answered {len(outcomes)} of {expected} calls"))
    return outcomes


def stream_message(calls: Iterable[tuple[int, Encoded, float | None]], cancelled_ids: Sequence[int]) -> bytes:
    """A ScoreStreamRequest of calls with their ids and timeouts in seconds."""
    batch = _ScoreStreamRequest(cancelled_ids=cancelled_ids)
    for id_, (rpc, message), timeout in calls:
        call = batch.calls.add()
        call.id = id_
        setattr(call.call, _MEMBERS[rpc], message)
        if timeout is not None:
            call.timeout_seconds = timeout
    encoded: bytes = batch.SerializeToString()
    return encoded


def stream_outcomes(message: bytes) -> list[tuple[int, Any]]:
    """The ids of the calls in a ScoreStreamResponse, each with its LossResponse twin or LossdError."""
    return [(outcome.id, _outcome(outcome.outcome)) for outcome in _ScoreStreamResponse.FromString(message).outcomes]


# Implementation details follow.


def _outcome(outcome: Any) -> Any:
    if outcome.WhichOneof("outcome") == "response":
        return outcome.response
    return _error(outcome.error)


def _error(error: Any) -> LossdError:
    return error_of(
        ErrorDetails(
            code=_CODES.get(error.code, "UNKNOWN"),
            message=error.message,
            reason=error.reason,
            field_violations=tuple(FieldViolation(violation.field, violation.description) for violation in error.field_violations),
            retry_after_seconds=error.retry_after_seconds if error.HasField("retry_after_seconds") else None,
            metadata=dict(error.metadata),
        )
    )
