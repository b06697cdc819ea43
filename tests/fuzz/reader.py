# SPDX-License-Identifier: Apache-2.0
"""The request reader: any bytes as a LossCall, or as the request of one loss.

- Nothing but CallError escapes.
- What is accepted parses with protobuf's own class of the message, and that message, encoded anew, is the same call; bytes that are
  called malformed do not parse.
- A message that is small is read as if it were large, where payloads are not parsed; only what is large may be refused for its form.
- A message that is recognized by its structure is read as one that is not, whatever its values; so are messages that are read together.

Input: a byte that chooses the message (0: LossCall), then the message.
"""

import random
import zlib
from collections.abc import Callable
from typing import Any, Final
from unittest import mock

from google.protobuf.message import DecodeError

from lossd import twins
from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.call import Call
from lossd_server.errors import CallError, MessageMalformed, TooManyFields
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Coalescing
from lossd_server.losses.tensor import Array
from lossd_server.requests import bounds, decode
from lossd_server.requests.reader import Reader
from lossd_server.requests.skeleton import payload_spans
from lossd_server.requests.validate import RequestLimits

LIMITS: Final = RequestLimits(max_response_bytes=1 << 20, max_workspace_bytes=64 << 20, max_operations=10**8)

_SPECS: Final = (None, *LOSSES.values())  # None: LossCall
_MEMBERS: Final = {field.message_type.name: field.name for field in pb.LossCall.DESCRIPTOR.fields if field.message_type}

# Interesting values of every element type: zeros, ones, NaN, infinities, the largest and smallest integers.
_VALUES: Final = (
    *(
        bytes(4),
        b"\x00\x00\x80\x3f",
        b"\x00\x00\xc0\x7f",
        b"\x00\x00\x80\xff",
        b"\x01\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\x7f",
    ),
)


def check(data: bytes) -> None:
    """Raises AssertionError, or whatever should not have escaped."""
    kind, message = _SPECS[data[0] % len(_SPECS) if data else 0], data[1:]
    alone = _read(Reader(LIMITS), kind, message)
    _check_against_protobuf(kind, message, alone)
    for above_bytes, in_one_piece_above_bytes in ((-1, 4096), (-1, -1)):
        with (
            mock.patch.object(bounds, "ABOVE_BYTES", above_bytes),
            mock.patch.object(decode, "IN_ONE_PIECE_ABOVE_BYTES", in_one_piece_above_bytes),
        ):
            large = _read(Reader(LIMITS), kind, message)
        if _accepted(alone):
            assert large == alone or _refused_for_its_form(large), "large it is another call"
        else:
            assert not _accepted(large), "large it is accepted"  # which of several mistakes is named may differ
    reader = Reader(LIMITS)
    for _ in range(3):  # read; read and learnt; recognized
        assert _read(reader, kind, message) == alone
    changed = _with_other_values(kind, message)
    if changed is None:
        return
    changed_alone = _read(Reader(LIMITS), kind, changed)
    assert _read(reader, kind, changed) == changed_alone
    messages, expected = [message, changed, message], [alone, changed_alone, alone]
    for indices, call in reader.read_together(messages, range(len(messages)), kind):
        for index, part in zip(indices, call.parts(), strict=True):
            assert _described(part) == expected[index]


def seeds() -> dict[str, bytes]:
    """The smallest valid sample of every loss, alone and as a LossCall, and one that is wrong."""
    from samples import SAMPLES
    from support.encoded_requests import encoded

    order = {rpc: index for index, rpc in enumerate(LOSSES, 1)}
    made: dict[str, bytes] = {}
    for name, loss in SAMPLES.items():
        rpc, message = min(
            [encoded(name, **sample.kwargs) for sample in loss.samples if _has_values(sample.kwargs)], key=lambda e: len(e[1])
        )
        wrong = min([encoded(name, **error.kwargs)[1] for error in loss.errors], key=len)
        call = pb.LossCall()
        getattr(call, _MEMBERS[f"{rpc}Request"]).MergeFromString(message)
        made[name] = bytes([order[rpc]]) + message
        made[f"{name} as a call"] = b"\x00" + call.SerializeToString()
        made[f"{name}, wrong"] = bytes([order[rpc]]) + wrong
    return made


# Implementation details follow.


def _has_values(kwargs: dict[str, Any]) -> bool:
    tensors = [value for value in kwargs.values() if hasattr(value, "numel")]
    return all(tensor.numel() for tensor in tensors)


def _read(reader: Reader, kind: Any, message: bytes) -> Any:
    """What the message comes to, in a form that can be compared."""
    read: Callable[[], Call] = (lambda: reader.read_call(message)) if kind is None else (lambda: reader.read(kind, message))
    try:
        return _described(read())
    except CallError as error:
        return type(error), error.message, error.metadata


def _accepted(result: Any) -> bool:
    return isinstance(result[0], str)


def _refused_for_its_form(result: Any) -> bool:
    return result[0] is TooManyFields or (result[0] is MessageMalformed and "with one request" in result[1])


def _described(value: Any) -> Any:
    """NaN equals NaN; arrays are their type, shape and bytes."""
    if isinstance(value, Array):
        return value.dtype.name, value.shape, bytes(value.payload)
    if isinstance(value, Call):
        arrangement = {name: _described(getattr(value.arrangement, name)) for name in value.arrangement.__dataclass_fields__}
        if value.arrangement.mean_denominator is None:  # which is the same
            arrangement["mean_denominator"] = repr(float(value.values_count))
        key = None if value.spec.coalescing is Coalescing.ALONE else value.key  # alone: no two are equal
        figures = (key, value.params, value.reduction, value.double, value.nbytes, value.elements, f"{value.cost_seconds:.6g}", value.count)
        return value.spec.rpc, repr(figures), arrangement
    if isinstance(value, dict):
        return {name: _described(item) for name, item in value.items()}
    return repr(value)


def _check_against_protobuf(kind: Any, message: bytes, result: Any) -> None:
    accepted = _accepted(result)
    public = twins.public("LossCall" if kind is None else f"{kind.rpc}Request")
    try:
        parsed = public.FromString(message)
    except DecodeError:
        assert not accepted, "protobuf does not take what was accepted"
        return
    if result[0] is MessageMalformed:
        assert "set more than once" in result[1], "protobuf takes what was called malformed"
    if accepted:
        canonical = parsed.SerializeToString(deterministic=True)
        again = _read(Reader(LIMITS), kind, canonical)
        assert again == result or again[0] is TooManyFields, "encoded anew it is another call"


def _with_other_values(kind: Any, message: bytes) -> bytes | None:
    """The message with other payloads in its tensors. None for those whose payloads cannot be told."""
    descriptor = twins.twin("LossCall" if kind is None else f"{kind.rpc}Request").DESCRIPTOR
    try:
        twins.twin(descriptor.name).FromString(message)
    except DecodeError:
        return None
    spans = payload_spans(descriptor, message)
    if not spans:
        return None
    random_ = random.Random(zlib.crc32(message))
    changed = bytearray(message)
    for start, end in spans.values():
        values = b"".join([random_.choice(_VALUES) for _ in range((end - start) // 4 + 1)])
        changed[start:end] = values[: end - start]
    return bytes(changed)
