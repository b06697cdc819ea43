# SPDX-License-Identifier: Apache-2.0
"""Messages of many calls, taken apart. Shared by ScoreBatch, ScoreStream and Evaluate.

In the messages that are read here every LossCall is bytes (lossd._twins.records), so a call that is malformed is its own error
and leaves the others whole.
"""

from typing import Any, Final

from google.protobuf.message import DecodeError

from lossd import _twins
from lossd.v1 import evaluation_service_pb2
from lossd_server.call import CALL_OVERHEAD_BYTES
from lossd_server.errors import CallError, MessageMalformed, TooManyCalls
from lossd_server.losses.tensor import Encoded
from lossd_server.requests import bounds

# The most calls of one message.
MAX_CALLS: Final = 1 << 14

# What a call takes besides its tensors, from its arrival to its answer.
CALL_BYTES: Final = CALL_OVERHEAD_BYTES

# More than a LossOutcome takes whose response has no values, its length included.
OUTCOME_BYTES: Final = 256

_CANCELLED_IDS: Final = evaluation_service_pb2.ScoreStreamRequest.CANCELLED_IDS_FIELD_NUMBER

# Calls and cancellations in messages up to here are counted after parsing: an empty call is 2 bytes long and takes some 60 when
# it is parsed, and an id one and 8.
_COUNT_ABOVE_BYTES: Final = 1 << 20


def parse_many(message_name: str, message: Encoded) -> Any:
    """The message, its LossCalls as bytes. Raises MessageMalformed or TooManyCalls."""
    if len(message) > _COUNT_ABOVE_BYTES:
        _check_counts_unparsed(message)
    try:
        parsed = _twins.records(message_name).FromString(message)
    except DecodeError:
        raise MessageMalformed("", f"the bytes are not a lossd.v1.{message_name}") from None
    _check_counts(len(parsed.calls), len(getattr(parsed, "cancelled_ids", ())))
    return parsed


def bare(error: CallError) -> CallError:
    """The error without its traceback, which would keep the frames of a whole message alive for as long as the error waits."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


# Implementation details follow.


def _check_counts(calls: int, cancelled: int) -> None:
    if calls > MAX_CALLS:
        raise TooManyCalls(f"a message holds at most {MAX_CALLS} calls: send more messages", limit=MAX_CALLS, actual=calls)
    if cancelled > MAX_CALLS:
        raise TooManyCalls(f"a message cancels at most {MAX_CALLS} calls: send more messages", limit=MAX_CALLS, actual=cancelled)


def _check_counts_unparsed(message: Encoded) -> None:
    calls = cancelled = 0
    for number, elements, start, end in bounds.fields(message, 0, len(message)):
        if number == _CANCELLED_IDS:
            cancelled += elements or bounds.integers(message, start, end)
        else:
            calls += 1
        if calls > MAX_CALLS or cancelled > MAX_CALLS:
            break
    _check_counts(calls, cancelled)
