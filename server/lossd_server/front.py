# SPDX-License-Identifier: Apache-2.0
"""The grpc.aio front: a thin translation between gRPC and Service. Identity serializers; bytes pass through untouched.

Errors become a status with google.rpc details: ErrorInfo always, BadRequest for arguments, RetryInfo and the
grpc-retry-pushback-ms trailer for overload.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2

from lossd_server.admission import Admission
from lossd_server.errors import CallError, Cancelled, InvalidArgument, Unavailable
from lossd_server.evaluation import EvaluationService, Write
from lossd_server.metrics import Metrics
from lossd_server.service import Method
from lossd_server.stream import Read
from lossd_server.unexpected import unexpected

ERROR_DOMAIN = "lossd"

# Answers above this count as in flight until their caller has taken them.
_LARGE_ANSWER_BYTES = 64 << 10

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
Observe = Callable[[str, float], None]  # status code, seconds


def unary_handlers(service: str, methods: Mapping[str, Method], metrics: Metrics, admission: Admission) -> grpc.GenericRpcHandler:
    """A generic handler for the unary methods of one service."""
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(_unary(name, method, metrics.rpc("unary", service, name), admission))
        for name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, handlers)


def evaluation_handlers(service: str, evaluation: EvaluationService, metrics: Metrics, admission: Admission) -> grpc.GenericRpcHandler:
    """A generic handler for EvaluationService."""

    async def score_stream(_: Any, context: Context, deadline: float | None) -> None:
        await evaluation.score_stream(_reader(context), _writer(context), deadline=deadline)

    async def evaluate(_: Any, context: Context, deadline: float | None) -> bytes:
        return await evaluation.evaluate(_reader(context), deadline=deadline)

    score_batch = _unary("ScoreBatch", evaluation.score_batch, metrics.rpc("unary", service, "ScoreBatch"), admission)
    bidi_stream = _handler("ScoreStream", score_stream, metrics.rpc("bidi_stream", service, "ScoreStream"))
    client_stream = _handler("Evaluate", evaluate, metrics.rpc("client_stream", service, "Evaluate"))
    handlers: dict[str, Any] = {
        "ScoreBatch": grpc.unary_unary_rpc_method_handler(score_batch),
        "ScoreStream": grpc.stream_stream_rpc_method_handler(bidi_stream),
        "Evaluate": grpc.stream_unary_rpc_method_handler(client_stream),
    }
    return grpc.method_handlers_generic_handler(service, handlers)


def _unary(name: str, method: Method, observe: Observe, admission: Admission) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def answer(message: bytes, context: Context, deadline: float | None) -> bytes:
        response = await method(message, deadline=deadline)
        if len(response) > _LARGE_ANSWER_BYTES:
            unsent = admission.hold(len(response))
            context.add_done_callback(lambda _: unsent.release())  # type: ignore[arg-type]
        return response

    return _handler(name, answer, observe)


def _handler(
    name: str, answer: Callable[[Any, Context, float | None], Awaitable[T]], observe: Observe
) -> Callable[[Any, Context], Awaitable[T]]:
    """What every RPC has: its deadline on our clock, its errors as statuses, its metrics. `answer` is (request, context, deadline)."""

    async def handle(request: Any, context: Context) -> T:
        started_at = time.monotonic()
        remaining = context.time_remaining()
        code = "OK"
        try:
            return await answer(request, context, None if remaining is None else started_at + remaining)
        except asyncio.CancelledError:
            expired = remaining is not None and time.monotonic() - started_at >= remaining
            code = "DEADLINE_EXCEEDED" if expired else "CANCELLED"
            raise
        except CallError as error:
            code = error.code
            await abort(context, error)
            raise  # abort never returns
        except Exception as error:  # nothing of ours may leak to the caller
            code = "INTERNAL"
            await abort(context, unexpected(name, error))
            raise
        finally:
            observe(code, time.monotonic() - started_at)

    return handle


def _reader(context: Context) -> Read:
    """The messages of a stream, None at their end."""

    async def read() -> bytes | None:
        message: Any = await context.read()
        return None if message is grpc.aio.EOF else message

    return read


def _writer(context: Context) -> Write:
    async def write(message: bytes) -> None:
        try:
            await context.write(message)
        except grpc.aio.InternalError:  # the connection broke, and gRPC has not cancelled us yet
            raise Cancelled("the caller is gone") from None

    return write


async def abort(context: Context, error: CallError) -> None:
    """Ends the RPC with the error's status. Raises, as ServicerContext.abort does."""
    code = grpc.StatusCode[error.code]
    if isinstance(error, Cancelled):
        await context.abort(code, error.message)
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status(error).SerializeToString())]
    if isinstance(error, Unavailable):
        trailers.append(("grpc-retry-pushback-ms", str(round(error.retry_after_seconds * 1000))))
    await context.abort(code, error.message, tuple(trailers))


def status(error: CallError) -> status_pb2.Status:
    """The google.rpc.Status of an error."""
    message = status_pb2.Status(code=error.number, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata)
    message.details.add().Pack(info)
    if isinstance(error, InvalidArgument):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.description)
        message.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, Unavailable):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_seconds * 1e9))
        message.details.add().Pack(retry)
    return message
