from lossd.v1 import options_pb2 as _options_pb2
from lossd.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CtcLossRequest(_message.Message):
    __slots__ = ("log_probs", "padded_targets", "concatenated_targets", "input_lengths", "target_lengths", "blank", "zero_infinity", "reduction", "precision", "reject_non_finite")
    LOG_PROBS_FIELD_NUMBER: _ClassVar[int]
    PADDED_TARGETS_FIELD_NUMBER: _ClassVar[int]
    CONCATENATED_TARGETS_FIELD_NUMBER: _ClassVar[int]
    INPUT_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    TARGET_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    BLANK_FIELD_NUMBER: _ClassVar[int]
    ZERO_INFINITY_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    log_probs: _tensor_pb2.Tensor
    padded_targets: _tensor_pb2.Tensor
    concatenated_targets: _tensor_pb2.Tensor
    input_lengths: _containers.RepeatedScalarFieldContainer[int]
    target_lengths: _containers.RepeatedScalarFieldContainer[int]
    blank: int
    zero_infinity: bool
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, log_probs: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., padded_targets: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., concatenated_targets: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., input_lengths: _Optional[_Iterable[int]] = ..., target_lengths: _Optional[_Iterable[int]] = ..., blank: _Optional[int] = ..., zero_infinity: bool = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...
