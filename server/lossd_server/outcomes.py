# SPDX-License-Identifier: Apache-2.0
"""Messages of many calls: LossCall -> Call, and outcome -> LossOutcome. Shared by ScoreBatch, ScoreStream and Evaluate.

In the messages that are read here every request is bytes (lossd._twins.envelope), so a request that is malformed is its own
call's error and leaves the others whole.
"""

from typing import Any, Final

from google.protobuf.message import DecodeError

from lossd import _twins
from lossd.v1 import evaluation_service_pb2
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
# Calls in messages up to here are counted after parsing: an empty call is 2 bytes long and takes some 60 when it is parsed.
_COUNT_ABOVE_BYTES: Final = 1 << 20


def parse_many(message_name: str, message: bytes) -> Any:
    """The envelope of a message with `calls`. Raises MessageMalformed or TooManyCalls."""
    if len(message) > _COUNT_ABOVE_BYTES:
        _check_count(_count_calls(message))
    try:
        envelope = _twins.envelope(message_name).FromString(message)
    except DecodeError:
        raise MessageMalformed("", f"the bytes are not a lossd.v1.{message_name}") from None
    _check_count(len(envelope.calls))
    return envelope


def read_call(service: Service, call: Any) -> Call:
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
        raise unexpected(spec.rpc, error) from None


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


def _check_count(calls: int) -> None:
    if calls > MAX_CALLS:
        raise TooManyCalls(f"a message holds at most {MAX_CALLS} calls: send more messages", limit=MAX_CALLS, actual=calls)


def _count_calls(message: bytes) -> int:
    """How many length-delimited fields the message has at its top, up to one more than may be. Raises MessageMalformed."""
    position, count, end = 0, 0, len(message)
    try:
        while position < end and count <= MAX_CALLS:
            tag, position = _varint(message, position)
            wire_type = tag & 7
            if wire_type == 2:
                length, position = _varint(message, position)
                position += length
                count += 1
            elif wire_type == 0:
                _, position = _varint(message, position)
            else:  # no field of ours
                raise MessageMalformed("", "the bytes are not a message of calls")
    except IndexError:
        raise MessageMalformed("", "the bytes end within a field") from None
    return count


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MessageMalformed("", "the bytes hold a number that never ends")
