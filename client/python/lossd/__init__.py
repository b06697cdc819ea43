# SPDX-License-Identifier: Apache-2.0
"""lossd: PyTorch's losses over gRPC. Needs numpy and grpcio, never torch.

with lossd.Client("localhost:50051") as client:
    loss = client.cross_entropy(logits, labels)
"""

from lossd._async_client import AsyncClient
from lossd._batch import AsyncBatch, Batch, Pending
from lossd._client import Client
from lossd._codec import Execution, LossResult
from lossd._distances import CosineDistance, PairwiseDistance, SquaredEuclideanDistance
from lossd._errors import (
    AuthenticationError,
    CallCancelledError,
    ConnectionFailedError,
    DeadlineError,
    FieldViolation,
    InvalidArgumentError,
    LossdError,
    OverloadedError,
    ServerError,
    TooLargeError,
)
from lossd._evaluation import AsyncEvaluation, Evaluation, SeriesResult, SeriesState

__all__ = [
    "AsyncBatch",
    "AsyncClient",
    "AsyncEvaluation",
    "AuthenticationError",
    "Batch",
    "CallCancelledError",
    "Client",
    "ConnectionFailedError",
    "CosineDistance",
    "DeadlineError",
    "Evaluation",
    "Execution",
    "FieldViolation",
    "InvalidArgumentError",
    "LossResult",
    "LossdError",
    "OverloadedError",
    "PairwiseDistance",
    "Pending",
    "SeriesResult",
    "SeriesState",
    "ServerError",
    "SquaredEuclideanDistance",
    "TooLargeError",
]

__version__ = "0.1.0"
