# SPDX-License-Identifier: Apache-2.0
"""The exact loss over a data set, from mini-batches in any order, overall and by named series.

The client keeps the statistics, and sends many small updates in one message while it prepares the next ones. So nothing is lost
if a connection breaks: the next `compute` sends the updates again that a failed server did not answer.
"""

from collections import deque
from collections.abc import Awaitable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Self

from lossd._batch import shareable
from lossd._calls import Encoded
from lossd._codec import UNSET, LossResult, Request
from lossd._errors import ConnectionFailedError, DeadlineError, LossdError, OverloadedError
from lossd._losses import LossMethods
from lossd._losses._base import ArrayT, FloatT, ResultT
from lossd.statistics import Totals

if TYPE_CHECKING:
    from lossd._core import Core

# Updates are sent when they reach this many bytes, or this number.
_SEND_BYTES: Final = 1 << 20
_SEND_CALLS: Final = 1024
_MESSAGES_UNDER_WAY: Final = 2
_MAY_SUCCEED_LATER: Final = (ConnectionFailedError, DeadlineError, OverloadedError)


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """The loss over all updates of a series. The fields are those of LossResult, and `call_count` is the number of updates."""

    value: float
    sum: float
    mean_numerator: float
    mean_denominator: float
    element_count: int
    ignored_count: int
    call_count: int


@dataclass(slots=True)
class SeriesState:
    """The exact statistics of one series. Can be pickled, so that evaluations of several processes can be merged."""

    loss: str  # the RPC, such as "MseLoss"; empty if only results were added
    reduction: str
    totals: Totals

    def expect(self, loss: str, reduction: str, series: str) -> None:
        """Raises ValueError if the loss or the reduction of the state differs from that of this series."""
        if reduction != self.reduction or (loss and self.loss and loss != self.loss):
            held, given = f"{self.loss or 'results'} ({self.reduction})", f"{loss or 'results'} ({reduction})"
            raise ValueError(f"series {series!r}: {given} cannot be merged with {held}")
        self.loss = self.loss or loss

    def result(self) -> SeriesResult:
        """The value and statistics, rounded once."""
        counts = {name: getattr(self.totals, name) for name in SeriesResult.__slots__ if name != "value"}
        return SeriesResult(value=self.totals.value(self.reduction), **counts)


class _Updates(LossMethods[FloatT, ArrayT, ResultT]):
    """The losses as updates of one series."""

    _name: str
    _evaluation: "_Evaluation[Any, Any, Any]"

    def update(self, loss: str, /, *args: Any, **kwargs: Any) -> FloatT:
        """Calls the method named `loss` with these arguments, for example update("cross_entropy", logits, labels)."""
        method = None if loss.startswith("_") else getattr(LossMethods, loss, None)
        if method is None:
            raise ValueError(f"there is no loss {loss!r}")
        result: FloatT = method(self, *args, **kwargs)
        return result

    def _call(self, request: Request, return_statistics: bool) -> Any:
        return self._evaluation._drive(self._evaluation._update(self._name, request))


class Series(_Updates[None, None, None]):
    """The losses, as updates of one series of an Evaluation."""

    def __init__(self, evaluation: "Evaluation", name: str) -> None:
        self._evaluation, self._name = evaluation, name


class AsyncSeries(_Updates[Awaitable[None], Awaitable[None], Awaitable[None]]):
    """The losses, as updates of one series of an AsyncEvaluation; every method is awaited."""

    def __init__(self, evaluation: "AsyncEvaluation", name: str) -> None:
        self._evaluation, self._name = evaluation, name


class _Evaluation(_Updates[FloatT, ArrayT, ResultT], Generic[FloatT, ArrayT, ResultT]):
    """What both evaluations share: coroutines over the primitives of Core."""

    def __init__(self, core: "Core[Any, Any, Any]") -> None:
        self._core = core
        self._name, self._evaluation = "", self
        self.reset()

    def reset(self) -> None:
        """Discards everything, including updates that were not answered."""
        self._series: dict[str, SeriesState] = {}
        self._waiting: list[tuple[str, Encoded]] = []
        self._waiting_bytes = 0
        self._under_way: deque[tuple[list[tuple[str, Encoded]], Any]] = deque()

    def add(self, result: LossResult, *, reduction: str = "mean", series: str = "") -> None:
        """Updates a series with the result of a call that was made with return_statistics=True. The caller must ensure that the
        result is of the series' loss. `reduction` is that of the series."""
        self._state(series, "", reduction).totals.add(result)

    def __iter__(self) -> Iterator[str]:
        """The names of the series that were updated, in the order of their first update."""
        return iter(list(self._series))

    def __contains__(self, series: object) -> bool:
        return series in self._series

    def __len__(self) -> int:
        return len(self._series)

    # Implementation details follow.

    def _drive(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        raise NotImplementedError

    def _state(self, series: str, loss: str, reduction: str) -> SeriesState:
        _check_name(series)
        if reduction == "none":
            raise ValueError('an evaluation has no reduction="none": its results are values of whole series')
        state = self._series.get(series)
        if state is None:
            state = self._series[series] = SeriesState(loss, reduction, Totals())
        state.expect(loss, reduction, series)
        return state

    async def _update(self, series: str, request: Request) -> None:
        call = shareable(request)
        state = self._state(series, request.rpc, request.reduction)
        if isinstance(call, Request):
            state.totals.add(await self._core._score(call, True))
            return
        self._waiting.append((series, call))
        self._waiting_bytes += len(call.message)
        if self._waiting_bytes >= _SEND_BYTES or len(self._waiting) >= _SEND_CALLS:
            while len(self._under_way) >= _MESSAGES_UNDER_WAY:
                await self._settle()
            self._send()

    def _send(self) -> None:
        calls, self._waiting, self._waiting_bytes = self._waiting, [], 0
        core = self._core
        job = partial(core._score_many, [call for _, call in calls], core._deadline(UNSET))
        self._under_way.append((calls, core._start(job)))

    async def _settle(self) -> None:
        """Processes the answers to the oldest message. Raises the first error among them."""
        calls, started = self._under_way[0]
        outcomes = await self._core._finish(started)
        if not self._under_way or self._under_way[0][1] is not started:
            return  # reset, or settled by another task, meanwhile
        self._under_way.popleft()
        failed = []
        for (series, call), outcome in zip(calls, outcomes, strict=True):
            if not isinstance(outcome, LossdError):
                self._series[series].totals.add(outcome)
                continue
            failed.append((series, outcome))
            if isinstance(outcome, _MAY_SUCCEED_LATER):
                self._waiting.append((series, call))
                self._waiting_bytes += len(call.message)
        if failed:
            series, error = failed[0]
            error.add_note(f"in an update of series {series!r}; {len(failed)} of {len(calls)} updates sent together failed")
            raise error

    async def _flush(self) -> None:
        """Waits until every update is answered."""
        while self._waiting or self._under_way:
            if not self._under_way:
                self._send()
            await self._settle()

    async def _compute(self) -> dict[str, SeriesResult]:
        await self._flush()
        return {name: state.result() for name, state in self._series.items()}

    async def _total(self) -> SeriesResult:
        await self._flush()
        total: SeriesState | None = None
        for name, state in self._series.items():
            if total is None:
                total = SeriesState(state.loss, state.reduction, Totals())
            total.expect(state.loss, state.reduction, name)
            total.totals.merge(state.totals)
        if total is None:
            raise ValueError("the evaluation has no updates")
        return total.result()

    async def _merge(self, other: "Self | Mapping[str, SeriesState]") -> None:
        if not isinstance(other, Mapping):
            await other._flush()
            other = other._series
        for name, state in other.items():
            self._state(name, state.loss, state.reduction).totals.merge(state.totals)

    async def _get_state(self) -> dict[str, SeriesState]:
        await self._flush()
        copies = {}
        for name, state in self._series.items():
            copies[name] = SeriesState(state.loss, state.reduction, Totals())
            copies[name].totals.merge(state.totals)
        return copies


def _check_name(series: object) -> None:
    if not isinstance(series, str):
        raise TypeError(f"a series is named by a str, not by {type(series).__name__}: evaluation[str(name)]")


class Evaluation(_Evaluation[None, None, None]):
    """The loss over a data set, updated by mini-batches. Client.evaluation() makes one.

        evaluation = client.evaluation()
        for logits, labels, region in batches:
            evaluation[region].cross_entropy(logits, labels)
        evaluation.compute()["north"].value, evaluation.total().value

    Methods have the names of the losses and return nothing; on the evaluation itself they update the series "". The result is
    the loss over all rows at once, and the order of updates and merges does not change a bit of it. All updates of a series must
    have the same loss and reduction.

    Updates up to 1 MiB are copied and sent many at a time, so a later update or `compute` raises their errors; an invalid update
    does not count. Updates that failed because no server was reached are kept and sent again.

    `for name in evaluation`, `name in evaluation` and `len(evaluation)` use the names of the series that were updated.

    Use an evaluation from one thread at a time. If several threads evaluate, give each its own evaluation and merge them.
    """

    def __getitem__(self, series: str) -> Series:
        _check_name(series)
        return Series(self, series)

    def compute(self) -> dict[str, SeriesResult]:
        """The result of every series by name."""
        return self._drive(self._compute())  # type: ignore[no-any-return]

    def total(self) -> SeriesResult:
        """The result over all series, which must have the same loss and reduction."""
        return self._drive(self._total())  # type: ignore[no-any-return]

    def merge(self, other: "Evaluation | Mapping[str, SeriesState]") -> None:
        """Adds everything that another evaluation, or its `state()`, holds."""
        self._drive(self._merge(other))

    def state(self) -> dict[str, SeriesState]:
        """A copy of the exact statistics of every series, for `merge` in another process."""
        return self._drive(self._get_state())  # type: ignore[no-any-return]

    def _drive(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        from lossd._core import run

        return run(coroutine)


class AsyncEvaluation(_Evaluation[Awaitable[None], Awaitable[None], Awaitable[None]]):
    """Evaluation for asyncio: every method except `reset` and `add` is awaited. AsyncClient.evaluation() makes one."""

    def __getitem__(self, series: str) -> AsyncSeries:
        _check_name(series)
        return AsyncSeries(self, series)

    async def compute(self) -> dict[str, SeriesResult]:
        """The result of every series by name."""
        return await self._compute()

    async def total(self) -> SeriesResult:
        """The result over all series, which must have the same loss and reduction."""
        return await self._total()

    async def merge(self, other: "AsyncEvaluation | Mapping[str, SeriesState]") -> None:
        """Adds everything that another evaluation, or its `state()`, holds."""
        await self._merge(other)

    async def state(self) -> dict[str, SeriesState]:
        """A copy of the exact statistics of every series, for `merge` in another process."""
        return await self._get_state()

    def _drive(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return coroutine
