# SPDX-License-Identifier: Apache-2.0
"""Messages of many calls: any bytes as a ScoreBatchRequest, a ScoreStreamRequest or an EvaluateRequest.

- Nothing but CallError escapes.
- What protobuf takes is taken, and nothing else: with the same calls, ids, timeouts, names and cancellations.
- A message that is small is taken apart as if it were large, where it is not parsed; only what is large may be refused for its form.

Input: a byte that chooses the message, then the message.
"""

from typing import Any, Final
from unittest import mock

from google.protobuf.message import DecodeError

from lossd import twins
from lossd_server.errors import CallError, MessageMalformed, TooManyFields
from lossd_server.requests import messages

_KINDS: Final = (
    ("ScoreBatchRequest", ()),
    ("ScoreStreamRequest", ("id", "timeout_seconds")),
    ("EvaluateRequest", ("series",)),
)


def check(data: bytes) -> None:
    """Raises AssertionError, or whatever should not have escaped."""
    (name, around), message = _KINDS[data[0] % len(_KINDS) if data else 0], data[1:]
    small = _split(name, around, message)
    try:
        twins.records(name).FromString(message)
    except DecodeError:
        assert small is MessageMalformed
    else:
        assert isinstance(small, tuple)
    with mock.patch.object(messages, "_PARSE_UP_TO_BYTES", -1):
        large = _split(name, around, message)
    if isinstance(small, tuple):
        assert large == small or large in (MessageMalformed, TooManyFields), "large it is another message"
    else:
        assert not isinstance(large, tuple), "large it is accepted"


def seeds() -> dict[str, bytes]:
    """Messages of small calls, with everything that may stand around them."""
    from lossd.v1 import evaluation_service_pb2 as pb
    from support.harness import send, square, wrong

    evaluate = pb.EvaluateRequest()
    for name in ("a", "", "b"):
        evaluate.calls.add(series=name, call=square(2))
    plain = pb.ScoreBatchRequest(calls=[square(2), wrong(), pb.LossCall()])
    return {
        "a batch": b"\x00" + plain.SerializeToString(),
        "a stream": b"\x01" + send((1, square(2)), (2, square(3), 0.5), cancel=[1, 300]).SerializeToString(),
        "an evaluation": b"\x02" + evaluate.SerializeToString(),
    }


# Implementation details follow.


def _split(name: str, around: tuple[str, ...], message: bytes) -> Any:
    """The calls and what stands around them, in a form that can be compared, or the class of the error."""
    steps = messages.split(name, message, *around)
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        apart = stop.value
        return [bytes(call) for call in apart.calls], repr(apart.around), list(apart.cancelled_ids)
    except CallError as error:
        return type(error)
