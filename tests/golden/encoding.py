# SPDX-License-Identifier: Apache-2.0
"""Arguments of losses as JSON, and their request messages, encoded from the schema alone: no client has a part in them."""

import base64
import math
from typing import Any, Final

import torch
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from lossd import twins
from lossd.v1 import options_pb2, tensor_pb2
from support.wire_format import varint, within

Json = dict[str, Any]

DTYPES: Final = {
    "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64,
    "int32": torch.int32, "int64": torch.int64, "uint8": torch.uint8, "bool": torch.bool,
}  # fmt: skip
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
REDUCTIONS: Final = {
    "none": options_pb2.REDUCTION_NONE,
    "mean": options_pb2.REDUCTION_MEAN,
    "sum": options_pb2.REDUCTION_SUM,
    "batchmean": options_pb2.REDUCTION_BATCH_MEAN,
}
_EXACT_IN_A_DOUBLE: Final = 2**53


def to_json(value: Any) -> Any:
    """A torch tensor, a number or a flag as JSON."""
    if isinstance(value, torch.Tensor):
        payload = (
            value.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        )
        return {"dtype": _NAMES[value.dtype], "shape": list(value.shape), "data": base64.b64encode(payload).decode()}
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_IN_A_DOUBLE else str(value)
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def to_tensor(value: Json) -> torch.Tensor:
    """The tensor of its JSON."""
    payload = bytearray(base64.b64decode(value["data"]))
    flat = torch.frombuffer(payload, dtype=DTYPES[value["dtype"]]) if payload else torch.empty(0, dtype=DTYPES[value["dtype"]])
    return flat.reshape(value["shape"])


def request(rpc: str, arguments: Json) -> bytes:
    """The request message of a call with these arguments: what is given, in the order of the fields' numbers."""
    return message(f"{rpc}Request", fields(rpc, arguments))


def tensor(value: Json) -> bytes:
    """The message Tensor."""
    name, payload = value["dtype"], base64.b64decode(value["data"])
    member = tensor_pb2.Tensor.DESCRIPTOR.fields_by_name[f"{name}_values"]
    shape = within(1, b"".join(varint(extent % 2**64) for extent in value["shape"])) if value["shape"] else b""
    if member.message_type is not None:
        payload = within(1, payload) if payload else b""
    return shape + within(member.number, payload)


def fields(rpc: str, arguments: Json) -> Json:
    """The fields of the request message by name."""
    made: Json = {}
    for name, value in arguments.items():
        if name == "reduction":
            made[name] = REDUCTIONS[value]
        elif name == "precision":
            made[name] = options_pb2.PRECISION_FLOAT64
        elif name == "distance_function":
            made.update(value)
        elif name == "var":
            made["variance_values" if isinstance(value, dict) else "variance_scalar"] = value
        elif name == "targets":
            padded = len(value["shape"]) == 2 or len(arguments["log_probs"]["shape"]) == 2
            made["padded_targets" if padded else "concatenated_targets"] = value
        elif name == "target" and rpc in ("CrossEntropyLoss", "LinearCrossEntropyLoss"):
            made["class_probabilities" if "float" in value["dtype"] else "class_indices"] = value
        else:
            made[name] = value
    return made


def message(name: str, fields: Json) -> bytes:
    """The message of lossd.v1 with this name. A field may be given as bytes: the message that it holds."""
    return _message(twins.public(name).DESCRIPTOR, fields)


# Implementation details follow.


def _message(descriptor: Descriptor, fields: Json) -> bytes:
    known = sorted((descriptor.fields_by_name[name] for name in fields), key=lambda field: field.number)
    return b"".join(_field(field, fields[field.name]) for field in known)


def _field(field: FieldDescriptor, value: Any) -> bytes:
    if isinstance(value, bytes):
        return within(field.number, value)
    if isinstance(value, list) and field.message_type is not None:
        return b"".join(within(field.number, _message(field.message_type, item)) for item in value)
    if field.message_type is not None:
        return within(field.number, tensor(value) if field.message_type.name == "Tensor" else _message(field.message_type, value))
    if isinstance(value, str):
        value = float(value) if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE else int(value)
    encoded: bytes = twins.public(field.containing_type.name)(**{field.name: value}).SerializeToString()
    return encoded
