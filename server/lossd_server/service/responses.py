# SPDX-License-Identifier: Apache-2.0
"""Outcome -> encoded response, written directly: message objects would cost each call as much as its loss.

Fields are written in the order of their numbers, even if they hold their default. Every message except values and errors is
shorter than 128 bytes, so its length takes one byte.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from lossd import twins
from lossd_server.call import Answer, Execution, Outcome, Statistics, Success
from lossd_server.errors import CallError, InvalidArgument, Unavailable
from lossd_server.requests.protobuf import SMALL_VARINTS, encoded_varint

_Error: Final = twins.twin("Error")

# Tags: field number << 3 | wire type.
_VALUE: Final = struct.Struct("<Bd")  # LossResponse.value = 1
_SUMS: Final = struct.Struct("<BdBdBd")  # LossStatistics: sum = 1, mean_numerator = 2, mean_denominator = 3
_SECONDS: Final = struct.Struct("<BdBd")  # Execution: queue_seconds = 1, compute_seconds = 2
_RESPONSE: Final = b"\x0a"  # LossOutcome.response = 1
_ERROR: Final = b"\x12"  # LossOutcome.error = 2

# The positions of the doubles in an encoded LossOutcome whose response has a value.
_FIRST: Final = len(_RESPONSE) + 1 + 1
_DOUBLES: Final = (_FIRST, *(_FIRST + 8 + 2 + 1 + 9 * index for index in range(3)))


def response(answer: Answer, execution: Execution) -> bytes:
    """An encoded LossResponse."""
    rest = _statistics(answer.statistics) + _execution(execution)
    if answer.values is None:
        return _VALUE.pack(0x09, answer.value) + rest
    return b"".join((_before_values(len(answer.values), answer.shape, answer.double), answer.values, rest))


def outcome(result: Outcome) -> bytes:
    """An encoded LossOutcome, of one request."""
    if isinstance(result, CallError):
        return _field(_ERROR, _error(result))
    answer = result.answer
    assert isinstance(answer, Answer)
    return _field(_RESPONSE, response(answer, result.execution))


def outcomes(result: Outcome, count: int) -> list[bytes]:
    """The encoded LossOutcomes of a call's requests."""
    if isinstance(result, CallError):
        return [outcome(result)] * count
    answers, execution = result.answer, result.execution
    if isinstance(answers, Answer):
        return [outcome(result)]
    if answers.errors or any(answers.ignored_count):
        parts = [answers.of(index) for index in range(count)]
        return [outcome(part if isinstance(part, CallError) else Success(part, execution)) for part in parts]
    # The outcomes differ only in their doubles.
    first = answers.of(0)
    assert isinstance(first, Answer)
    one = outcome(Success(first, execution))
    encoded = np.frombuffer(bytearray(one * count), np.uint8).reshape(count, len(one))
    for start, doubles in zip(_DOUBLES, (answers.value, answers.sum, answers.mean_numerator, answers.mean_denominator), strict=True):
        encoded[:, start : start + 8] = np.array(doubles, "<f8").view(np.uint8).reshape(count, 8)
    whole = encoded.tobytes()
    return [whole[start : start + len(one)] for start in range(0, len(whole), len(one))]


def responses(result: Outcome, count: int) -> list[bytes | CallError]:
    """The encoded LossResponses of a call's requests, or their errors."""
    if isinstance(result, CallError):
        return [result] * count
    answers, execution = result.answer, result.execution
    if isinstance(answers, Answer):
        return [response(answers, execution)]
    if answers.errors:
        parts = [answers.of(index) for index in range(count)]
        return [part if isinstance(part, CallError) else response(part, execution) for part in parts]
    return [encoded[len(_RESPONSE) + 1 :] for encoded in outcomes(result, count)]


def repeated(tag: bytes, messages: Sequence[bytes]) -> bytes:
    """An encoded message whose only field, which is repeated, holds these messages."""
    lengths = set(map(len, messages))
    if len(lengths) == 1:
        head = tag + encoded_varint(lengths.pop())
        return head + head.join(messages)
    return b"".join([part for message in messages for part in (tag, encoded_varint(len(message)), message)])


# Implementation details follow.


def _field(tag: bytes, message: bytes) -> bytes:
    return tag + encoded_varint(len(message)) + message


def _varint(number: int) -> bytes:
    return SMALL_VARINTS[number] if number < 128 else encoded_varint(number)


def _statistics(statistics: Statistics) -> bytes:
    sums = _SUMS.pack(0x09, statistics.sum, 0x11, statistics.mean_numerator, 0x19, statistics.mean_denominator)
    counts = b"\x20" + _varint(statistics.element_count) + b"\x28" + _varint(statistics.ignored_count)
    return b"\x1a" + SMALL_VARINTS[len(sums) + len(counts)] + sums + counts  # LossResponse.statistics = 3


def _execution(execution: Execution) -> bytes:
    queue_seconds, compute_seconds, calls, device = execution
    seconds = _SECONDS.pack(0x09, queue_seconds, 0x11, compute_seconds)
    name = device.encode()
    rest = b"\x18" + _varint(calls) + b"\x22" + SMALL_VARINTS[len(name)] + name
    return b"\x22" + SMALL_VARINTS[len(seconds) + len(rest)] + seconds + rest  # LossResponse.execution = 4


def _before_values(nbytes: int, shape: tuple[int, ...], double: bool) -> bytes:
    """LossResponse.values = 2, a Tensor up to its payload: shape = 1, float32_values = 2 or float64_values = 3, whose values = 1."""
    extents = b"".join([encoded_varint(extent) for extent in shape])
    packed = b"\x0a" + encoded_varint(nbytes)
    size = len(packed) + nbytes
    head = (_field(b"\x0a", extents) if extents else b"") + (b"\x1a" if double else b"\x12") + encoded_varint(size) + packed
    return b"".join((b"\x12", encoded_varint(len(head) + nbytes), head))


def _error(error: CallError) -> bytes:
    """An encoded Error, with everything that the status of a unary call would have said."""
    message: Any = _Error(code=error.number, reason=error.reason, message=error.message, metadata=error.metadata)
    if isinstance(error, InvalidArgument):
        message.field_violations.add(field=error.field, description=error.description)
    if isinstance(error, Unavailable):
        message.retry_after_seconds = error.retry_after_seconds
    encoded: bytes = message.SerializeToString()
    return encoded
