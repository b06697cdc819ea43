# SPDX-License-Identifier: Apache-2.0
"""Calls that are collected and sent together."""

from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from lossd._calls import Encoded
from lossd._codec import LossResult, Request, Unset
from lossd._errors import LossdError
from lossd._losses import LossMethods
from lossd._outbox import CONCURRENT_MESSAGES, MESSAGE_BYTES

if TYPE_CHECKING:
    from lossd._core import Core

T = TypeVar("T")


class Pending(Generic[T]):
    """The answer to a call of a batch. It is available once the batch was sent."""

    __slots__ = ("_outcome", "_return_statistics")

    def __init__(self, return_statistics: bool) -> None:
        self._return_statistics = return_statistics
        self._outcome: LossResult | LossdError | None = None

    def result(self) -> T:
        """The return value of the call. Raises the LossdError of this call, or RuntimeError if the batch was not sent."""
        if self._outcome is None:
            raise RuntimeError("the batch was not sent: its answers are available after the with statement")
        if isinstance(self._outcome, LossdError):
            raise self._outcome
        answer: Any = self._outcome if self._return_statistics else self._outcome.value
        return answer  # type: ignore[no-any-return]


# Calls are sent when they reach this many bytes, so that the server computes them while the client prepares the rest.
_SEND_BYTES: Final = 256 << 10


class _Collector(LossMethods[Pending[float], Pending[NDArray[np.floating[Any]]], Pending[LossResult]]):
    def __init__(self, core: "Core[Any, Any, Any]", timeout: float | Unset | None) -> None:
        self._core = core
        self._timeout = timeout
        self._calls: list[Request | Encoded] = []
        self._waiting: list[Pending[Any]] = []  # for the calls
        self._nbytes = 0
        self._sent: list[tuple[list[Pending[Any]], Any]] = []
        self._count = 0
        self._done = False

    def __len__(self) -> int:
        return self._count

    # Implementation details follow.

    def _call(self, request: Request, return_statistics: bool) -> Any:
        if self._done:
            raise RuntimeError("the batch was already sent")
        call = shareable(request)
        pending: Pending[Any] = Pending(return_statistics)
        self._calls.append(call)
        self._waiting.append(pending)
        self._count += 1
        if isinstance(call, Encoded):
            self._nbytes += len(call.message)
            if self._nbytes >= _SEND_BYTES and sum(not sent.done() for _, sent in self._sent) < CONCURRENT_MESSAGES:
                self._send()
        return pending

    def _send(self) -> None:
        calls, waiting, self._calls, self._waiting, self._nbytes = self._calls, self._waiting, [], [], 0
        core = self._core
        self._sent.append((waiting, core._start(partial(core._score_many, calls, core._deadline(self._timeout)))))

    async def _finish(self) -> None:
        calls, waiting = self._calls, self._waiting
        rest = await self._core._score_many(calls, self._core._deadline(self._timeout))
        answered = [(waiting, rest), *[(pending, await self._core._finish(sent)) for pending, sent in self._sent]]
        for waiting, outcomes in answered:
            for pending, outcome in zip(waiting, outcomes, strict=True):
                pending._outcome = outcome


class Batch(_Collector):
    """The losses, for Client.batch: every method returns at once, and its answer is available after the `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        from lossd._core import run

        self._done = True
        if error is None:
            run(self._finish())


class AsyncBatch(_Collector):
    """The losses, for AsyncClient.batch: methods are not awaited, and their answers are available after the `async with`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._done = True
        if error is None:
            await self._finish()


def shareable(request: Request) -> Request | Encoded:
    """The call for a message with others: encoded, or unchanged if it is large enough to be sent by itself.

    Raises ValueError if the call has its own timeout, which a call of a batch cannot have.
    """
    if "timeout" in request.options:
        raise ValueError("a call of a batch cannot have its own timeout: the batch has one")
    return request if request.nbytes > MESSAGE_BYTES else Encoded(request.rpc, request.encode())
