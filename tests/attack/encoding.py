# SPDX-License-Identifier: Apache-2.0
"""Pieces of encoded messages that mutations are made of."""

import math
import struct
from collections.abc import Iterator
from typing import Any

from lossd import twins

from .corpus import MEMBERS

TYPED = ("float32_values", "float64_values", "int32_values", "int64_values", "bool_values")
PLAIN = ("float16_values", "bfloat16_values", "uint8_values")
_FORMATS = {"float32_values": "f", "float64_values": "d", "int32_values": "i", "int64_values": "q", "bool_values": "?"}


def tensors_of(message: Any) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for item in value if field.is_repeated else (value,):
            if field.message_type.name == "Tensor":
                yield item
            else:
                yield from tensors_of(item)


def pack(member: str, values: Any) -> bytes:
    return struct.pack(f"<{len(values)}{_FORMATS[member]}", *values)


def convert(member: str, value: Any) -> Any:
    if member == "bool_values":
        return bool(value)
    if member.startswith("int"):
        limit = 2**31 - 1 if "32" in member else 2**63 - 1
        return 0 if not math.isfinite(value) else max(-limit, min(limit, int(value)))
    return float(value) if member == "float64_values" else max(-3e38, min(3e38, float(value)))


def loss_call(rpc: str, message: bytes) -> bytes:
    call = twins.envelope("LossCall")()
    setattr(call, MEMBERS[rpc], message)
    encoded: bytes = call.SerializeToString()
    return encoded
