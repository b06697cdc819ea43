# SPDX-License-Identifier: Apache-2.0
"""Twins: the messages of lossd.v1 whose packed fixed-width fields are read and written as bytes.

A packed `repeated float values = 1` and a `repeated bytes values = 1` have the same encoding: tag, length, little-endian
payload. So a message and its twin serialize to the same bytes, and no element becomes a Python object. Two encodings that protobuf
allows need care when reading through a twin:

- a packed field in several chunks: `values` holds several entries; join them;
- an unpacked field, one element per tag: the twin sees no entry; parse again with the public class.

In envelopes, every request in a LossCall is bytes too, so that encoded calls are put into messages of many calls unchanged. In
records, every LossCall is bytes, so that a message of many calls is taken apart without parsing the calls.
"""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor

from lossd.v1 import (
    classification_pb2,
    distribution_pb2,
    embedding_pb2,
    evaluation_service_pb2,
    loss_service_pb2,
    options_pb2,
    regression_pb2,
    response_pb2,
    sequence_pb2,
    tensor_pb2,
    vocabulary_pb2,
)

_FAMILIES = (regression_pb2, distribution_pb2, classification_pb2, embedding_pb2, sequence_pb2, vocabulary_pb2)
_MODULES = (tensor_pb2, options_pb2, response_pb2, *_FAMILIES, loss_service_pb2, evaluation_service_pb2)

_Proto = descriptor_pb2.FieldDescriptorProto
_FIXED_WIDTH = (_Proto.TYPE_FLOAT, _Proto.TYPE_DOUBLE, _Proto.TYPE_SFIXED32, _Proto.TYPE_SFIXED64, _Proto.TYPE_BOOL)


def _build_pool(opaque_members_of: str = "", opaque: str = "") -> descriptor_pool.DescriptorPool:
    """The pool of the twins. Messages named `opaque`, and all messages within `opaque_members_of`, are read and written as bytes."""
    pool = descriptor_pool.DescriptorPool()
    for module in _MODULES:
        file = descriptor_pb2.FileDescriptorProto()
        descriptor: FileDescriptor = module.DESCRIPTOR
        descriptor.CopyToProto(file)
        for message in file.message_type:
            for field in message.field:
                if field.label == _Proto.LABEL_REPEATED and field.type in _FIXED_WIDTH:
                    field.type = _Proto.TYPE_BYTES
                    field.ClearField("options")
                elif field.type == _Proto.TYPE_MESSAGE and (message.name == opaque_members_of or field.type_name == f".lossd.v1.{opaque}"):
                    field.type = _Proto.TYPE_BYTES
                    field.ClearField("type_name")
        pool.Add(file)
    return pool


_POOL = _build_pool()
_ENVELOPES = _build_pool(opaque_members_of="LossCall")
_RECORDS = _build_pool(opaque="LossCall")


@cache
def twin(name: str) -> Any:
    """The twin class of the message of lossd.v1 with this name."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"lossd.v1.{name}"))


@cache
def envelope(name: str) -> Any:
    """The twin class of this message in which the members of LossCall are bytes: encoded requests."""
    return message_factory.GetMessageClass(_ENVELOPES.FindMessageTypeByName(f"lossd.v1.{name}"))


@cache
def records(name: str) -> Any:
    """The twin class of this message in which every LossCall is bytes."""
    return message_factory.GetMessageClass(_RECORDS.FindMessageTypeByName(f"lossd.v1.{name}"))


@cache
def public(name: str) -> Any:
    """The generated class of the message of lossd.v1 with this name."""
    for module in _MODULES:
        if name in module.DESCRIPTOR.message_types_by_name:
            return getattr(module, name)
    raise KeyError(name)
