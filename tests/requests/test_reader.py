# SPDX-License-Identifier: Apache-2.0
"""Requests that the reader accepts and refuses, beyond the samples."""

from typing import Any

import pytest

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.errors import CallError, MessageMalformed
from lossd_server.losses import LOSSES
from lossd_server.requests import bounds, decode, messages, protobuf
from lossd_server.requests.reader import Reader
from lossd_server.requests.validate import RequestLimits
from support.harness import call, square

UNKNOWN = b"\xf8\x3f\x05"  # field 1023


def unknown_bytes(size: int) -> bytes:
    """A field that is not known."""
    return b"\xfa\x3f" + protobuf.encoded_varint(size) + bytes(size)


@pytest.mark.parametrize("second", [square(2), call("l1_loss", input=[1.0], target=[0.0])], ids=["of the same loss", "of another loss"])
@pytest.mark.parametrize("between", [b"", UNKNOWN])
def test_a_call_that_holds_two_requests_is_refused(second: pb.LossCall, between: bytes) -> None:
    """Protobuf would merge them, or forget the first one, however wrong it is."""
    message = square(1).SerializeToString() + between + second.SerializeToString()
    with pytest.raises(MessageMalformed, match="request: is set more than once"):
        Reader(RequestLimits()).read_call(message)


def test_lengths_may_take_more_bytes_than_they_need() -> None:
    """As encoders write them that leave room for a length before they know it."""
    plain = square(3).SerializeToString()
    assert plain[1] < 0x80
    padded = plain[:1] + bytes([plain[1] | 0x80, 0x80, 0x00]) + plain[2:]
    reader = Reader(RequestLimits())
    assert reader.read_call(padded).arrangement.columns.keys() == reader.read_call(plain).arrangement.columns.keys()


def test_fields_that_are_not_known_are_passed_over() -> None:
    assert Reader(RequestLimits()).read_call(UNKNOWN + square(3).SerializeToString()).spec.rpc == "MseLoss"


@pytest.mark.parametrize("unpacked", [b"", b"\x0d\x00\x00\x80\x3f", b"\x12\x04abcd"], ids=["nothing", "one element", "an unknown field"])
@pytest.mark.parametrize("padding", [0, bounds.ABOVE_BYTES, decode.IN_ONE_PIECE_ABOVE_BYTES])
def test_values_that_are_not_packed_in_a_request_of_any_size(unpacked: bytes, padding: int) -> None:
    """They are read, or refused; above the size up to which a request is parsed as a whole they always are."""
    values = b"\x12" + bytes([len(unpacked)]) + unpacked  # Tensor.float32_values
    tensor = bytes([len(values)]) + values
    message = b"\x0a" + tensor + b"\x12" + tensor + unknown_bytes(padding)
    if unpacked == b"\x0d\x00\x00\x80\x3f" and padding < decode.IN_ONE_PIECE_ABOVE_BYTES:
        assert Reader(RequestLimits()).read(LOSSES["MseLoss"], message).elements == 1
    else:
        with pytest.raises(CallError) as raised:
            Reader(RequestLimits()).read(LOSSES["MseLoss"], message)
        assert raised.value.code != "INTERNAL"


@pytest.mark.parametrize(
    "tail",
    [b"\x14", b"\x13\x0a\x00\x14", b"\xbd" * 9 + b"\x62\x00", b"\x82\x80\x80\x80\x80\x00\x00", b"\x02\x00", b"\x0a\x05"],
    ids=["half a group", "a group", "a tag of 10 bytes", "a tag of 6 bytes", "field 0", "half a call"],
)
def test_a_large_message_of_calls_that_ends_early_is_malformed(tail: bytes) -> None:
    """Large messages are not parsed: what they may not hold is known without it."""
    batch = pb.ScoreBatchRequest(calls=[square(1)]).SerializeToString() + unknown_bytes(1 << 20)
    assert [bytes(call) for call in calls_of(batch)] == [square(1).SerializeToString()]
    with pytest.raises(MessageMalformed):
        calls_of(batch + tail)


def calls_of(batch: bytes) -> list[Any]:
    steps = messages.split("ScoreBatchRequest", batch)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value.calls
