from lossd.v1 import classification_pb2 as _classification_pb2
from lossd.v1 import distribution_pb2 as _distribution_pb2
from lossd.v1 import embedding_pb2 as _embedding_pb2
from lossd.v1 import regression_pb2 as _regression_pb2
from lossd.v1 import response_pb2 as _response_pb2
from lossd.v1 import sequence_pb2 as _sequence_pb2
from lossd.v1 import vocabulary_pb2 as _vocabulary_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("server_version", "torch_version", "devices", "losses", "max_request_bytes", "max_response_bytes", "max_workspace_bytes", "max_operations")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    TORCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_WORKSPACE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    torch_version: str
    devices: _containers.RepeatedScalarFieldContainer[str]
    losses: _containers.RepeatedScalarFieldContainer[str]
    max_request_bytes: int
    max_response_bytes: int
    max_workspace_bytes: int
    max_operations: int
    def __init__(self, server_version: _Optional[str] = ..., torch_version: _Optional[str] = ..., devices: _Optional[_Iterable[str]] = ..., losses: _Optional[_Iterable[str]] = ..., max_request_bytes: _Optional[int] = ..., max_response_bytes: _Optional[int] = ..., max_workspace_bytes: _Optional[int] = ..., max_operations: _Optional[int] = ...) -> None: ...
