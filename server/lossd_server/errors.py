# SPDX-License-Identifier: Apache-2.0
"""The errors of calls. The class gives the status code and the reason; messages describe shapes, types and counts, never data or paths.

CallError
├─ InvalidArgument            fix the request; names the field
├─ TooLarge                   above a fixed limit; split the request
├─ Unavailable                retry after `retry_after_seconds`
├─ Unauthenticated, Unimplemented, NotFound
├─ DeadlineExceeded, UploadTooSlow, Cancelled
└─ KernelFailure, DeviceLost, Unexpected  errors of the server: "this is a bug"
"""

from collections.abc import Mapping
from typing import Self

from google.rpc import code_pb2

MAX_DESCRIPTION = 300


class CallError(Exception):
    """The failure of one call. Other calls are not affected."""

    code: str
    reason: str

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message[:MAX_DESCRIPTION])
        self.metadata = dict(metadata or {})

    @property
    def message(self) -> str:
        """What is wrong and how to fix it, for people."""
        return str(self)

    @property
    def number(self) -> int:
        """The google.rpc.Code."""
        return int(code_pb2.Code.Value(self.code))


class InvalidArgument(CallError):
    """The request can never succeed as it is. `field` is a path in the request message, such as "tail[1].output"."""

    code = "INVALID_ARGUMENT"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}" if field else description)
        self.field = field
        self.description = description[:MAX_DESCRIPTION]

    def within(self, prefix: str) -> Self:
        """The same error for a request inside another message; `prefix` is its path there, such as "calls[3]"."""
        return type(self)(f"{prefix}.{self.field}" if self.field else prefix, self.description)


class MessageMalformed(InvalidArgument):
    """The bytes are not the protobuf message that the method takes."""

    reason = "MESSAGE_MALFORMED"


class TensorMissing(InvalidArgument):
    """A required tensor, length list or member of a oneof is not set."""

    reason = "TENSOR_MISSING"


class TensorByteLengthMismatch(InvalidArgument):
    """A tensor's shape and the number of its elements disagree."""

    reason = "TENSOR_BYTE_LENGTH_MISMATCH"


class DtypeUnsupported(InvalidArgument):
    """A tensor's element type cannot be used there."""

    reason = "DTYPE_UNSUPPORTED"


class ShapeMismatch(InvalidArgument):
    """A shape is impossible, or does not match the shapes of the other tensors."""

    reason = "SHAPE_MISMATCH"


class TargetOutOfRange(InvalidArgument):
    """A target is outside the loss's domain: a class index, a label of 1 or -1, a probability."""

    reason = "TARGET_OUT_OF_RANGE"


class ValueOutOfRange(InvalidArgument):
    """An input, weight, variance or length is outside the loss's domain."""

    reason = "VALUE_OUT_OF_RANGE"


class ReductionUnsupported(InvalidArgument):
    """The loss has no such reduction."""

    reason = "REDUCTION_UNSUPPORTED"


class PrecisionUnsupported(InvalidArgument):
    """There is no such precision."""

    reason = "PRECISION_UNSUPPORTED"


class HyperparameterOutOfRange(InvalidArgument):
    """A scalar argument is outside its range."""

    reason = "HYPERPARAMETER_OUT_OF_RANGE"


class NonFiniteInput(InvalidArgument):
    """The request sets reject_non_finite, and a float tensor contains NaN or an infinity."""

    reason = "NON_FINITE_INPUT"


class IdInUse(InvalidArgument):
    """A call of a stream has the id of another call that is not answered yet."""

    reason = "ID_IN_USE"


class SeriesConflict(InvalidArgument):
    """A call's loss or reduction is not that of the calls of its series before it."""

    reason = "SERIES_CONFLICT"


class TooLarge(CallError):
    """The request exceeds a limit of this server and can never succeed. `metadata` has the limit and the actual size, in `unit`."""

    code = "RESOURCE_EXHAUSTED"
    unit = "bytes"

    def __init__(self, message: str, *, limit: int, actual: int) -> None:
        super().__init__(message, metadata={f"limit_{self.unit}": str(limit), f"actual_{self.unit}": str(actual)})


class RequestTooLarge(TooLarge):
    """The request message exceeds max_request_bytes."""

    reason = "REQUEST_TOO_LARGE"


class ResponseTooLarge(TooLarge):
    """The unreduced values would exceed max_response_bytes."""

    reason = "RESPONSE_TOO_LARGE"


class WorkspaceTooLarge(TooLarge):
    """The computation would need more working memory than max_workspace_bytes."""

    reason = "WORKSPACE_TOO_LARGE"


class TooManyCalls(TooLarge):
    """The message has more calls than the limit."""

    reason = "TOO_MANY_CALLS"
    unit = "calls"


class TooManyFields(TooLarge):
    """The message has so many fields that reading it would take many times its size."""

    reason = "TOO_MANY_FIELDS"
    unit = "fields"


class TooManySeries(TooLarge):
    """The evaluation has more series than the limit."""

    reason = "TOO_MANY_SERIES"
    unit = "series"


class OperationsTooLarge(TooLarge):
    """The computation would take more multiply-adds than max_operations."""

    reason = "OPERATIONS_TOO_LARGE"
    unit = "operations"


class Unavailable(CallError):
    """The server cannot take the call now. The same call may succeed after `retry_after_seconds`."""

    code = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QueueFull(Unavailable):
    """The queue is full, or the caller holds its share of it."""

    reason = "QUEUE_FULL"


class InFlightFull(Unavailable):
    """The memory for requests and answers is full, or the caller holds its share of it."""

    reason = "IN_FLIGHT_FULL"


class DeviceUnavailable(Unavailable):
    """The device was lost while the call waited or shared a batch with others. A retry is safe."""

    reason = "DEVICE_UNAVAILABLE"


class ShuttingDown(Unavailable):
    """The server is stopping. Another replica may answer."""

    reason = "SHUTTING_DOWN"


class Unauthenticated(CallError):
    """The bearer token is missing or not known."""

    code = "UNAUTHENTICATED"
    reason = "TOKEN_INVALID"


class DeadlineExceeded(CallError):
    """The deadline passed before the computation began."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXPIRED_IN_QUEUE"


class UploadTooSlow(CallError):
    """The message was not received within the RPC's deadline, or within the time that the server gives a message."""

    code = "DEADLINE_EXCEEDED"
    reason = "UPLOAD_TOO_SLOW"


class Unimplemented(CallError):
    """The server has no such method, or does not support the request's compression."""

    code = "UNIMPLEMENTED"
    reason = "UNIMPLEMENTED"


class NotFound(CallError):
    """A health check names a service that the server does not have."""

    code = "NOT_FOUND"
    reason = "SERVICE_UNKNOWN"


class MetadataTooLarge(TooLarge):
    """The request's headers exceed the limit."""

    reason = "METADATA_TOO_LARGE"


class Cancelled(CallError):
    """The caller cancelled the call, or its connection is gone."""

    code = "CANCELLED"
    reason = "CANCELLED"


class KernelFailure(CallError):
    """A kernel raised for a request that validation let through."""

    code = "INTERNAL"
    reason = "KERNEL_FAILURE"

    def __init__(self, loss: str) -> None:
        super().__init__(f"{loss} failed inside the server; this is a bug, please report it with the shapes of the request")


class DeviceLost(CallError):
    """The device failed, or never finished, while it computed this call alone. Do not retry: the call may be the cause."""

    code = "INTERNAL"
    reason = "DEVICE_LOST"

    def __init__(self, loss: str) -> None:
        super().__init__(f"the device was lost while it computed {loss}; this is a bug, please report it with the shapes of the request")


class Unexpected(CallError):
    """The server raised an unexpected exception. Only this call fails, not the other calls of its message."""

    code = "INTERNAL"
    reason = "UNEXPECTED"

    def __init__(self) -> None:
        super().__init__("the server failed unexpectedly; this is a bug, please report it with the shapes of the request")
