# SPDX-License-Identifier: Apache-2.0
"""Messages that are almost right. A valid request is changed through its descriptor, and then, perhaps, byte by byte.

Everything is drawn from one random.Random, so that a seed gives the same messages again.
"""

import math
import random
import struct
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from lossd import twins
from lossd.v1 import evaluation_service_pb2 as evaluation_pb2
from support.wire_format import within

from .corpus import Valid
from .encoding import convert, loss_call, pack, tensors_of

INTEGERS = (
    0, 1, 2, 3, 5, 7, 8, 100, -1, -2, -100, 255, 256, 2**15, 2**16, 10**6, 2**31 - 1, 2**31, -(2**31), 2**32, 2**62, 2**63 - 1, -(2**63),
)  # fmt: skip
REALS = (0.0, -0.0, 0.5, 1.0, -1.0, 2.0, 1e-45, 1e-38, 1e38, 3.4028234663852886e38, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan)
TYPED = ("float32_values", "float64_values", "int32_values", "int64_values", "bool_values")
PLAIN = ("float16_values", "bfloat16_values", "uint8_values")
_FORMATS = {"float32_values": "f", "float64_values": "d", "int32_values": "i", "int64_values": "q", "bool_values": "?"}
_MOST_BYTES = 1 << 16


class Mutator:
    """Makes hostile messages out of valid ones."""

    def __init__(self, generator: random.Random, valid: list[Valid]) -> None:
        self.random = generator
        self._valid = valid
        self._parsed = [(call, twins.public(f"{call.rpc}Request").FromString(call.message)) for call in valid]
        self._changes: tuple[Callable[[Any], None], ...] = (
            self._change_tensor,
            self._change_tensor,
            self._change_tensor,
            self._change_option,
            self._change_list,
            self._drop_field,
            self._swap_tensors,
        )

    def request(self) -> tuple[str, bytes]:
        """The RPC and a message for it."""
        draw = self.random.random()
        call, message = self.random.choice(self._parsed)
        if draw < 0.03:
            return call.rpc, self.random.randbytes(self.random.choice((0, 1, 10, 100, 1000)))
        if draw < 0.06:  # the message of another method
            return self.random.choice(self._valid).rpc, call.message
        if draw < 0.14:
            return call.rpc, self._spoil(call.message)
        changed = type(message)()
        changed.CopyFrom(message)
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            self.random.choice(self._changes)(changed)
        encoded = changed.SerializeToString()
        if draw < 0.30:
            encoded = self._reencode(call.rpc, encoded)
        if draw < 0.18:
            encoded = self._spoil(encoded)
        return call.rpc, encoded

    def call(self) -> tuple[Valid | None, bytes]:
        """A LossCall, and the valid call that it is, if it is one."""
        if self.random.random() < 0.4:
            valid = self.random.choice(self._valid)
            return valid, loss_call(valid.rpc, valid.message)
        rpc, message = self.request()
        return None, loss_call(rpc, message)

    def calls(self, name: str, most: int = 8) -> tuple[list[tuple[int, Valid | None]], bytes]:
        """A message of many calls, of this type, and its calls by id; no calls where it may not even be a message.

        Calls of ScoreStreamRequest have unique ids in [1, 2^63) unless the message may be broken.
        """
        sent: list[tuple[int, Valid | None]] = []
        parts: list[bytes] = []
        for _ in range(self.random.randrange(most + 1)):
            valid, call = self.call()
            if name == "ScoreBatchRequest":
                id_, part = len(sent), call
            elif name == "EvaluateRequest":
                series = self.random.choice(("", "a", "b", "\N{SNOWMAN}", "x" * 300))
                id_, part = len(sent), within(1, series.encode()) + within(2, call)
            else:
                id_ = self.random.getrandbits(62) + 1
                part = evaluation_pb2.StreamCall(id=id_, timeout_seconds=self._timeout()).SerializeToString() + within(2, call)
            sent.append((id_, valid))
            parts.append(within(1, part))
        message = b"".join(parts)
        if name == "ScoreStreamRequest" and self.random.random() < 0.2:
            message += evaluation_pb2.ScoreStreamRequest(cancelled_ids=[self.random.getrandbits(63) for _ in range(20)]).SerializeToString()
        if self.random.random() < 0.15:
            return [], self._spoil(message)
        return sent, message

    # Implementation details follow: changes to one message, in place.

    def _timeout(self) -> float | None:
        return self.random.choice((None, None, None, 60.0, math.inf))

    def _change_tensor(self, message: Any) -> None:
        tensors = list(tensors_of(message))
        if not tensors:
            return
        tensor = self.random.choice(tensors)
        kind = self.random.randrange(7)
        if kind == 0 and tensor.shape:
            tensor.shape[self.random.randrange(len(tensor.shape))] = self.random.choice(INTEGERS)
        elif kind == 1:
            tensor.shape.append(self.random.choice(INTEGERS))
        elif kind == 2 and tensor.shape:
            tensor.shape.pop(self.random.randrange(len(tensor.shape)))
        elif kind == 3:
            self._retype(tensor)
        elif kind == 4:
            shape = list(tensor.shape)
            self.random.shuffle(shape)
            tensor.shape[:] = shape
        elif kind == 5:
            self._resize(tensor)
        else:
            self._poke(tensor)

    def _poke(self, tensor: Any) -> None:
        """Other elements, as many."""
        member = tensor.WhichOneof("values")
        if member in PLAIN:
            payload = bytearray(getattr(tensor, member))
            for _ in range(min(len(payload), 4)):
                payload[self.random.randrange(len(payload))] = self.random.choice(
                    (0, 1, 0x7C, 0x7F, 0x80, 0xFC, 0xFF, self.random.getrandbits(8))
                )
            setattr(tensor, member, bytes(payload))
        elif member:
            values = getattr(tensor, member).values
            for _ in range(min(len(values), self.random.choice((1, 2, 8)))):
                values[self.random.randrange(len(values))] = self._element(member)

    def _element(self, member: str) -> Any:
        if member == "bool_values":
            return self.random.random() < 0.5
        if member.startswith("int"):
            bits = 32 if "32" in member else 64
            return self.random.choice([n for n in INTEGERS if -(2 ** (bits - 1)) <= n < 2 ** (bits - 1)])
        value = self.random.choice((*REALS, self.random.gauss(0, 1), self.random.gauss(0, 1e6)))
        return value if member == "float64_values" or not math.isfinite(value) else max(-3e38, min(3e38, value))

    def _resize(self, tensor: Any) -> None:
        """More or fewer rows, with a shape that goes with them or not."""
        member = tensor.WhichOneof("values")
        if not member:
            return
        values = getattr(tensor, member) if member in PLAIN else getattr(tensor, member).values
        times = self.random.choice((0, 2, 3))
        if len(values) * times > _MOST_BYTES // 8:
            return
        if member in PLAIN:
            setattr(tensor, member, values * times)
        else:
            values[:] = list(values) * times
            getattr(tensor, member).SetInParent()
        if tensor.shape and abs(tensor.shape[0]) < 2**32 and self.random.random() < 0.7:
            tensor.shape[0] *= times

    def _retype(self, tensor: Any) -> None:
        """The same values, or the same bytes, as another element type."""
        member = tensor.WhichOneof("values")
        if not member:
            return
        payload = getattr(tensor, member) if member in PLAIN else pack(member, getattr(tensor, member).values)
        other = self.random.choice(TYPED + PLAIN)
        if other in PLAIN:
            setattr(tensor, other, payload)
            return
        if member in TYPED and self.random.random() < 0.7:
            numbers = [convert(other, value) for value in getattr(tensor, member).values]
        else:
            width = struct.calcsize(_FORMATS[other])
            numbers = [value for (value,) in struct.iter_unpack("<" + _FORMATS[other], payload[: len(payload) // width * width])]
        getattr(tensor, other).SetInParent()
        getattr(tensor, other).values[:] = numbers

    def _change_option(self, message: Any) -> None:
        options = [field for field in message.DESCRIPTOR.fields if field.message_type is None and not field.is_repeated]
        groups = [
            field
            for field in message.DESCRIPTOR.fields
            if field.message_type and field.message_type.name != "Tensor" and not field.is_repeated
        ]
        if groups and self.random.random() < 0.3:
            group = getattr(message, self.random.choice(groups).name)
            group.SetInParent()
            self._change_option(group)
            return
        if not options:
            return
        field = self.random.choice(options)
        if field.type == FieldDescriptor.TYPE_BOOL:
            value: Any = self.random.random() < 0.5
        elif field.type == FieldDescriptor.TYPE_DOUBLE:
            value = self.random.choice((*REALS, self.random.uniform(-3, 3)))
        elif field.type == FieldDescriptor.TYPE_ENUM:
            value = self.random.choice((0, 1, 2, 3, 4, 5, 77, -1, 2**31 - 1))
        else:
            small = field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32)
            value = self.random.choice([n for n in INTEGERS if not small or -(2**31) <= n < 2**31])
        setattr(message, field.name, value)

    def _change_list(self, message: Any) -> None:
        lists = [field for field in message.DESCRIPTOR.fields if field.is_repeated]
        if not lists:
            self._change_option(message)
            return
        values = getattr(message, self.random.choice(lists).name)
        kind = self.random.randrange(4)
        if kind == 0 and values:
            del values[self.random.randrange(len(values))]
        elif kind == 1 and values:
            values.append(values[self.random.randrange(len(values))])
        elif kind == 2 and values and isinstance(values[0], int):
            values[self.random.randrange(len(values))] = self.random.choice(INTEGERS)
        elif kind == 3 and values:
            values.extend(list(values) * self.random.choice((1, 3)))

    def _drop_field(self, message: Any) -> None:
        present = [field.name for field, _ in message.ListFields()]
        if present:
            message.ClearField(self.random.choice(present))

    def _swap_tensors(self, message: Any) -> None:
        tensors = list(tensors_of(message))
        if tensors:
            copy = type(tensors[0])()
            copy.CopyFrom(self.random.choice(tensors))
            self.random.choice(tensors).CopyFrom(copy)

    # The encoded form.

    def _reencode(self, rpc: str, message: bytes) -> bytes:
        """The same message in another encoding, if protobuf allows it: packed fields in pieces, fields again, unknown fields."""
        twin = twins.twin(f"{rpc}Request").FromString(message)
        for tensor in tensors_of(twin):
            member = tensor.WhichOneof("values")
            if member in TYPED and getattr(tensor, member).values:
                payload = getattr(tensor, member).values[0]
                at = self.random.randrange(len(payload) + 1)
                if self.random.random() < 0.7:
                    at -= at % struct.calcsize(_FORMATS[member])
                getattr(tensor, member).values[:] = [payload[:at], payload[at:]]
        encoded: bytes = twin.SerializeToString()
        extra = self.random.randrange(4)
        if extra == 0:
            encoded += encoded  # singular messages merge
        elif extra == 1:
            encoded = within(self.random.choice((15, 99, 1000)), b"what") + encoded
        elif extra == 2:
            encoded = b"\x7b" * 20 + b"\x7c" * 20 + encoded  # groups within groups
        return encoded

    def _spoil(self, message: bytes) -> bytes:
        """A few bytes are other, gone, or more."""
        data = bytearray(message)
        for _ in range(self.random.choice((1, 1, 2, 5))):
            if not data:
                break
            kind, at = self.random.randrange(6), self.random.randrange(len(data))
            if kind == 0:
                data[at] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                data[at:at] = self.random.randbytes(self.random.choice((1, 2, 8)))
            elif kind == 2:
                del data[at : at + self.random.choice((1, 2, 8, 100))]
            elif kind == 3:
                del data[at:]
            elif kind == 4:
                data[at] = self.random.choice((0, 0x7F, 0x80, 0xFF))
            else:
                data += data[at : at + 64]
        return bytes(data)
