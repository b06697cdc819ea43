# SPDX-License-Identifier: Apache-2.0
"""Messages of EvaluationService, which hold many calls. Their losses are exact on every CPU."""

from typing import Final, NamedTuple

from lossd.v1 import evaluation_service_pb2 as pb
from support.harness import call, square, wrong
from support.wire_format import within

_MOST_CALLS: Final = 16_384
_MANY_FIELDS: Final = 30_000


class Message(NamedTuple):
    """A request of EvaluationService: `encoded`, `times` times over, as one message."""

    name: str
    method: str
    encoded: bytes
    times: int = 1


def messages() -> list[Message]:
    """The requests that are recorded."""
    good, bad, other = square(3.0), wrong(), call("l1_loss", input=[1.0, 2.0], target=[0.0, 0.0], reduction="none")
    absolute = call("l1_loss", input=[1.0, 2.0], target=[0.0, 0.0])
    empty = pb.ScoreBatchRequest(calls=[pb.LossCall()]).SerializeToString()
    return [
        Message("calls and their errors", "ScoreBatch", pb.ScoreBatchRequest(calls=[good, bad, other, pb.LossCall()]).SerializeToString()),
        Message("no calls", "ScoreBatch", b""),
        Message("too many calls", "ScoreBatch", empty, _MOST_CALLS + 1),
        Message("too many fields", "ScoreBatch", within(2, bytes(18)) + within(3, bytes(18)), _MANY_FIELDS),
        Message("bytes that are no message", "ScoreBatch", b"\xff\xff\xff"),
        Message("calls and an error", "ScoreStream", _stream((7, good), (2**64 - 1, bad), (0, other))),
        Message("an id twice", "ScoreStream", _stream((7, good), (7, good))),
        Message("two series", "Evaluate", _series(("a", good), ("b", absolute), ("a", square(1.0)))),
        Message("no series", "Evaluate", b""),
        Message("a series of two losses", "Evaluate", _series(("a", good), ("a", absolute))),
        Message("a series with a wrong call", "Evaluate", _series(("a", good), ("a", bad))),
        Message("a method that does not exist", "ScoreNothing", b""),
    ]


# Implementation details follow.


def _series(*calls: tuple[str, pb.LossCall]) -> bytes:
    return pb.EvaluateRequest(calls=[pb.SeriesCall(series=series, call=call) for series, call in calls]).SerializeToString()


def _stream(*calls: tuple[int, pb.LossCall]) -> bytes:
    return pb.ScoreStreamRequest(calls=[pb.StreamCall(id=id_, call=call) for id_, call in calls]).SerializeToString()
