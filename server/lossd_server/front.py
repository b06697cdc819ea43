# SPDX-License-Identifier: Apache-2.0
"""The grpc.aio front: a thin translation between gRPC and Service. Identity serializers; bytes pass through untouched.

Errors become a status with google.rpc details: ErrorInfo always, BadRequest for arguments, RetryInfo and the
grpc-retry-pushback-ms trailer for overload.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import structlog
from google.rpc import error_details_pb2, status_pb2

from lossd_server.admission import Admission
from lossd_server.errors import CallError, Cancelled, InvalidArgument, Unavailable
from lossd_server.metrics import Metrics
from lossd_server.service import Method

ERROR_DOMAIN = "lossd"

# Answers above this count as in flight until their caller has taken them.
_LARGE_ANSWER_BYTES = 64 << 10

_log = structlog.get_logger("lossd.front")

Context = grpc.aio.ServicerContext[Any, Any]


def unary_handlers(service: str, methods: Mapping[str, Method], metrics: Metrics, admission: Admission) -> grpc.GenericRpcHandler:
    """A generic handler for the unary methods of one service."""
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(_unary(service, name, method, metrics, admission)) for name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, handlers)


def _unary(service: str, name: str, method: Method, metrics: Metrics, admission: Admission) -> Callable[[bytes, Context], Awaitable[bytes]]:
    observe = metrics.rpc("unary", service, name)

    async def handle(message: bytes, context: Context) -> bytes:
        started_at = time.monotonic()
        remaining = context.time_remaining()
        code = "OK"
        try:
            response = await method(message, deadline=None if remaining is None else started_at + remaining)
            if len(response) > _LARGE_ANSWER_BYTES:
                unsent = admission.hold(len(response))
                context.add_done_callback(lambda _: unsent.release())  # type: ignore[arg-type]
            return response
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
            await abort(context, _internal(name, error))
            raise
        finally:
            observe(code, time.monotonic() - started_at)

    return handle


def _internal(name: str, error: Exception) -> CallError:
    _log.error("unexpected_exception", method=name, error=type(error).__name__, exc_info=error)
    unexpected = CallError("the server failed unexpectedly; this is a bug, please report it with the shapes of the request")
    unexpected.code, unexpected.reason = "INTERNAL", "UNEXPECTED"
    return unexpected


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
    message = status_pb2.Status(code=grpc.StatusCode[error.code].value[0], message=error.message)
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
