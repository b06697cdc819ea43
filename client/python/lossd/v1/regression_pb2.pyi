from lossd.v1 import options_pb2 as _options_pb2
from lossd.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class L1LossRequest(_message.Message):
    __slots__ = ("input", "target", "weight", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    weight: _tensor_pb2.Tensor
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., weight: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class MseLossRequest(_message.Message):
    __slots__ = ("input", "target", "weight", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    weight: _tensor_pb2.Tensor
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., weight: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class SmoothL1LossRequest(_message.Message):
    __slots__ = ("input", "target", "beta", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BETA_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    beta: float
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., beta: _Optional[float] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class HuberLossRequest(_message.Message):
    __slots__ = ("input", "target", "weight", "delta", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    weight: _tensor_pb2.Tensor
    delta: float
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., weight: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., delta: _Optional[float] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...
