# SPDX-License-Identifier: Apache-2.0
"""Evaluate: the statistics of named series over a stream of mini-batches.

Of a mini-batch only its statistics stay, and they are added without rounding. So the result depends on neither the order in
which mini-batches were computed nor on other series, by a single bit, and memory is bounded by the number of series.

What a busy server would refuse of a unary call waits here instead: a stream has a state to lose, and flow control.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from lossd import _twins
from lossd._statistics import ExactSum
from lossd.v1 import options_pb2
from lossd_server.admission import Hold, when_there_is_room
from lossd_server.call import NONE, SUM, Answer, Call, Outcome, Statistics
from lossd_server.compute import reduce
from lossd_server.errors import (
    CallError,
    InvalidArgument,
    QueueFull,
    ReductionUnsupported,
    SeriesConflict,
    TooManySeries,
    ValueOutOfRange,
)
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Submission
from lossd_server.requests.messages import CALL_BYTES, bare, parse_many
from lossd_server.service.scoring import Service, shutting_down
from lossd_server.service.streams import Message, MessageStream, Read

MAX_SERIES: Final = 10_000
MAX_NAME_BYTES: Final = 256

# More than the state of a series takes: three exact sums of some 300 bytes, and the objects around them.
_SERIES_BYTES: Final = 2048

# When a call that found the queue full is submitted again.
_RETRY_SECONDS: Final = 0.1

_EvaluateResponse: Final = _twins.twin("EvaluateResponse")


class Series:
    """The statistics of everything that was added. `loss` is the RPC of its calls, `reduction` theirs."""

    __slots__ = ("_denominator", "_numerator", "_sum", "call_count", "element_count", "ignored_count", "loss", "reduction")

    def __init__(self, loss: str, reduction: int) -> None:
        self.loss = loss
        self.reduction = reduction
        self._sum, self._numerator, self._denominator = ExactSum(), ExactSum(), ExactSum()
        self.element_count = self.ignored_count = self.call_count = 0

    def add(self, statistics: Statistics) -> None:
        """Adds a mini-batch."""
        self._sum.add(statistics.sum)
        self._numerator.add(statistics.mean_numerator)
        self._denominator.add(statistics.mean_denominator)
        self.element_count += statistics.element_count
        self.ignored_count += statistics.ignored_count
        self.call_count += 1

    @property
    def statistics(self) -> Statistics:
        """Of the concatenation, each sum rounded once."""
        return Statistics(self._sum.value, self._numerator.value, self._denominator.value, self.element_count, self.ignored_count)

    @property
    def value(self) -> float:
        """The sum, or the mean by the series' denominator: NaN where nothing counts."""
        return self._sum.value if self.reduction == SUM else reduce.mean(self._numerator.value, self._denominator.value)


class Evaluation(MessageStream):
    """One RPC. The first bad call ends it."""

    def __init__(self, service: Service, dispatcher: Dispatcher, *, deadline: float | None, caller: str) -> None:
        super().__init__(service, dispatcher, deadline=deadline, caller=caller)
        self._series: dict[str, Series] = {}
        self._state: Hold | None = None
        self._error: CallError | None = None
        self._received = 0
        self._retries: set[asyncio.TimerHandle] = set()

    async def run(self, read: Read) -> bytes:
        """The EvaluateResponse, once every message was received and every call computed. Raises CallError."""
        self._state = self._service.admit(0, self._caller)
        self._start_reading(read)
        while True:
            if self._error is not None:
                raise self._error
            if self._at_end:
                if not self._messages:
                    return self._encode()
            elif self._service.draining:
                raise shutting_down()
            await self._wait()

    def close(self) -> None:
        """As MessageStream.close."""
        super().close()
        for retry in self._retries:
            retry.cancel()
        if self._state is not None:
            self._state.release()

    # Implementation details follow.

    async def _receive(self, message: bytes) -> None:
        position, self._received = self._received, self._received + 1
        hold = await self._service.admit_when_there_is_room(len(message), self._caller)
        batch = Message(hold, len(message), Submission(0), 0)
        self._keep(batch)
        envelopes = parse_many("EvaluateRequest", message).calls
        call_bytes = CALL_BYTES * len(envelopes)
        await when_there_is_room(lambda: hold.grow(call_bytes))
        self._add(batch, call_bytes)
        calls: list[tuple[int, Call]] = []
        series: list[Series] = []
        known = len(self._series)
        for index, envelope in enumerate(envelopes):
            try:
                call = self._service.reader.read_call(envelope.call, self._caller)
                series.append(self._find(envelope.series, call))
            except CallError as error:
                raise _located(error, position, index) from None
            calls.append((index, call))
        if len(self._series) > known:
            state, state_bytes = self._state, _SERIES_BYTES * (len(self._series) - known)
            assert state is not None
            await when_there_is_room(lambda: state.grow(state_bytes))
        batch.remaining = len(calls)
        if calls:
            self._submit(batch, position, series, calls)
        else:
            self._let_go(batch)

    def _find(self, name: str, call: Call) -> Series:
        """The series of a call, a new one where there is none. Raises CallError where the call does not belong to it."""
        if call.reduction == NONE:
            raise ReductionUnsupported("reduction", "REDUCTION_NONE has no value over a series; use MEAN, SUM or BATCH_MEAN")
        series = self._series.get(name)
        if series is None:
            nbytes = len(name.encode())
            if nbytes > MAX_NAME_BYTES:
                raise ValueOutOfRange("series", f"has {nbytes} bytes; at most {MAX_NAME_BYTES} are allowed")
            if len(self._series) == MAX_SERIES:
                raise TooManySeries(f"an evaluation has at most {MAX_SERIES} series: use several", limit=MAX_SERIES, actual=MAX_SERIES + 1)
            series = self._series[name] = Series(call.spec.rpc, call.reduction)
        elif series.loss != call.spec.rpc or series.reduction != call.reduction:
            expected, found = _describe(series.loss, series.reduction), _describe(call.spec.rpc, call.reduction)
            raise SeriesConflict("series", f"has calls of {expected}; this one is of {found}")
        return series

    def _submit(self, batch: Message, position: int, series: list[Series], calls: list[tuple[int, Call]]) -> None:
        """Calls that find the queue full are submitted again, after the others of their message."""
        again: list[tuple[int, Call]] = []
        known = dict(calls)

        def on_outcome(index: int, outcome: Outcome) -> None:
            if isinstance(outcome, QueueFull):
                again.append((index, known[index]))
            elif isinstance(outcome, CallError):
                self._fail(_located(outcome, position, index))
                return
            else:
                assert isinstance(outcome.answer, Answer)
                series[index].add(outcome.answer.statistics)
                batch.remaining -= 1
                del known[index]
            if len(again) == len(known):
                self._settled(batch, again, lambda: self._submit(batch, position, series, again))

        # One submission has room for every index; those of calls that are settled before are never used.
        batch.submission = Submission(len(series), on_outcome)
        self._dispatcher.submit(batch.submission, calls, deadline=self._deadline, caller=self._caller)

    def _settled(self, batch: Message, again: list[tuple[int, Call]], submit: Callable[[], None]) -> None:
        if not again:
            self._let_go(batch)
            self.wake()
            return

        def retry() -> None:
            self._retries.discard(handle)
            submit()

        handle = asyncio.get_running_loop().call_later(_RETRY_SECONDS, retry)
        self._retries.add(handle)

    def _fail(self, error: CallError) -> None:
        if self._error is None:
            self._error = error
        self.wake()

    def _encode(self) -> bytes:
        response = _EvaluateResponse()
        for name, series in self._series.items():
            statistics = series.statistics
            result = response.series.add(series=name, value=series.value, call_count=series.call_count)
            for field in ("sum", "mean_numerator", "mean_denominator", "element_count", "ignored_count"):
                setattr(result.statistics, field, getattr(statistics, field))
        encoded: bytes = response.SerializeToString()
        return encoded


def _located(error: CallError, message: int, call: int) -> CallError:
    """The error of a call, saying which one: the field begins with "calls[i]", and `message_index` counts the messages from 0."""
    located = error.within(f"calls[{call}]") if isinstance(error, InvalidArgument) else bare(error)
    located.metadata["message_index"] = str(message)
    return located


def _describe(loss: str, reduction: int) -> str:
    return f"{loss} with {options_pb2.Reduction.Name(reduction)}"
