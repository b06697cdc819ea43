# SPDX-License-Identifier: Apache-2.0
"""Tensor messages to arrays and back: every element type, every encoding that protobuf allows, and what must be refused."""

import random
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lossd import twins
from lossd.v1 import tensor_pb2
from lossd_server.errors import InvalidArgument, MessageMalformed, TensorByteLengthMismatch
from lossd_server.losses import LOSSES, tensor
from lossd_server.losses.tensor import Array, decode_tensor
from lossd_server.requests.decode import decode, parse
from support.wire_format import varint

SPEC = LOSSES["MseLoss"]
NUMBERS = {"float32": "<f4", "float64": "<f8", "int32": "<i4", "int64": "<i8", "bool": "?"}  # packed fields
PAYLOADS = {"float16": "<f2", "bfloat16": "<u2", "uint8": "u1"}  # bytes fields
KINDS = {**NUMBERS, **PAYLOADS}

FIXED32, FIXED64, LENGTH, VARINT = 5, 1, 2, 0


def public_tensor(kind: str, array: np.ndarray) -> tensor_pb2.Tensor:
    """The message as any other language's library would fill it in, element by element if the field is repeated."""
    tensor = tensor_pb2.Tensor(shape=array.shape)
    if kind in PAYLOADS:
        setattr(tensor, f"{kind}_values", array.tobytes())
    else:
        values = getattr(tensor, f"{kind}_values")
        values.SetInParent()
        values.values.extend(array.reshape(-1).tolist())
    return tensor


def twin_of(message: tensor_pb2.Tensor | bytes) -> Any:
    return twins.twin("Tensor").FromString(message if isinstance(message, bytes) else message.SerializeToString())


def field(number: int, wire_type: int, content: bytes) -> bytes:
    length = varint(len(content)) if wire_type == LENGTH else b""
    return varint(number << 3 | wire_type) + length + content


def tensor_of_chunks(kind: str, shape: Sequence[int], chunks: Sequence[bytes]) -> bytes:
    """A Tensor whose typed member has these fields in its message."""
    member = tensor_pb2.Tensor.DESCRIPTOR.fields_by_name[f"{kind}_values"].number
    return field(1, LENGTH, b"".join(varint(extent) for extent in shape)) + field(member, LENGTH, b"".join(chunks))


def decode_request(input_tensor: bytes) -> Array:
    """The input of an MseLossRequest on the wire, decoded as the service does."""
    payload = field(1, LENGTH, input_tensor)
    message = parse("MseLossRequest", payload)
    array: Array = decode(SPEC, message, payload)["input"]
    return array


def arrays(kind: str) -> st.SearchStrategy[np.ndarray]:
    elements: dict[str, Any] = {"bool": st.booleans()}
    return hnp.arrays(
        np.dtype(KINDS[kind]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements=elements.get(kind),
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_the_public_class_wrote_is_read_bit_for_bit(kind: str, data: st.DataObject) -> None:
    array = data.draw(arrays(kind))
    decoded = decode_tensor(twin_of(public_tensor(kind, array)), "input")
    assert (decoded.dtype.name, decoded.shape, decoded.size) == (kind, array.shape, array.size)
    if kind in NUMBERS and array.dtype.kind == "f":  # through Python floats a signalling NaN may become a quiet one
        np.testing.assert_array_equal(np.frombuffer(decoded.payload, array.dtype), array.reshape(-1))
    else:
        assert decoded.payload == array.tobytes()
    if kind == "bfloat16":
        assert decoded.values.dtype == np.float32
        np.testing.assert_array_equal(decoded.values.view(np.uint32), array.astype(np.uint32) << 16)
    else:
        np.testing.assert_array_equal(decoded.values, array)
    assert decoded.values.shape == array.shape


def test_values_lie_on_the_payload_and_cannot_be_written() -> None:
    decoded = decode_tensor(twin_of(public_tensor("float32", np.arange(6, dtype=np.float32).reshape(2, 3))), "input")
    assert decoded.values is decoded.values
    assert np.shares_memory(decoded.values, np.frombuffer(decoded.payload, np.uint8))
    assert not decoded.values.flags.writeable


@pytest.mark.parametrize("kind", NUMBERS)
def test_chunks_and_single_elements_give_the_same_answer(kind: str) -> None:
    """Protobuf lets a writer split a packed field, and leave elements unpacked, in any mixture; the order is that of the wire."""
    dice = random.Random(kind)
    dtype = np.dtype(NUMBERS[kind])
    wire_type = VARINT if kind == "bool" else FIXED32 if dtype.itemsize == 4 else FIXED64
    for _ in range(200):
        array = np.array([dice.randint(0, 1) if kind == "bool" else dice.randint(-100, 100) for _ in range(dice.randint(0, 8))], dtype)
        chunks, rest = [], array
        while rest.size:
            count = dice.randint(0, rest.size)
            if dice.random() < 0.5:
                chunks += [field(1, wire_type, element.tobytes()) for element in rest[:count]]
            else:
                chunks.append(field(1, LENGTH, rest[:count].tobytes()))
            rest = rest[count:]
        message = tensor_of_chunks(kind, array.shape, chunks)
        assert decode_request(message).payload == array.tobytes()
        member = getattr(tensor_pb2.Tensor.FromString(message), f"{kind}_values")
        np.testing.assert_array_equal(np.array(member.values, dtype), array)


def test_bools_other_than_0_and_1_are_true() -> None:
    message = tensor_of_chunks("bool", [4], [field(1, LENGTH, bytes([0, 1, 2, 127]))])
    assert decode_tensor(twin_of(message), "input").values.tolist() == [False, True, True, True]


def test_a_bool_of_several_bytes_is_one_element() -> None:
    two_bytes = bytes([0x80, 0x01])
    assert decode_request(tensor_of_chunks("bool", [2], [field(1, LENGTH, two_bytes + b"\0")])).values.tolist() == [True, False]
    with pytest.raises(InvalidArgument, match="takes 2 bytes, but the payload has 1 bytes"):
        decode_request(tensor_of_chunks("bool", [2], [field(1, LENGTH, two_bytes)]))


@settings(max_examples=300, deadline=None)
@given(numbers=st.lists(st.sampled_from([0, 1, 2, 127, 128, 1 << 14, 1 << 21, (1 << 63), (1 << 64) - 1]), max_size=20), data=st.data())
def test_bools_are_read_as_the_public_class_reads_them(numbers: list[int], data: st.DataObject) -> None:
    """Also with longer varints than a number needs, and bits beyond the 64th."""
    elements = [varint(number) for number in numbers]
    elements += data.draw(
        st.lists(st.sampled_from([b"\x80\x00", b"\x80" * 9 + b"\x00", b"\x80" * 9 + b"\x02", b"\x80\x80\x01"]), max_size=3)
    )
    data.draw(st.randoms()).shuffle(elements)
    message = tensor_of_chunks("bool", [len(elements)], [field(1, LENGTH, b"".join(elements))])
    wanted = list(tensor_pb2.Tensor.FromString(message).bool_values.values)
    assert decode_tensor(twin_of(message), "input").values.tolist() == wanted


@pytest.mark.parametrize("last", [b"\x80", b"\x80" * 10 + b"\x01"])
def test_a_bool_that_protobuf_refuses_makes_the_message_malformed(last: bytes) -> None:
    with pytest.raises(MessageMalformed):
        decode_request(tensor_of_chunks("bool", [2], [field(1, LENGTH, b"\x01" + last)]))
    with pytest.raises(MessageMalformed):  # a varint does not go on in the next chunk
        decode_request(tensor_of_chunks("bool", [2], [field(1, LENGTH, b"\x01" + last), field(1, LENGTH, b"\x01")]))


@pytest.mark.parametrize(("kind", "payload"), [("bool", b"\x01" * 4095 + b"\x02"), ("bool", b"\x80\x01" * 4096), ("float32", b"\0" * 4096)])
@pytest.mark.parametrize("count", [4096, 1])
def test_no_packed_tensor_takes_work_for_each_element(kind: str, payload: bytes, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not odd bools, and not a shape that does not fit: the public class makes an object of each element."""
    monkeypatch.setattr(tensor.np, "fromiter", None)
    with suppress(TensorByteLengthMismatch):
        decode_request(tensor_of_chunks(kind, [count], [field(1, LENGTH, payload)]))


def test_a_typed_member_that_comes_twice_is_merged_and_another_one_replaces_it() -> None:
    halves = [tensor_of_chunks("float32", [], [field(1, LENGTH, struct.pack("<f", value))]) for value in (1.5, 2.5)]
    assert decode_request(field(1, LENGTH, b"\x02") + halves[0] + halves[1]).values.tolist() == [1.5, 2.5]
    other = tensor_of_chunks("int32", [1], [field(1, LENGTH, struct.pack("<i", 7))])
    assert decode_request(halves[0] + other).values.tolist() == [7]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 5, 7])
def test_a_wrong_number_of_elements_is_refused_with_both_counts(kind: str, count: int) -> None:
    dtype = np.dtype(KINDS[kind])
    message = public_tensor(kind, np.zeros(count, dtype))
    message.shape[:] = [2, 3]
    with pytest.raises(InvalidArgument) as error:
        decode_request(message.SerializeToString())
    assert (error.value.reason, error.value.field) == ("TENSOR_BYTE_LENGTH_MISMATCH", "input")
    assert f"takes {6 * dtype.itemsize} bytes, but the payload has {count * dtype.itemsize} bytes" in error.value.message


@pytest.mark.parametrize("payload_bytes", [1, 3, 5])
def test_a_payload_that_is_no_whole_number_of_elements_is_refused(payload_bytes: int) -> None:
    with pytest.raises(InvalidArgument, match=f"input: .* but the payload has {payload_bytes} bytes"):
        decode_request(tensor_of_chunks("float32", [1], [field(1, LENGTH, bytes(payload_bytes))]))
    with pytest.raises(InvalidArgument, match=f"but the payload has {payload_bytes} bytes"):
        decode_request(tensor_pb2.Tensor(shape=[1], float16_values=bytes(payload_bytes)).SerializeToString())


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ([-1], "SHAPE_MISMATCH"),
        ([2, -3], "SHAPE_MISMATCH"),
        ([-1, -1], "SHAPE_MISMATCH"),
        ([0, -(2**63)], "SHAPE_MISMATCH"),
        ([1] * 9, "SHAPE_MISMATCH"),
        ([1] * 1_000_000, "SHAPE_MISMATCH"),
        ([2**63 - 1] * 8, "TENSOR_BYTE_LENGTH_MISMATCH"),
        ([2**32, 2**32], "TENSOR_BYTE_LENGTH_MISMATCH"),
    ],
    ids=["negative", "one negative", "two negatives", "negative beside zero", "rank 9", "rank a million", "8 x 2^63", "2^64"],
)
def test_an_impossible_shape_is_refused_briefly(shape: list[int], reason: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        decode_request(tensor_pb2.Tensor(shape=shape, uint8_values=b"\1").SerializeToString())
    assert (error.value.reason, error.value.field) == (reason, "input")
    assert len(error.value.message) <= 300


def test_an_empty_tensor_may_have_enormous_extents_and_one_without_extents_is_a_scalar() -> None:
    decoded = decode_request(tensor_pb2.Tensor(shape=[0, 10**6, 10**9], float16_values=b"").SerializeToString())
    assert (decoded.shape, decoded.size) == ((0, 10**6, 10**9), 0)
    assert decode_request(public_tensor("float64", np.array(2.5)).SerializeToString()).values == 2.5


def test_an_empty_tensor_still_names_its_type() -> None:
    with pytest.raises(InvalidArgument) as error:
        decode_request(tensor_pb2.Tensor(shape=[0]).SerializeToString())
    assert (error.value.reason, error.value.field) == ("TENSOR_MISSING", "input")


@settings(max_examples=300, deadline=None)
@given(payload=st.binary(max_size=200))
def test_random_bytes_are_a_message_or_a_clear_error(payload: bytes) -> None:
    with suppress(InvalidArgument):
        decode(SPEC, parse("MseLossRequest", payload), payload)


def test_a_bool_that_never_ends_makes_the_message_malformed() -> None:
    with pytest.raises(MessageMalformed, match="the bytes are not a lossd"):
        decode_request(tensor_of_chunks("bool", [1], [field(1, LENGTH, b"\x80")]))


@pytest.mark.parametrize("packed", [True, False])
def test_a_large_tensor_takes_no_work_for_each_element(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed, no public message, with its Python object for each element, is ever made."""
    array = np.ones(1 << 16, np.float32)
    chunks = [field(1, LENGTH, array.tobytes())] if packed else [field(1, FIXED32, element.tobytes()) for element in array[:100]]
    message = tensor_of_chunks("float32", [array.size if packed else 100], chunks)
    made: list[str] = []
    original = tensor.np.fromiter
    monkeypatch.setattr(tensor.np, "fromiter", lambda *arguments: made.append("elements") or original(*arguments))
    assert decode_request(message).values.sum() == (array.size if packed else 100)
    assert made == ([] if packed else ["elements"])


def test_every_element_type_of_the_schema_is_known() -> None:
    members = {f.name for f in tensor_pb2.Tensor.DESCRIPTOR.oneofs_by_name["values"].fields}
    assert set(tensor.DTYPES) == members == {f"{kind}_values" for kind in KINDS}
    for kind, dtype in KINDS.items():
        assert tensor.DTYPES[f"{kind}_values"].itemsize == np.dtype(dtype).itemsize
