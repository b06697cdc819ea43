from lossd.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LossResponse(_message.Message):
    __slots__ = ("value", "values", "statistics", "execution")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    value: float
    values: _tensor_pb2.Tensor
    statistics: LossStatistics
    execution: Execution
    def __init__(self, value: _Optional[float] = ..., values: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., statistics: _Optional[_Union[LossStatistics, _Mapping]] = ..., execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...

class LossStatistics(_message.Message):
    __slots__ = ("sum", "mean_numerator", "mean_denominator", "element_count", "ignored_count")
    SUM_FIELD_NUMBER: _ClassVar[int]
    MEAN_NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    MEAN_DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    IGNORED_COUNT_FIELD_NUMBER: _ClassVar[int]
    sum: float
    mean_numerator: float
    mean_denominator: float
    element_count: int
    ignored_count: int
    def __init__(self, sum: _Optional[float] = ..., mean_numerator: _Optional[float] = ..., mean_denominator: _Optional[float] = ..., element_count: _Optional[int] = ..., ignored_count: _Optional[int] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("queue_seconds", "compute_seconds", "calls_in_batch", "device")
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CALLS_IN_BATCH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    queue_seconds: float
    compute_seconds: float
    calls_in_batch: int
    device: str
    def __init__(self, queue_seconds: _Optional[float] = ..., compute_seconds: _Optional[float] = ..., calls_in_batch: _Optional[int] = ..., device: _Optional[str] = ...) -> None: ...
