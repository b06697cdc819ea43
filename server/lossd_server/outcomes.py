# SPDX-License-Identifier: Apache-2.0
"""Messages of many calls: LossCall -> Call, and outcome -> LossOutcome. Shared by ScoreBatch, ScoreStream and Evaluate.

In the messages that are read here every request is bytes (lossd._twins.envelope), so a request that is malformed is its own
call's error and leaves the others whole.
"""

from typing import Any, Final

from google.protobuf.message import DecodeError

from lossd import _twins
from lossd.v1 import evaluation_service_pb2
from lossd_server import scan
from lossd_server.dispatcher import OVERHEAD_BYTES, Outcome
from lossd_server.errors import CallError, InvalidArgument, MessageMalformed, TensorMissing, TooManyCalls, Unavailable
from lossd_server.losses import LOSSES
from lossd_server.service import Service, encode
from lossd_server.unexpected import unexpected
from lossd_server.validate import Call

# The most calls of one message.
MAX_CALLS: Final = 1 << 14

# What a call takes besides its tensors, from its arrival to its answer.
CALL_BYTES: Final = OVERHEAD_BYTES

# More than a LossOutcome takes, its id and its length included: a response without the payload of its values, and an error.
OUTCOME_BYTES: Final = 256
ERROR_BYTES: Final = 4096

# A request of a LossCall by the member that holds it.
_SPECS: Final = {
    field.name: LOSSES[field.message_type.name.removesuffix("Request")]
    for field in evaluation_service_pb2.LossCall.DESCRIPTOR.fields
    if field.message_type
}
_CANCELLED_IDS: Final = evaluation_service_pb2.ScoreStreamRequest.CANCELLED_IDS_FIELD_NUMBER

# Calls and cancellations in messages up to here are counted after parsing: an empty call is 2 bytes long and takes some 60 when
# it is parsed, and an id one and 8.
_COUNT_ABOVE_BYTES: Final = 1 << 20


def parse_many(message_name: str, message: bytes) -> Any:
    """The envelope of a message with `calls`. Raises MessageMalformed or TooManyCalls."""
    if len(message) > _COUNT_ABOVE_BYTES:
        _check_counts_unparsed(message)
    try:
        envelope = _twins.envelope(message_name).FromString(message)
    except DecodeError:
        raise MessageMalformed("", f"the bytes are not a lossd.v1.{message_name}") from None
    _check_counts(len(envelope.calls), len(getattr(envelope, "cancelled_ids", ())))
    return envelope


def read_call(service: Service, call: Any, caller: str) -> Call:
    """The validated call of a LossCall's envelope. Raises CallError, as the unary method would, and nothing else."""
    member = call.WhichOneof("request")
    if member is None:
        raise TensorMissing("request", "is required: the request of one of the losses that this server has")
    spec = _SPECS[member]
    try:
        return service.read(spec, getattr(call, member))
    except CallError:
        raise
    except Exception as error:  # noqa: BLE001 - it must not be the end of the calls beside it
        raise unexpected(spec.rpc, caller, error) from None


def bare(error: CallError) -> CallError:
    """The error without its traceback, which would keep the frames of a whole message alive for as long as the error waits."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def outcome_bytes(outcome: Outcome) -> int:
    """A bound on what the outcome takes in a message."""
    if isinstance(outcome, CallError):
        return ERROR_BYTES
    return OUTCOME_BYTES + len(outcome.answer.values or b"")


def fill(message: Any, outcome: Outcome) -> None:
    """Fills in the twin of a LossOutcome."""
    if isinstance(outcome, CallError):
        fill_error(message.error, outcome)
    else:
        encode(outcome, message.response)


def fill_error(message: Any, error: CallError) -> None:
    """Fills in the twin of an Error: what the status of a unary call would have said."""
    message.code, message.reason, message.message = error.number, error.reason, error.message
    message.metadata.update(error.metadata)
    if isinstance(error, InvalidArgument):
        message.field_violations.add(field=error.field, description=error.description)
    if isinstance(error, Unavailable):
        message.retry_after_seconds = error.retry_after_seconds


# Implementation details follow.


def _check_counts(calls: int, cancelled: int) -> None:
    if calls > MAX_CALLS:
        raise TooManyCalls(f"a message holds at most {MAX_CALLS} calls: send more messages", limit=MAX_CALLS, actual=calls)
    if cancelled > MAX_CALLS:
        raise TooManyCalls(f"a message cancels at most {MAX_CALLS} calls: send more messages", limit=MAX_CALLS, actual=cancelled)


def _check_counts_unparsed(message: bytes) -> None:
    calls = cancelled = 0
    for number, elements, start, end in scan.fields(message, 0, len(message)):
        if number == _CANCELLED_IDS:
            cancelled += elements or scan.integers(message, start, end)
        else:
            calls += 1
        if calls > MAX_CALLS or cancelled > MAX_CALLS:
            break
    _check_counts(calls, cancelled)
