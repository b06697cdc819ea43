# SPDX-License-Identifier: Apache-2.0
"""The loss over a data set, from mini-batches: exact, whatever their order, and by named series.

Statistics are kept on this side, and small updates travel many to a message while the next ones are prepared. So nothing is
lost with a connection: what a dead server did not answer is sent again by the next `compute`.
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

# Updates leave when they have so many bytes, or are so many.
_SEND_BYTES: Final = 1 << 20
_SEND_CALLS: Final = 1024
_MESSAGES_UNDER_WAY: Final = 2
_MAY_SUCCEED_LATER: Final = (ConnectionFailedError, DeadlineError, OverloadedError)


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """The loss over everything that a series was updated with. As LossResult, and `call_count` updates."""

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

    loss: str  # the RPC, as "MseLoss"; empty where only results were added
    reduction: str
    totals: Totals

    def expect(self, loss: str, reduction: str, series: str) -> None:
        """Raises ValueError where the state holds another loss or reduction than that of this series."""
        if reduction != self.reduction or (loss and self.loss and loss != self.loss):
            held, given = f"{self.loss or 'results'} ({self.reduction})", f"{loss or 'results'} ({reduction})"
            raise ValueError(f"series {series!r}: {given} cannot be merged with {held}")
        self.loss = self.loss or loss

    def result(self) -> SeriesResult:
        """The value and statistics, rounded once."""
        totals = self.totals
        return SeriesResult(
            value=totals.value(self.reduction),
            sum=totals.sum,
            mean_numerator=totals.mean_numerator,
            mean_denominator=totals.mean_denominator,
            element_count=totals.element_count,
            ignored_count=totals.ignored_count,
            call_count=totals.call_count,
        )


class _Updates(LossMethods[FloatT, ArrayT, ResultT]):
    """The losses as updates of one series."""

    _name: str
    _evaluation: "_Evaluation[Any, Any, Any]"

    def update(self, loss: str, /, *args: Any, **kwargs: Any) -> FloatT:
        """The method named `loss` with these arguments, as update("cross_entropy", logits, labels)."""
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
    """The losses, as updates of one series of an AsyncEvaluation; every one is awaited."""

    def __init__(self, evaluation: "AsyncEvaluation", name: str) -> None:
        self._evaluation, self._name = evaluation, name


class _Evaluation(_Updates[FloatT, ArrayT, ResultT], Generic[FloatT, ArrayT, ResultT]):
    """What both kinds share. Coroutines over the primitives of Core."""

    def __init__(self, core: "Core[Any, Any, Any]") -> None:
        self._core = core
        self._name, self._evaluation = "", self
        self.reset()

    def reset(self) -> None:
        """Forgets everything, updates that were not answered included."""
        self._series: dict[str, SeriesState] = {}
        self._waiting: list[tuple[str, Encoded]] = []
        self._waiting_bytes = 0
        self._under_way: deque[tuple[list[tuple[str, Encoded]], Any]] = deque()

    def add(self, result: LossResult, *, reduction: str = "mean", series: str = "") -> None:
        """Updates a series with the result of a call that was made with return_statistics=True. That it is of the same loss
        is the caller's care; `reduction` is the series'."""
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
        """Takes in the answers to the oldest message. Raises the first error among them."""
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
        """Until everything is answered."""
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
            raise ValueError("the evaluation holds nothing")
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
    """The loss over a data set, updated mini-batch by mini-batch. Made by Client.evaluation.

        evaluation = client.evaluation()
        for logits, labels, region in batches:
            evaluation[region].cross_entropy(logits, labels)
        evaluation.compute()["north"].value, evaluation.total().value

    Methods are named as the losses and return nothing; on the evaluation itself they update the series "". The result does not
    depend on the order of updates and merges by a single bit, and equals the loss over all rows at once. All updates of a
    series have the same loss and reduction.

    Updates up to 1 MiB are copied and sent many at a time, so their errors come from a later update, or from `compute`; the
    update at fault counts for nothing. What failed because the server was away is kept, and sent again by what comes next.

    `for name in evaluation`, `name in evaluation` and `len(evaluation)` are about the names of the series that were updated.

    Use from one thread at a time; merge the evaluations of several.
    """

    def __getitem__(self, series: str) -> Series:
        _check_name(series)
        return Series(self, series)

    def compute(self) -> dict[str, SeriesResult]:
        """The result of every series by name."""
        return self._drive(self._compute())  # type: ignore[no-any-return]

    def total(self) -> SeriesResult:
        """The result over all series, which must have one loss and one reduction."""
        return self._drive(self._total())  # type: ignore[no-any-return]

    def merge(self, other: "Evaluation | Mapping[str, SeriesState]") -> None:
        """Adds all that another evaluation holds, or its `state()`."""
        self._drive(self._merge(other))

    def state(self) -> dict[str, SeriesState]:
        """A copy of the exact statistics of every series, for `merge` in another process."""
        return self._drive(self._get_state())  # type: ignore[no-any-return]

    def _drive(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        from lossd._core import run

        return run(coroutine)


class AsyncEvaluation(_Evaluation[Awaitable[None], Awaitable[None], Awaitable[None]]):
    """Evaluation for asyncio: the same, and everything but `reset` and `add` is awaited. Made by AsyncClient.evaluation."""

    def __getitem__(self, series: str) -> AsyncSeries:
        _check_name(series)
        return AsyncSeries(self, series)

    async def compute(self) -> dict[str, SeriesResult]:
        """The result of every series by name."""
        return await self._compute()

    async def total(self) -> SeriesResult:
        """The result over all series, which must have one loss and one reduction."""
        return await self._total()

    async def merge(self, other: "AsyncEvaluation | Mapping[str, SeriesState]") -> None:
        """Adds all that another evaluation holds, or its `state()`."""
        await self._merge(other)

    async def state(self) -> dict[str, SeriesState]:
        """A copy of the exact statistics of every series, for `merge` in another process."""
        return await self._get_state()

    def _drive(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return coroutine
