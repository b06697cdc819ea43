# SPDX-License-Identifier: Apache-2.0
"""How a call is made, written once for Client and AsyncClient. Nothing here depends on a loss, a thread or an event loop.

Everything is a coroutine over five primitives, and the two clients differ only in these. Client's primitives block and never
suspend, so `run` completes a coroutine over them in one step, without an event loop.
"""

import math
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from lossd import _calls, _codec, _parts, _split, twins
from lossd._calls import Encoded
from lossd._codec import UNSET, LossResult, Request, Unset
from lossd._errors import (
    ConnectionFailedError,
    DeadlineError,
    ErrorDetails,
    InvalidArgumentError,
    LossdError,
    OverloadedError,
    TooLargeError,
)
from lossd._explain import check_shapes, explained, in_whole
from lossd._foundation import Foundation, T, remaining
from lossd._losses import LossMethods
from lossd._losses._base import ArrayT, FloatT, ResultT
from lossd._outbox import LARGEST_CALL_BYTES, MESSAGE_BYTES, Alone
from lossd.v1 import loss_service_pb2

SERVICE: Final = "lossd.v1.LossService"
Job = Callable[[], Coroutine[Any, Any, T]]

# Requests and answers above this size are encoded and decoded by `_large`. Smaller ones take less time than a hop to a thread and back.
LARGE_BYTES: Final = 1 << 20

_LossResponse: Final = twins.twin("LossResponse")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("a blocking primitive suspended")


class Core(Foundation, LossMethods[FloatT, ArrayT, ResultT]):
    """See the module."""

    # Implementation details follow: first the primitives.

    async def _unary(self, method: str, message: bytes, timeout: float | None) -> bytes:
        """One attempt of a unary RPC. Raises LossdError."""
        raise NotImplementedError

    async def _post(self, call: Encoded, deadline: float | None) -> Any:
        """The LossResponse twin that the shared stream returns for a call. Raises LossdError, or Alone."""
        raise NotImplementedError

    async def _all(self, jobs: Sequence[Job[T]]) -> list[T]:
        """The jobs' results in order. Runs CONCURRENT_MESSAGES jobs at a time. Raises the first exception, and then starts no more jobs."""
        raise NotImplementedError

    async def _large(self, work: Callable[[], T]) -> T:
        """The result of work that copies large tensors. No event loop stands still meanwhile."""
        raise NotImplementedError

    def _start(self, job: Job[T]) -> Any:
        """Starts a job, and returns what `_finish` needs."""
        raise NotImplementedError

    async def _finish(self, started: Any) -> Any:
        """The result of a job that was started."""
        raise NotImplementedError

    # One call.

    async def _score(self, request: Request, return_statistics: bool, deadline: float | Unset | None = UNSET) -> Any:
        """The answer to a call, merged from the answers to its parts if it is too large. The call's options give the default deadline."""
        if deadline is UNSET:
            deadline = self._deadline(request.options.get("timeout", UNSET))
        try:
            check_shapes(request)
            if request.nbytes > self._limit:
                raise _split.too_large(request, self._limit)
            response = await self._ask(request, deadline)
        except TooLargeError as error:
            refused = error
        except InvalidArgumentError as error:
            raise explained(error, request) from None
        else:
            read = _codec.result if return_statistics else _codec.value
            large = request.reduction == "none" and request.nbytes > LARGE_BYTES
            return await self._large(partial(read, response)) if large else read(response)
        result = await self._score_parts(request, deadline, refused)
        return result if return_statistics else result.value

    async def _ask(self, request: Request, deadline: float | None) -> Any:
        """The LossResponse twin of a request within the limits."""
        message = await self._large(request.encode) if request.nbytes > LARGE_BYTES else request.encode()
        return await self._respond(Encoded(request.rpc, message), deadline)

    async def _respond(self, call: Encoded, deadline: float | None) -> Any:
        """The LossResponse twin of a call."""
        shared = self._coalesce and len(call.message) <= LARGEST_CALL_BYTES

        async def attempt(left: float | None) -> Any:
            nonlocal shared
            if shared:
                shared = False
                try:
                    return await self._post(call, deadline)
                except Alone:
                    left = remaining(deadline)
            answer = await self._unary(f"/{SERVICE}/{call.rpc}", call.message, left)
            parse = _LossResponse.FromString
            return await self._large(partial(parse, answer)) if len(answer) > LARGE_BYTES else parse(answer)

        return await self._retried(attempt, deadline)

    async def _score_parts(self, request: Request, deadline: float | None, refused: TooLargeError) -> LossResult:
        """The result merged from the parts of a request that is too large. Raises TooLargeError if splitting is disabled or cannot help."""
        if not self._split:
            raise refused
        await self._learn_limit(request, refused, deadline)
        if request.nbytes > self._limit:
            parts = _split.cut(request, _parts.parts_needed(request, self._limit))
            results = await self._score_all(request, parts, 0, deadline)
            return await self._large(partial(_split.merge, request, results))
        # Only the server can measure its other limits. One part is cut until the server accepts it, then the rest.
        total = rows = _split.count_rows(request)
        first, rest = request, []
        refusals: list[_parts.Refusal] = []
        while True:
            refusals.append(_parts.refusal(rows, refused))
            if rows == 1:
                ahead = await self._score_parts(first, deadline, refused)  # cut along the next extent
                break
            count = math.ceil(total / _parts.rows_that_fit(request, refusals))
            first, *rest = _split.cut(request, count)
            rows = total // count
            try:
                ahead = _codec.result(await self._ask(first, deadline))
                break
            except TooLargeError as error:
                refused = error
            except InvalidArgumentError as error:
                raise in_whole(explained(error, first), request, 0, rows) from None
        results = [ahead, *await self._score_all(request, rest, rows, deadline)]
        return await self._large(partial(_split.merge, request, results))

    async def _score_all(self, request: Request, parts: Sequence[Request], start: int, deadline: float | None) -> list[LossResult]:
        """The results of parts of a request; the first part begins at row `start`."""

        async def score(part: Request, start: int) -> LossResult:
            try:
                result: LossResult = await self._score(part, True, deadline)
            except InvalidArgumentError as error:
                raise in_whole(error, request, start, start + _split.rows_in(request, part)) from None
            return result

        jobs: list[Job[LossResult]] = []
        for part in parts:
            jobs.append(partial(score, part, start))
            start += _split.rows_in(request, part)
        return await self._all(jobs)

    async def _learn_limit(self, request: Request, refused: TooLargeError, deadline: float | None) -> None:
        """Adopts the server's limit on the bytes of a request, if the server refused the request for that limit."""
        if refused.reason == "REQUEST_TOO_LARGE" and refused.limit_bytes is not None:
            self._limit = min(self._limit, refused.limit_bytes)
        elif request.nbytes <= self._limit and _parts.refused_by_grpc(refused):
            self._limit = min(self._limit, (await self._server_info(deadline)).max_request_bytes)

    # Many calls.

    async def _score_many(self, calls: Sequence[Request | Encoded], deadline: float | None) -> list[LossResult | LossdError]:
        """The outcomes of the calls in order. Encoded calls share messages; each Request is sent by itself."""
        outcomes: list[Any] = [None] * len(calls)

        async def share(indices: list[int]) -> None:
            answers = await self._score_message([calls[i] for i in indices], deadline)  # type: ignore[misc]
            for i, answer in zip(indices, answers, strict=True):
                outcomes[i] = answer if isinstance(answer, LossdError) else _codec.result(answer)

        async def alone(index: int, request: Request) -> None:
            try:
                outcomes[index] = await self._score(request, True, deadline)
            except LossdError as error:
                outcomes[index] = error

        jobs: list[Job[None]] = []
        message: list[int] = []
        nbytes = 0
        for index, call in enumerate(calls):
            if isinstance(call, Request):
                jobs.append(partial(alone, index, call))
                continue
            if message and nbytes + len(call.message) > min(MESSAGE_BYTES, self._limit // 2):
                jobs.append(partial(share, message))
                message, nbytes = [], 0
            message.append(index)
            nbytes += len(call.message) + 16
        if message:
            jobs.append(partial(share, message))
        await self._all(jobs)
        return outcomes

    async def _score_message(self, calls: Sequence[Encoded], deadline: float | None) -> list[Any]:
        """The LossResponse twins or LossdErrors of calls that are sent as one message, or in halves if the message is too large."""
        outcomes: list[Any] = [None] * len(calls)
        todo = list(range(len(calls)))

        async def attempt(left: float | None) -> None:
            nonlocal todo
            message = _calls.batch_message(calls[i] for i in todo)
            answers = _calls.batch_outcomes(await self._unary(f"/{_calls.SERVICE}/ScoreBatch", message, left), len(todo))
            for i, answer in zip(todo, answers, strict=True):
                outcomes[i] = explained(answer, calls[i]) if isinstance(answer, InvalidArgumentError) else answer
            todo = [i for i in todo if isinstance(outcomes[i], OverloadedError)]
            if todo:
                raise max((outcomes[i] for i in todo), key=lambda error: error.retry_after_seconds or 0.0)

        try:
            await self._retried(attempt, deadline)
        except LossdError as error:
            if isinstance(error, TooLargeError) and len(todo) > 1:
                middle = len(todo) // 2
                halves = [await self._score_message([calls[i] for i in half], deadline) for half in (todo[:middle], todo[middle:])]
                answers = [*halves[0], *halves[1]]
            else:
                answers = [error] * len(todo)
            for i, answer in zip(todo, answers, strict=True):
                outcomes[i] = answer
        return outcomes

    # What both need.

    async def _server_info(self, deadline: float | None, retry: bool | None = None) -> loss_service_pb2.GetServerInfoResponse:
        async def attempt(left: float | None) -> bytes:
            return await self._unary(f"/{SERVICE}/GetServerInfo", b"", left)

        return loss_service_pb2.GetServerInfoResponse.FromString(await self._retried(attempt, deadline, retry))

    async def _until_ready(self, timeout: float | Unset | None) -> None:
        try:
            await self._server_info(self._deadline(timeout), retry=True)
        except DeadlineError as error:
            message = f"no server answered within the timeout: {error.message}"
            raise ConnectionFailedError(ErrorDetails("UNAVAILABLE", message)) from error
