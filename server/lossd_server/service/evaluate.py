# SPDX-License-Identifier: Apache-2.0
"""Evaluate: the statistics of named series over a stream of mini-batches.

Only the statistics of a mini-batch are kept, and they are added without rounding. So neither the order in which mini-batches were
computed nor other series change a single bit of the result, and memory is bounded by the number of series.

A busy server refuses a unary call; a mini-batch waits instead, because an evaluation has a state to lose, and flow control.
"""

import asyncio
from collections.abc import Generator, Sequence
from typing import Final

from lossd import twins
from lossd.statistics import Totals
from lossd.v1 import options_pb2
from lossd_server.admission import OVERHEAD_BYTES, Hold, shutting_down
from lossd_server.call import NONE, SUM, Answer, Call, Outcome
from lossd_server.errors import (
    CallError,
    Cancelled,
    InFlightFull,
    InvalidArgument,
    QueueFull,
    ReductionUnsupported,
    SeriesConflict,
    TooManySeries,
    ValueOutOfRange,
)
from lossd_server.losses.tensor import Encoded
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Entry
from lossd_server.requests.messages import Apart, bare, overhead_bytes, split
from lossd_server.service.scoring import Service
from lossd_server.service.streams import MessageStream, Read, StreamRequests

MAX_SERIES: Final = 10_000
MAX_NAME_BYTES: Final = 256

# More than the state of a series takes: three exact sums of some 300 bytes, and the objects around them.
_SERIES_BYTES: Final = 2048

# The delay before a call that found the queue full is submitted again.
_RETRY_SECONDS: Final = 0.1

_EvaluateResponse: Final = twins.twin("EvaluateResponse")


class Series:
    """A series: the RPC and the reduction of its calls, and the totals of their statistics."""

    __slots__ = ("loss", "reduction", "totals")

    def __init__(self, loss: str, reduction: int) -> None:
        self.loss = loss
        self.reduction = reduction
        self.totals = Totals()


class Evaluation(MessageStream):
    """One RPC. The first bad call ends it."""

    def __init__(
        self,
        service: Service,
        dispatcher: Dispatcher,
        under_way: set[StreamRequests],
        *,
        deadline: float | None,
        caller: str,
    ) -> None:
        """`under_way`: the messages, of all evaluations, that hold their memory and are not completed."""
        super().__init__(service, dispatcher, deadline=deadline, caller=caller)
        self._under_way = under_way
        self._series: dict[str, Series] = {}
        self._state: Hold | None = None
        self._received = 0

    async def run(self, read: Read) -> bytes:
        """The EvaluateResponse, once every message was received and every call computed. Raises CallError."""
        self._state = self._service.reserve(0, self._caller)
        await self._read_all(read)
        return await self._slices.finish(self._encode(), self._caller)

    def drain(self) -> None:
        """Ends the evaluation with ShuttingDown, unless its client has sent everything."""
        if self._service.draining and not self._at_end:
            self._fail(shutting_down())

    def close(self) -> None:
        """As MessageStream.close."""
        super().close()
        if self._state is not None:
            self._state.release()

    # Implementation details follow.

    async def _receive(self, message: Encoded, hold: Hold) -> None:
        position, self._received = self._received, self._received + 1
        apart = await self._slices.finish(split("EvaluateRequest", message, "series"), self._caller)
        new = set(apart.around["series"]) - self._series.keys()
        if len(self._series) + len(new) > MAX_SERIES:
            error = TooManySeries(f"an evaluation has at most {MAX_SERIES} series: use several", limit=MAX_SERIES, actual=MAX_SERIES + 1)
            error.metadata["message_index"] = str(position)
            raise error
        nbytes = len(message) + overhead_bytes(len(apart.calls))
        await self._make_room(hold, nbytes + _SERIES_BYTES * len(new))
        assert self._state is not None
        self._state.take_over(hold, _SERIES_BYTES * len(new))
        calls = _Calls(self, position, apart, hold, nbytes)
        self._keep(calls)
        self._under_way.add(calls)
        if apart.calls:
            self._service.start(calls)
        else:
            self._let_go(calls)

    async def _make_room(self, hold: Hold, nbytes: int) -> None:
        """Takes all the memory that a message needs, in one step.

        A message that does not fit waits while others are under way, because those will free memory. If none is under way, the
        messages that wait would never free any: one of them goes ahead, so that all complete, one by one if necessary. None goes
        ahead while its caller has not taken the answers of messages that went ahead before.
        """
        while True:
            try:
                hold.reach(nbytes)
                return
            except InFlightFull as full:
                if not self._under_way and not hold.overdrawn:
                    hold.become(nbytes + OVERHEAD_BYTES)
                    return
                pause_seconds = full.retry_after_seconds
            await asyncio.sleep(pause_seconds)

    def _let_go(self, message: StreamRequests) -> None:
        self._under_way.discard(message)
        super()._let_go(message)

    def _find(self, name: str, call: Call) -> Series:
        """The series of a call, a new one if there is none. Raises CallError if the call does not belong to it."""
        if call.reduction == NONE:
            raise ReductionUnsupported("reduction", "REDUCTION_NONE has no value over a series; use MEAN, SUM or BATCH_MEAN")
        series = self._series.get(name)
        if series is None:
            nbytes = len(name.encode())
            if nbytes > MAX_NAME_BYTES:
                raise ValueOutOfRange("series", f"has {nbytes} bytes; at most {MAX_NAME_BYTES} are allowed")
            series = self._series[name] = Series(call.spec.rpc, call.reduction)
        elif series.loss != call.spec.rpc or series.reduction != call.reduction:
            expected, found = _describe(series.loss, series.reduction), _describe(call.spec.rpc, call.reduction)
            raise SeriesConflict("series", f"has calls of {expected}; this one is of {found}")
        return series

    def _encode(self) -> Generator[None, None, bytes]:
        parts: list[bytes] = []
        for name, series in self._series.items():
            totals = series.totals
            value = totals.value("sum" if series.reduction == SUM else "mean")
            response = _EvaluateResponse()
            result = response.series.add(series=name, value=value, call_count=totals.call_count)
            for field in ("sum", "mean_numerator", "mean_denominator", "element_count", "ignored_count"):
                setattr(result.statistics, field, getattr(totals, field))
            parts.append(response.SerializeToString())
            yield
        return b"".join(parts)


class _Calls(StreamRequests):
    """The mini-batches of one message."""

    queue_as_one = True

    def __init__(self, stream: Evaluation, position: int, apart: Apart, hold: Hold, held_bytes: int) -> None:
        super().__init__(stream._dispatcher, None, apart.calls, stream._caller)
        self.hold = hold
        self.held_bytes = held_bytes
        self.remaining = len(apart.calls)
        self.deadline = stream._deadline
        self._names = apart.around["series"]
        self._series: list[Series | None] = [None] * len(apart.calls)
        self._stream = stream
        self._position = position
        self._entries: dict[int, Entry] = {}  # of what is queued
        self._again: list[Entry] = []  # to be queued again, because the queue was full
        self._retry: asyncio.TimerHandle | None = None

    def accept(self, indices: Sequence[int], call: Call) -> None:
        """See Requests."""
        for index in indices:
            self._series[index] = self._stream._find(self._names[index], call)

    def submit(self, entries: list[Entry]) -> None:
        """See Requests."""
        self._entries.update((entry.index, entry) for entry in entries)
        super().submit(entries)

    def answer(self, indices: Sequence[int], outcome: Outcome) -> None:
        """See Requests."""
        entry = self._entries.pop(indices[0], None)
        if isinstance(outcome, QueueFull) and entry is not None:
            self._queue_again(indices, entry)
            return
        if isinstance(outcome, CallError):
            if not isinstance(outcome, Cancelled):
                self._stream._fail(_located(outcome, self._position, indices[0]))
            return
        answers = outcome.answer
        for place, index in enumerate(indices):
            answer = answers if isinstance(answers, Answer) else answers.of(place)
            if isinstance(answer, CallError):
                self._stream._fail(_located(answer, self._position, index))
                return
            series = self._series[index]
            assert series is not None
            series.totals.add(answer.statistics)
        self.remaining -= len(indices)
        if not self.remaining:
            self._stream._let_go(self)

    def close(self) -> None:
        """See Requests."""
        if self._retry is not None:
            self._retry.cancel()
        super().close()

    def _queue_again(self, indices: Sequence[int], entry: Entry) -> None:
        """Submits a call again later, because the queue was full."""
        self._again.append(entry)
        self.queued_count += len(indices)
        self._as_one[entry.index] = indices
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._submit_again)

    def _submit_again(self) -> None:
        again, self._again, self._retry = self._again, [], None
        self.queued_count -= sum([len(self._as_one[entry.index]) for entry in again])
        self.submit(again)


def _located(error: CallError, message: int, call: int) -> CallError:
    """The error of a call with its position: the field begins with "calls[i]", and `message_index` counts the messages from 0."""
    located = error.within(f"calls[{call}]") if isinstance(error, InvalidArgument) else bare(error)
    located.metadata["message_index"] = str(message)
    return located


def _describe(loss: str, reduction: int) -> str:
    return f"{loss} with {options_pb2.Reduction.Name(reduction)}"
