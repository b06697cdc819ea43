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
Observe = Callable[[str, float, str], None]  # status code, seconds, caller


class Observer:
    """What every RPC tells: who calls it, as `caller_of` says, and how it ended. `named`: callers have names that may be labels."""

    def __init__(self, metrics: Metrics, caller_of: Callable[[Context], str], *, named: bool) -> None:
        self.caller_of = caller_of
        self._metrics = metrics
        self._named = named

    def rpc(self, kind: str, service: str, method: str) -> Observe:
        """To call at the end of every RPC of this method."""
        observe, caller_rpc = self._metrics.rpc(kind, service, method), self._metrics.caller_rpc
        if not self._named:
            return lambda code, seconds, _: observe(code, seconds)

        def observe_both(code: str, seconds: float, caller: str) -> None:
            observe(code, seconds)
            caller_rpc(caller, code)

        return observe_both


def unary_handlers(service: str, methods: Mapping[str, Method], observer: Observer, admission: Admission) -> grpc.GenericRpcHandler:
    """A generic handler for the unary methods of one service."""
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(_unary(service, name, method, observer, admission)) for name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, handlers)


def evaluation_handlers(service: str, evaluation: EvaluationService, observer: Observer, admission: Admission) -> grpc.GenericRpcHandler:
    """A generic handler for EvaluationService."""

    async def score_stream(_: Any, context: Context, deadline: float | None, caller: str) -> None:
        await evaluation.score_stream(_reader(context), _writer(context), deadline=deadline, caller=caller)

    async def evaluate(_: Any, context: Context, deadline: float | None, caller: str) -> bytes:
        return await evaluation.evaluate(_reader(context), deadline=deadline, caller=caller)

    score_batch = _unary(service, "ScoreBatch", evaluation.score_batch, observer, admission)
    bidi_stream = _handler("bidi_stream", service, "ScoreStream", score_stream, observer)
    client_stream = _handler("client_stream", service, "Evaluate", evaluate, observer)
    handlers: dict[str, Any] = {
        "ScoreBatch": grpc.unary_unary_rpc_method_handler(score_batch),
        "ScoreStream": grpc.stream_stream_rpc_method_handler(bidi_stream),
        "Evaluate": grpc.stream_unary_rpc_method_handler(client_stream),
    }
    return grpc.method_handlers_generic_handler(service, handlers)


def _unary(
    service: str, name: str, method: Method, observer: Observer, admission: Admission
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def answer(message: bytes, context: Context, deadline: float | None, caller: str) -> bytes:
        response = await method(message, deadline=deadline, caller=caller)
        if len(response) > _LARGE_ANSWER_BYTES:
            unsent = admission.hold(len(response), caller)
            context.add_done_callback(lambda _: unsent.release())  # type: ignore[arg-type]
        return response

    return _handler("unary", service, name, answer, observer)


def _handler(
    kind: str, service: str, name: str, answer: Callable[[Any, Context, float | None, str], Awaitable[T]], observer: Observer
) -> Callable[[Any, Context], Awaitable[T]]:
    """What every RPC has: a caller, its deadline on our clock, its errors as statuses, its metrics.

    `answer` is (request, context, deadline, caller).
    """
    observe, caller_of = observer.rpc(kind, service, name), observer.caller_of

    async def handle(request: Any, context: Context) -> T:
        started_at = time.monotonic()
        caller = caller_of(context)
        remaining = context.time_remaining()
        code = "OK"
        try:
            return await answer(request, context, None if remaining is None else started_at + remaining, caller)
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
            await abort(context, unexpected(name, caller, error))
            raise
        finally:
            observe(code, time.monotonic() - started_at, caller)

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
