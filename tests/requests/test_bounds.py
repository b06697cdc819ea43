# SPDX-License-Identifier: Apache-2.0
"""Messages that would take many times their size when they are parsed are refused before; honest ones of any encoding are not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lossd import twins
from lossd.v1 import evaluation_service_pb2 as evaluation_pb2
from lossd.v1 import regression_pb2, sequence_pb2, tensor_pb2
from lossd_server.errors import CallError, MessageMalformed, ShapeMismatch, TooManyCalls, TooManyFields
from lossd_server.losses import LOSSES
from lossd_server.requests import bounds, messages, protobuf
from lossd_server.requests import decode as decoding
from lossd_server.requests.decode import decode, parse
from samples import SAMPLES
from support.encoded_requests import encoded
from support.wire_format import varint, within

N = 1 << 20


def apart(name: str, message: bytes, *around: str) -> Any:
    """The message of many calls, taken apart."""
    steps = messages.split(name, message, *around)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


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
    twins.twin(f"{rpc}Request").FromString(message)  # it is valid

    class Refuses:
        DESCRIPTOR = twins.twin(f"{rpc}Request").DESCRIPTOR

    monkeypatch.setattr(decoding.twins, "twin", lambda name: Refuses)
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
        apart("ScoreStreamRequest", cancelled)
    some = evaluation_pb2.ScoreStreamRequest(cancelled_ids=range(messages.MAX_CALLS)).SerializeToString()
    assert len(apart("ScoreStreamRequest", some).cancelled_ids) == messages.MAX_CALLS


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
    arguments = decode(LOSSES["MseLoss"], parse("MseLossRequest", message), message)
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
    bounds.check(message, twins.twin("MseLossRequest").DESCRIPTOR)
    with pytest.raises(protobuf.Malformed):
        list(protobuf.fields(message, 0, len(message)))


def large(**fields: Any) -> tuple[bytes, Any]:
    """An encoded MseLossRequest of a megabyte, and its input."""
    values = np.arange(1 << 17, dtype="<f4")
    request = regression_pb2.MseLossRequest(**fields)
    for tensor in (request.input, request.target):
        tensor.shape.append(values.size)
        tensor.float32_values.values.extend(values)
    return request.SerializeToString(), values


def test_a_large_request_is_read_without_copying_its_payloads() -> None:
    message, values = large(reject_non_finite=True)
    view = np.frombuffer(message, np.uint8)
    arguments = decoding.read(LOSSES["MseLoss"], memoryview(view))
    assert arguments["reject_non_finite"] is True
    for name in ("input", "target"):
        np.testing.assert_array_equal(arguments[name].values, values)
        assert np.shares_memory(arguments[name].values, view)


def test_a_large_request_names_the_field_that_is_wrong() -> None:
    message, _ = large()
    shorter = within(INPUT, within(SHAPE, varint(7)) + within(FLOATS, within(1, bytes(4 * N)))) + message
    with pytest.raises(ShapeMismatch, match="extents") as raised:
        decoding.read(LOSSES["MseLoss"], within(INPUT, within(SHAPE, b"\1" * 9) + within(FLOATS, within(1, bytes(N)))))
    assert raised.value.field == "input"
    assert decoding.read(LOSSES["MseLoss"], message)["input"].size == 1 << 17
    with pytest.raises(TooManyFields, match="in several pieces"):
        decoding.read(LOSSES["MseLoss"], shorter)
    with pytest.raises(MessageMalformed):
        decoding.read(LOSSES["MseLoss"], within(INPUT, within(FLOATS, within(1, bytes(N + 1)))))
    with pytest.raises(MessageMalformed):
        decoding.read(LOSSES["MseLoss"], message[:-1])


def test_large_bools_other_than_0_and_1_are_true() -> None:
    tensor = tensor_pb2.Tensor(shape=[1 << 17])
    payload = np.zeros(1 << 17, np.uint8)
    payload[:3] = 1, 2, 127
    bools = tensor.DESCRIPTOR.fields_by_name["bool_values"].number
    message = within(INPUT, tensor.SerializeToString() + within(bools, within(1, payload.tobytes())))
    assert decoding.read(LOSSES["MseLoss"], message)["input"].values[:4].tolist() == [True, True, True, False]


@pytest.mark.parametrize("count", [3, 300])
def test_messages_of_large_calls_are_taken_apart_without_parsing_them(count: int) -> None:
    content = large()[0][: (2 << 20) // count]
    calls = [evaluation_pb2.StreamCall(id=index, timeout_seconds=0.5 if index == 1 else None) for index in range(count)]
    message = b"".join(within(1, call.SerializeToString() + within(2, content)) for call in calls) + within(2, varint(7))
    found = apart("ScoreStreamRequest", message, "id", "timeout_seconds")
    assert found.around["id"] == list(range(count))
    assert found.around["timeout_seconds"] == [None, 0.5, *[None] * (count - 2)]
    assert list(found.cancelled_ids) == [7]
    assert all(bytes(call) == content for call in found.calls)
