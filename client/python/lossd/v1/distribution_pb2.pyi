from lossd.v1 import options_pb2 as _options_pb2
from lossd.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KlDivLossRequest(_message.Message):
    __slots__ = ("input", "target", "log_target", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LOG_TARGET_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    log_target: bool
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., log_target: bool = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class PoissonNllLossRequest(_message.Message):
    __slots__ = ("input", "target", "log_input", "full", "eps", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LOG_INPUT_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    EPS_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    log_input: bool
    full: bool
    eps: float
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., log_input: bool = ..., full: bool = ..., eps: _Optional[float] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class GaussianNllLossRequest(_message.Message):
    __slots__ = ("input", "target", "variance_values", "variance_scalar", "full", "eps", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_VALUES_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_SCALAR_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    EPS_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    variance_values: _tensor_pb2.Tensor
    variance_scalar: float
    full: bool
    eps: float
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., variance_values: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., variance_scalar: _Optional[float] = ..., full: bool = ..., eps: _Optional[float] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...
