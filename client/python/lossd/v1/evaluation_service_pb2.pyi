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
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LossCall(_message.Message):
    __slots__ = ("l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss", "kl_div_loss", "poisson_nll_loss", "gaussian_nll_loss", "nll_loss", "cross_entropy_loss", "bce_loss", "bce_with_logits_loss", "soft_margin_loss", "multi_margin_loss", "multi_label_margin_loss", "multi_label_soft_margin_loss", "margin_ranking_loss", "hinge_embedding_loss", "cosine_embedding_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss", "ctc_loss", "adaptive_log_softmax_with_loss", "linear_cross_entropy_loss")
    L1_LOSS_FIELD_NUMBER: _ClassVar[int]
    MSE_LOSS_FIELD_NUMBER: _ClassVar[int]
    SMOOTH_L1_LOSS_FIELD_NUMBER: _ClassVar[int]
    HUBER_LOSS_FIELD_NUMBER: _ClassVar[int]
    KL_DIV_LOSS_FIELD_NUMBER: _ClassVar[int]
    POISSON_NLL_LOSS_FIELD_NUMBER: _ClassVar[int]
    GAUSSIAN_NLL_LOSS_FIELD_NUMBER: _ClassVar[int]
    NLL_LOSS_FIELD_NUMBER: _ClassVar[int]
    CROSS_ENTROPY_LOSS_FIELD_NUMBER: _ClassVar[int]
    BCE_LOSS_FIELD_NUMBER: _ClassVar[int]
    BCE_WITH_LOGITS_LOSS_FIELD_NUMBER: _ClassVar[int]
    SOFT_MARGIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    MULTI_MARGIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    MULTI_LABEL_MARGIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    MULTI_LABEL_SOFT_MARGIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    MARGIN_RANKING_LOSS_FIELD_NUMBER: _ClassVar[int]
    HINGE_EMBEDDING_LOSS_FIELD_NUMBER: _ClassVar[int]
    COSINE_EMBEDDING_LOSS_FIELD_NUMBER: _ClassVar[int]
    TRIPLET_MARGIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    TRIPLET_MARGIN_WITH_DISTANCE_LOSS_FIELD_NUMBER: _ClassVar[int]
    CTC_LOSS_FIELD_NUMBER: _ClassVar[int]
    ADAPTIVE_LOG_SOFTMAX_WITH_LOSS_FIELD_NUMBER: _ClassVar[int]
    LINEAR_CROSS_ENTROPY_LOSS_FIELD_NUMBER: _ClassVar[int]
    l1_loss: _regression_pb2.L1LossRequest
    mse_loss: _regression_pb2.MseLossRequest
    smooth_l1_loss: _regression_pb2.SmoothL1LossRequest
    huber_loss: _regression_pb2.HuberLossRequest
    kl_div_loss: _distribution_pb2.KlDivLossRequest
    poisson_nll_loss: _distribution_pb2.PoissonNllLossRequest
    gaussian_nll_loss: _distribution_pb2.GaussianNllLossRequest
    nll_loss: _classification_pb2.NllLossRequest
    cross_entropy_loss: _classification_pb2.CrossEntropyLossRequest
    bce_loss: _classification_pb2.BceLossRequest
    bce_with_logits_loss: _classification_pb2.BceWithLogitsLossRequest
    soft_margin_loss: _classification_pb2.SoftMarginLossRequest
    multi_margin_loss: _classification_pb2.MultiMarginLossRequest
    multi_label_margin_loss: _classification_pb2.MultiLabelMarginLossRequest
    multi_label_soft_margin_loss: _classification_pb2.MultiLabelSoftMarginLossRequest
    margin_ranking_loss: _embedding_pb2.MarginRankingLossRequest
    hinge_embedding_loss: _embedding_pb2.HingeEmbeddingLossRequest
    cosine_embedding_loss: _embedding_pb2.CosineEmbeddingLossRequest
    triplet_margin_loss: _embedding_pb2.TripletMarginLossRequest
    triplet_margin_with_distance_loss: _embedding_pb2.TripletMarginWithDistanceLossRequest
    ctc_loss: _sequence_pb2.CtcLossRequest
    adaptive_log_softmax_with_loss: _vocabulary_pb2.AdaptiveLogSoftmaxWithLossRequest
    linear_cross_entropy_loss: _vocabulary_pb2.LinearCrossEntropyLossRequest
    def __init__(self, l1_loss: _Optional[_Union[_regression_pb2.L1LossRequest, _Mapping]] = ..., mse_loss: _Optional[_Union[_regression_pb2.MseLossRequest, _Mapping]] = ..., smooth_l1_loss: _Optional[_Union[_regression_pb2.SmoothL1LossRequest, _Mapping]] = ..., huber_loss: _Optional[_Union[_regression_pb2.HuberLossRequest, _Mapping]] = ..., kl_div_loss: _Optional[_Union[_distribution_pb2.KlDivLossRequest, _Mapping]] = ..., poisson_nll_loss: _Optional[_Union[_distribution_pb2.PoissonNllLossRequest, _Mapping]] = ..., gaussian_nll_loss: _Optional[_Union[_distribution_pb2.GaussianNllLossRequest, _Mapping]] = ..., nll_loss: _Optional[_Union[_classification_pb2.NllLossRequest, _Mapping]] = ..., cross_entropy_loss: _Optional[_Union[_classification_pb2.CrossEntropyLossRequest, _Mapping]] = ..., bce_loss: _Optional[_Union[_classification_pb2.BceLossRequest, _Mapping]] = ..., bce_with_logits_loss: _Optional[_Union[_classification_pb2.BceWithLogitsLossRequest, _Mapping]] = ..., soft_margin_loss: _Optional[_Union[_classification_pb2.SoftMarginLossRequest, _Mapping]] = ..., multi_margin_loss: _Optional[_Union[_classification_pb2.MultiMarginLossRequest, _Mapping]] = ..., multi_label_margin_loss: _Optional[_Union[_classification_pb2.MultiLabelMarginLossRequest, _Mapping]] = ..., multi_label_soft_margin_loss: _Optional[_Union[_classification_pb2.MultiLabelSoftMarginLossRequest, _Mapping]] = ..., margin_ranking_loss: _Optional[_Union[_embedding_pb2.MarginRankingLossRequest, _Mapping]] = ..., hinge_embedding_loss: _Optional[_Union[_embedding_pb2.HingeEmbeddingLossRequest, _Mapping]] = ..., cosine_embedding_loss: _Optional[_Union[_embedding_pb2.CosineEmbeddingLossRequest, _Mapping]] = ..., triplet_margin_loss: _Optional[_Union[_embedding_pb2.TripletMarginLossRequest, _Mapping]] = ..., triplet_margin_with_distance_loss: _Optional[_Union[_embedding_pb2.TripletMarginWithDistanceLossRequest, _Mapping]] = ..., ctc_loss: _Optional[_Union[_sequence_pb2.CtcLossRequest, _Mapping]] = ..., adaptive_log_softmax_with_loss: _Optional[_Union[_vocabulary_pb2.AdaptiveLogSoftmaxWithLossRequest, _Mapping]] = ..., linear_cross_entropy_loss: _Optional[_Union[_vocabulary_pb2.LinearCrossEntropyLossRequest, _Mapping]] = ...) -> None: ...

class LossOutcome(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: _response_pb2.LossResponse
    error: Error
    def __init__(self, response: _Optional[_Union[_response_pb2.LossResponse, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "reason", "message", "field_violations", "retry_after_seconds", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    field_violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    retry_after_seconds: float
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., field_violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., retry_after_seconds: _Optional[float] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class ScoreBatchRequest(_message.Message):
    __slots__ = ("calls",)
    CALLS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[LossCall]
    def __init__(self, calls: _Optional[_Iterable[_Union[LossCall, _Mapping]]] = ...) -> None: ...

class ScoreBatchResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[LossOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[LossOutcome, _Mapping]]] = ...) -> None: ...

class ScoreStreamRequest(_message.Message):
    __slots__ = ("calls", "cancelled_ids")
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_IDS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[StreamCall]
    cancelled_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, calls: _Optional[_Iterable[_Union[StreamCall, _Mapping]]] = ..., cancelled_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class StreamCall(_message.Message):
    __slots__ = ("id", "call", "timeout_seconds")
    ID_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    id: int
    call: LossCall
    timeout_seconds: float
    def __init__(self, id: _Optional[int] = ..., call: _Optional[_Union[LossCall, _Mapping]] = ..., timeout_seconds: _Optional[float] = ...) -> None: ...

class ScoreStreamResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[StreamOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[StreamOutcome, _Mapping]]] = ...) -> None: ...

class StreamOutcome(_message.Message):
    __slots__ = ("id", "outcome")
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    id: int
    outcome: LossOutcome
    def __init__(self, id: _Optional[int] = ..., outcome: _Optional[_Union[LossOutcome, _Mapping]] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("calls",)
    CALLS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[SeriesCall]
    def __init__(self, calls: _Optional[_Iterable[_Union[SeriesCall, _Mapping]]] = ...) -> None: ...

class SeriesCall(_message.Message):
    __slots__ = ("series", "call")
    SERIES_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    series: str
    call: LossCall
    def __init__(self, series: _Optional[str] = ..., call: _Optional[_Union[LossCall, _Mapping]] = ...) -> None: ...

class EvaluateResponse(_message.Message):
    __slots__ = ("series",)
    SERIES_FIELD_NUMBER: _ClassVar[int]
    series: _containers.RepeatedCompositeFieldContainer[SeriesResult]
    def __init__(self, series: _Optional[_Iterable[_Union[SeriesResult, _Mapping]]] = ...) -> None: ...

class SeriesResult(_message.Message):
    __slots__ = ("series", "value", "statistics", "call_count")
    SERIES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    series: str
    value: float
    statistics: _response_pb2.LossStatistics
    call_count: int
    def __init__(self, series: _Optional[str] = ..., value: _Optional[float] = ..., statistics: _Optional[_Union[_response_pb2.LossStatistics, _Mapping]] = ..., call_count: _Optional[int] = ...) -> None: ...
