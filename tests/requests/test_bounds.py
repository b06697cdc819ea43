# SPDX-License-Identifier: Apache-2.0
"""Messages that would take many times their size when they are parsed are refused before; honest ones of any encoding are not."""

from collections.abc import Callable

import numpy as np
import pytest

from lossd import _twins
from lossd.v1 import evaluation_service_pb2 as evaluation_pb2
from lossd.v1 import sequence_pb2, tensor_pb2
from lossd_server.errors import CallError, ShapeMismatch, TooManyCalls, TooManyFields
from lossd_server.losses import LOSSES
from lossd_server.requests import bounds, messages
from lossd_server.requests import decode as decoding
from lossd_server.requests.decode import decode, parse
from samples import SAMPLES
from support.encoded_requests import encoded

N = 1 << 20


def varint(value: int) -> bytes:
    encoded_value = bytearray()
    while value > 127:
        encoded_value.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded_value, value])


def within(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


CLUSTERS, CUTOFFS, INPUT, SHAPE, FLOATS = 5, 10, 1, 1, 2

BOMBS: dict[str, tuple[str, bytes, type[CallError]]] = {
    "empty clusters": ("AdaptiveLogSoftmaxWithLoss", within(CLUSTERS, b"") * N, TooManyFields),
    "packed integers": ("AdaptiveLogSoftmaxWithLoss", within(CUTOFFS, b"\1" * N), TooManyFields),
    "single integers": ("AdaptiveLogSoftmaxWithLoss", bytes([CUTOFFS << 3, 1]) * N, TooManyFields),
    "extents": ("MseLoss", within(INPUT, within(SHAPE, b"\1" * N)), ShapeMismatch),
    "single extents": ("MseLoss", within(INPUT, bytes([SHAPE << 3, 1]) * N), ShapeMismatch),
    "empty pieces": ("MseLoss", within(INPUT, within(FLOATS, within(1, b"") * N)), TooManyFields),
    "empty pieces in a group": ("MseLoss", within(INPUT, within(FLOATS, b"\x2b\x2c" + within(1, b"") * N)), TooManyFields),
    "empty pieces between elements": ("MseLoss", within(INPUT, within(FLOATS, (within(1, b"") + b"\x0d\0\0\0\0") * N)), TooManyFields),
    "unknown fields": ("MseLoss", within(100, b"") * N, TooManyFields),
}


@pytest.mark.parametrize(("rpc", "message", "error"), BOMBS.values(), ids=BOMBS)
def test_a_message_that_would_take_many_times_its_size_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch, rpc: str, message: bytes, error: type[CallError]
) -> None:
    _twins.twin(f"{rpc}Request").FromString(message)  # it is valid

    class Refuses:
        DESCRIPTOR = _twins.twin(f"{rpc}Request").DESCRIPTOR

    monkeypatch.setattr(decoding._twins, "twin", lambda name: Refuses)
    with pytest.raises(error):
        parse(f"{rpc}Request", message)


def test_clusters_of_a_small_message_are_counted_before_they_are_read() -> None:
    spec = LOSSES["AdaptiveLogSoftmaxWithLoss"]
    message = parse("AdaptiveLogSoftmaxWithLossRequest", within(CLUSTERS, b"") * 2000)
    with pytest.raises(ShapeMismatch, match="tail: has 2000 entries"):
        decode(spec, message)


@pytest.mark.parametrize(
    "cancelled",
    [within(2, b"\1" * (2 * N)), bytes([2 << 3, 1]) * N, within(2, b"\1" * (messages.MAX_CALLS + 1))],
    ids=["packed", "single", "small"],
)
def test_a_message_cancels_as_many_calls_as_it_may_hold(cancelled: bytes) -> None:
    with pytest.raises(TooManyCalls, match="cancels at most"):
        messages.parse_many("ScoreStreamRequest", cancelled)
    some = evaluation_pb2.ScoreStreamRequest(cancelled_ids=range(messages.MAX_CALLS)).SerializeToString()
    assert len(messages.parse_many("ScoreStreamRequest", some).cancelled_ids) == messages.MAX_CALLS


def tensors(make: Callable[[np.ndarray], bytes]) -> bytes:
    """An MseLossRequest of 100 000 elements, whose Float32Values `make` encodes."""
    values = np.arange(100_000, dtype="<f4")
    tensor = within(SHAPE, varint(values.size)) + within(FLOATS, make(values))
    return within(1, tensor) + within(2, tensor)


ENCODINGS: dict[str, Callable[[np.ndarray], bytes]] = {
    "packed": lambda values: within(1, values.tobytes()),
    "in pieces": lambda values: b"".join(within(1, part.tobytes()) for part in np.split(values, 1000)),
    "single": lambda values: b"".join(b"\x0d" + element.tobytes() for element in values),
}


@pytest.mark.parametrize("make", ENCODINGS.values(), ids=ENCODINGS)
def test_large_honest_messages_are_read_however_they_are_encoded(make: Callable[[np.ndarray], bytes]) -> None:
    message = tensors(make)
    spec, public = LOSSES["MseLoss"], _twins.public("MseLossRequest")
    arguments = decode(spec, parse("MseLossRequest", message), lambda: public.FromString(message))
    assert arguments["target"].values.sum() == pytest.approx(100_000 * 99_999 / 2)


def test_every_sequence_has_its_lengths() -> None:
    count = 50_000
    log_probs = tensor_pb2.Tensor(shape=[1, count, 10], float32_values=tensor_pb2.Float32Values(values=np.zeros(count * 10)))
    targets = tensor_pb2.Tensor(shape=[count, 1], uint8_values=b"\1" * count)
    request = sequence_pb2.CtcLossRequest(
        log_probs=log_probs, padded_targets=targets, input_lengths=[1] * count, target_lengths=[1] * count
    )
    assert len(parse("CtcLossRequest", request.SerializeToString()).input_lengths) == count


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_pass_at_any_size(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(bounds, "ABOVE_BYTES", 0)
    for sample in SAMPLES[name].samples:
        rpc, message = encoded(name, **sample.kwargs)
        parse(f"{rpc}Request", message)


@pytest.mark.parametrize(
    "message",
    [b"\xff" * N, b"\x0a" + b"\xff" * N, b"\x0d", b"\x0f" * N, b"\x08" + b"\x80" * N],
    ids=["tags", "lengths", "short", "kinds", "numbers"],
)
def test_bytes_that_are_no_message_are_left_to_the_parser(message: bytes) -> None:
    bounds.check(message, _twins.twin("MseLossRequest").DESCRIPTOR)
    assert not list(bounds.fields(message[:1000], 0, 0))
