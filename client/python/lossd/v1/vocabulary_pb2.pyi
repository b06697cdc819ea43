from lossd.v1 import options_pb2 as _options_pb2
from lossd.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AdaptiveLogSoftmaxWithLossRequest(_message.Message):
    __slots__ = ("input", "target", "head_weight", "head_bias", "tail", "cutoffs", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    HEAD_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    HEAD_BIAS_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    CUTOFFS_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    head_weight: _tensor_pb2.Tensor
    head_bias: _tensor_pb2.Tensor
    tail: _containers.RepeatedCompositeFieldContainer[AdaptiveTailCluster]
    cutoffs: _containers.RepeatedScalarFieldContainer[int]
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., head_weight: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., head_bias: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., tail: _Optional[_Iterable[_Union[AdaptiveTailCluster, _Mapping]]] = ..., cutoffs: _Optional[_Iterable[int]] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class LinearCrossEntropyLossRequest(_message.Message):
    __slots__ = ("input", "linear_weight", "linear_bias", "class_indices", "class_probabilities", "weight", "ignore_index", "label_smoothing", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    LINEAR_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LINEAR_BIAS_FIELD_NUMBER: _ClassVar[int]
    CLASS_INDICES_FIELD_NUMBER: _ClassVar[int]
    CLASS_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    IGNORE_INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    linear_weight: _tensor_pb2.Tensor
    linear_bias: _tensor_pb2.Tensor
    class_indices: _tensor_pb2.Tensor
    class_probabilities: _tensor_pb2.Tensor
    weight: _tensor_pb2.Tensor
    ignore_index: int
    label_smoothing: float
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., linear_weight: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., linear_bias: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., class_indices: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., class_probabilities: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., weight: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., ignore_index: _Optional[int] = ..., label_smoothing: _Optional[float] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class AdaptiveTailCluster(_message.Message):
    __slots__ = ("projection", "output")
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    projection: _tensor_pb2.Tensor
    output: _tensor_pb2.Tensor
    def __init__(self, projection: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., output: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
