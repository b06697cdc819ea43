from lossd.v1 import options_pb2 as _options_pb2
from lossd.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MarginRankingLossRequest(_message.Message):
    __slots__ = ("input1", "input2", "target", "margin", "allow_any_target", "reduction", "precision", "reject_non_finite")
    INPUT1_FIELD_NUMBER: _ClassVar[int]
    INPUT2_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ANY_TARGET_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input1: _tensor_pb2.Tensor
    input2: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    margin: float
    allow_any_target: bool
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input1: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., input2: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., margin: _Optional[float] = ..., allow_any_target: bool = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class HingeEmbeddingLossRequest(_message.Message):
    __slots__ = ("input", "target", "margin", "allow_any_target", "reduction", "precision", "reject_non_finite")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ANY_TARGET_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    margin: float
    allow_any_target: bool
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., margin: _Optional[float] = ..., allow_any_target: bool = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class CosineEmbeddingLossRequest(_message.Message):
    __slots__ = ("input1", "input2", "target", "margin", "allow_any_target", "reduction", "precision", "reject_non_finite")
    INPUT1_FIELD_NUMBER: _ClassVar[int]
    INPUT2_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ANY_TARGET_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    input1: _tensor_pb2.Tensor
    input2: _tensor_pb2.Tensor
    target: _tensor_pb2.Tensor
    margin: float
    allow_any_target: bool
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, input1: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., input2: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., target: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., margin: _Optional[float] = ..., allow_any_target: bool = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class TripletMarginLossRequest(_message.Message):
    __slots__ = ("anchor", "positive", "negative", "margin", "p", "eps", "swap", "reduction", "precision", "reject_non_finite")
    ANCHOR_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    P_FIELD_NUMBER: _ClassVar[int]
    EPS_FIELD_NUMBER: _ClassVar[int]
    SWAP_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    anchor: _tensor_pb2.Tensor
    positive: _tensor_pb2.Tensor
    negative: _tensor_pb2.Tensor
    margin: float
    p: float
    eps: float
    swap: bool
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, anchor: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., positive: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., negative: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., margin: _Optional[float] = ..., p: _Optional[float] = ..., eps: _Optional[float] = ..., swap: bool = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class TripletMarginWithDistanceLossRequest(_message.Message):
    __slots__ = ("anchor", "positive", "negative", "margin", "swap", "pairwise_distance", "cosine_distance", "squared_euclidean_distance", "reduction", "precision", "reject_non_finite")
    ANCHOR_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    SWAP_FIELD_NUMBER: _ClassVar[int]
    PAIRWISE_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    COSINE_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    SQUARED_EUCLIDEAN_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REJECT_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    anchor: _tensor_pb2.Tensor
    positive: _tensor_pb2.Tensor
    negative: _tensor_pb2.Tensor
    margin: float
    swap: bool
    pairwise_distance: PairwiseDistance
    cosine_distance: CosineDistance
    squared_euclidean_distance: SquaredEuclideanDistance
    reduction: _options_pb2.Reduction
    precision: _options_pb2.Precision
    reject_non_finite: bool
    def __init__(self, anchor: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., positive: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., negative: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., margin: _Optional[float] = ..., swap: bool = ..., pairwise_distance: _Optional[_Union[PairwiseDistance, _Mapping]] = ..., cosine_distance: _Optional[_Union[CosineDistance, _Mapping]] = ..., squared_euclidean_distance: _Optional[_Union[SquaredEuclideanDistance, _Mapping]] = ..., reduction: _Optional[_Union[_options_pb2.Reduction, str]] = ..., precision: _Optional[_Union[_options_pb2.Precision, str]] = ..., reject_non_finite: bool = ...) -> None: ...

class PairwiseDistance(_message.Message):
    __slots__ = ("p", "eps")
    P_FIELD_NUMBER: _ClassVar[int]
    EPS_FIELD_NUMBER: _ClassVar[int]
    p: float
    eps: float
    def __init__(self, p: _Optional[float] = ..., eps: _Optional[float] = ...) -> None: ...

class CosineDistance(_message.Message):
    __slots__ = ("eps",)
    EPS_FIELD_NUMBER: _ClassVar[int]
    eps: float
    def __init__(self, eps: _Optional[float] = ...) -> None: ...

class SquaredEuclideanDistance(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
