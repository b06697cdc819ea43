# SPDX-License-Identifier: Apache-2.0
"""Splits messages of many calls. Shared by ScoreBatch, ScoreStream and Evaluate.

Every LossCall stays bytes, so a malformed call fails by itself and does not affect the others.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import message_factory

from lossd import twins
from lossd_server.call import CALL_OVERHEAD_BYTES
from lossd_server.errors import CallError, TooManyCalls, TooManyFields
from lossd_server.losses.tensor import Encoded
from lossd_server.requests import bounds, protobuf

# The maximum number of calls in one message.
MAX_CALLS: Final = 1 << 14

# At most this many calls of a message are being read, queued or computed at a time.
_CALLS_AT_A_TIME: Final = 512

# An upper bound of a LossOutcome whose response has no values, its length included.
OUTCOME_BYTES: Final = 256

# Larger messages are split call by call: the parser would copy the whole message in one step.
_PARSE_UP_TO_BYTES: Final = 256 << 10

_CALLS_IN_A_STEP: Final = 256

_CALLS, _CANCELLED_IDS = 1, 2  # field numbers: of every message of many calls; of ScoreStreamRequest


@dataclass(slots=True)
class Apart:
    """A message of many calls. `around` has, by name, the fields beside each call: a list with None where an optional field is unset."""

    calls: list[Encoded]
    around: dict[str, list[Any]]
    cancelled_ids: Sequence[int] = ()

    def add(self, calls: Sequence[Encoded], envelopes: Sequence[Any]) -> None:
        """Adds calls, and the fields beside each from its parsed StreamCall or SeriesCall."""
        self.calls += calls
        for name, values in self.around.items():
            if envelopes[0].DESCRIPTOR.fields_by_name[name].has_presence:
                values += [getattr(envelope, name) if envelope.HasField(name) else None for envelope in envelopes]
            else:
                values += [getattr(envelope, name) for envelope in envelopes]


def split(message_name: str, message: Encoded, *around: str) -> Generator[None, None, Apart]:
    """The calls of a message, each as bytes or as a view of the message, and the fields named in `around` beside each call.

    Raises MessageMalformed, TooManyCalls or TooManyFields.
    """
    record = twins.records(message_name)
    apart = Apart([], {name: [] for name in around})
    if len(message) > _PARSE_UP_TO_BYTES:
        yield from _split(record, message, apart)
        return apart
    parsed = protobuf.parse(record, message)
    apart.cancelled_ids = getattr(parsed, "cancelled_ids", ())
    _check_counts(len(parsed.calls), len(apart.cancelled_ids))
    if not around:
        apart.calls = list(parsed.calls)
        return apart
    for start in range(0, len(parsed.calls), _CALLS_IN_A_STEP):
        if start:
            yield
        envelopes = parsed.calls[start : start + _CALLS_IN_A_STEP]
        apart.add([envelope.call for envelope in envelopes], envelopes)
    return apart


def overhead_bytes(calls: int) -> int:
    """The bytes that the calls of a message count besides the message itself, from its arrival to its answer."""
    return CALL_OVERHEAD_BYTES * min(calls, _CALLS_AT_A_TIME) + OUTCOME_BYTES * calls


def bare(error: CallError) -> CallError:
    """The error without its traceback, which would keep the frames of a whole message alive for as long as the error waits."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


# Implementation details follow.


def _split(record: Any, message: Encoded, apart: Apart) -> Generator[None, None, None]:
    view = memoryview(message)
    envelope_type = record.DESCRIPTOR.fields_by_number[_CALLS].message_type
    envelope = None if envelope_type is None else message_factory.GetMessageClass(envelope_type)
    cancellations: list[bytes] = []
    cancelled = 0
    try:
        for position, found in enumerate(protobuf.fields(message, 0, len(message))):
            content = view[found.start : found.stop]
            if found.number == _CALLS and found.kind == protobuf.LENGTH:
                if envelope is None:
                    apart.calls.append(content)
                else:
                    around, call = _envelope(envelope, content)
                    apart.add([call], [around])
            elif found.kind in protobuf.GROUPS:  # none of our messages has groups, and how protobuf would read them is unknown here
                raise protobuf.Malformed
            elif found.number == _CANCELLED_IDS and "cancelled_ids" in record.DESCRIPTOR.fields_by_name:
                cancelled += bounds.integers(message, found.start, found.stop) if found.kind == protobuf.LENGTH else found.elements
                cancellations.append(bytes(view[found.begin : found.stop]))
            _check_counts(len(apart.calls), cancelled)
            if position - len(apart.calls) > MAX_CALLS:
                text = f"the message has more than {MAX_CALLS} fields that are no calls"
                raise TooManyFields(text, limit=MAX_CALLS, actual=MAX_CALLS + 1)
            if not position % _CALLS_IN_A_STEP:
                yield
    except protobuf.Malformed:
        raise protobuf.malformed(record) from None
    if cancellations:
        apart.cancelled_ids = protobuf.parse(record, b"".join(cancellations)).cancelled_ids


def _envelope(envelope: Any, view: memoryview) -> tuple[Any, Encoded]:
    """The fields beside a call, and the call itself. A large call is neither parsed nor copied."""
    if len(view) <= _PARSE_UP_TO_BYTES:
        parsed = protobuf.parse(envelope, view)
        return parsed, parsed.call
    number = envelope.DESCRIPTOR.fields_by_name["call"].number
    calls: list[memoryview] = []
    around: list[bytes] = []
    for found in protobuf.fields(view, 0, len(view)):
        if found.kind in protobuf.GROUPS:
            raise protobuf.Malformed
        if found.number == number and found.kind == protobuf.LENGTH:
            calls.append(view[found.start : found.stop])
        elif len(around) < _CALLS_IN_A_STEP:
            around.append(bytes(view[found.begin : found.stop]))
    if len(calls) != 1:
        raise protobuf.malformed(envelope)
    return protobuf.parse(envelope, b"".join(around)), calls[0]


def _check_counts(calls: int, cancelled: int) -> None:
    if calls > MAX_CALLS:
        raise TooManyCalls(f"a message holds at most {MAX_CALLS} calls: send more messages", limit=MAX_CALLS, actual=calls)
    if cancelled > MAX_CALLS:
        raise TooManyCalls(f"a message cancels at most {MAX_CALLS} calls: send more messages", limit=MAX_CALLS, actual=cancelled)
