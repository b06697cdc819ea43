# SPDX-License-Identifier: Apache-2.0
"""The impure shell around the coalescer: clock, wake-ups, the device's threads, and outcomes.

Everything here runs on the event loop; only Device computes elsewhere. A device takes as many batches at a time as it has slots:
while all slots are taken, calls gather in the coalescer. One long batch at a time takes no slot: it has a thread of its own, and
shares the device with the others, so that only further long batches wait for its end. On a CPU, a batch that costs less than a
switch to another thread is computed at once, on the event loop.

A device is lost when its thread reports it or when a batch takes far longer than it may. The calls of that batch fail. A device that
can be rebuilt continues with the queued calls; otherwise these fail, and so does every later call.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from lossd_server.call import CALL_OVERHEAD_BYTES, Call, Execution, Outcome, Success
from lossd_server.compute.batch import answer_empty
from lossd_server.compute.device import Device, Results
from lossd_server.errors import CallError, DeadlineExceeded, DeviceLost, DeviceUnavailable, QueueFull
from lossd_server.queue.coalescer import Coalescer, Full
from lossd_server.queue.observer import BatchObserver
from lossd_server.queue.submission import Entry, Submission, cancelled
from lossd_server.queue.time_slices import TimeSlices, Work

# A batch whose estimated time is below this stays on the event loop: two thread switches and the fight for the interpreter
# lock cost about as much (see tests/bench/).
INLINE_BELOW_SECONDS = 300e-6

# A batch with at least this estimated time is long.
LONG_FROM_SECONDS = 20e-3

_STUCK_TIMES_ESTIMATE = 20
_RETRY_AFTER_SECONDS = 0.1

_log = structlog.get_logger("lossd.dispatcher")


@dataclass(slots=True)
class _Pending:
    submission: Submission
    index: int
    call: Call
    arrived_at: float


@dataclass(slots=True, eq=False)
class _Running:
    """A batch on a thread of the device, and the timer that abandons it."""

    batch: list[_Pending]
    reason: str
    started_at: float
    overdue: asyncio.TimerHandle = field(init=False)


class Dispatcher:
    """Submits calls to one device. Not thread-safe: it belongs to the event loop on which it is used."""

    def __init__(
        self,
        coalescer: "Coalescer[_Pending]",
        device: Device,
        observer: BatchObserver,
        *,
        clock: Callable[[], float] = time.monotonic,
        stuck_batch_seconds: float = 60.0,
        on_device_lost: Callable[[bool], None] | None = None,
    ) -> None:
        """A batch is abandoned after `stuck_batch_seconds` or 20 times its estimate, whichever is longer.

        `on_device_lost` is called on the event loop with whether the device was rebuilt; if not, this dispatcher computes nothing more.
        """
        self._coalescer = coalescer
        self._device = device
        self._observer = observer
        self.slices = TimeSlices()
        self._pumping = False
        self._clock = clock
        self._stuck_batch_seconds = stuck_batch_seconds
        self._on_device_lost = on_device_lost
        self._running: set[_Running] = set()
        self._long: _Running | None = None  # the long batch among them
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None

    def compute_now(self, call: Call, deadline: float | None) -> Outcome | None:
        """Computes a call that would not wait and is cheap enough for this thread. Returns None if the call must be submitted."""
        if not self.computes_now:
            return None
        started_at = self._clock()
        expired = deadline is not None and deadline <= started_at
        if expired or call.cost_seconds >= INLINE_BELOW_SECONDS or not call.values_count:
            return None
        (result,) = self._device.run_inline([call])
        compute_seconds = self._clock() - started_at
        self._observer.batch_computed(call.spec.name, "idle", call.count, compute_seconds, ((0.0, call.count),))
        if isinstance(result, CallError):
            return result
        return Success(result, Execution(0.0, compute_seconds, call.count, self._device.name))

    def submit(self, submission: Submission, entries: Sequence[Entry]) -> None:
        """Queues calls. The submission gets the outcome of each under its index, perhaps before this returns."""
        now = self._clock()
        for entry in entries:
            index, call, deadline = entry.index, entry.call, entry.deadline
            if deadline is not None and deadline <= now:
                submission.settle(index, DeadlineExceeded("the deadline had passed when the call arrived"))
            elif not call.values_count:
                submission.settle(index, Success(answer_empty(call), Execution(0.0, 0.0, 0, self._device.name)))
            elif self._lost:
                submission.settle(index, _device_unavailable())
            else:
                self._enqueue(_Pending(submission, index, call, now), deadline, entry.caller)
        self._pump()

    def cancel(self, submission: Submission, index: int | None = None) -> None:
        """Takes the submission's queued calls, or the one of `index`, out as Cancelled. Calls being computed are not stopped."""
        tickets = submission.tickets
        for ticket in list(tickets.values()) if index is None else [tickets.get(index)]:
            pending = None if ticket is None else ticket.item
            if ticket is not None and pending is not None and self._coalescer.cancel(ticket):
                pending.submission.settle(pending.index, cancelled())

    def abandon(self, error: Callable[[], CallError]) -> None:
        """Takes every queued call out; each gets an error of its own."""
        while self._coalescer.queued_calls:
            for pending in self._coalescer.poll(-math.inf).batch:
                pending.submission.settle(pending.index, error())
        self._pump()

    def now(self) -> float:
        """The current time on the clock of all deadlines."""
        return self._clock()

    @property
    def idle(self) -> bool:
        """Whether a call that arrived now would be computed at once."""
        if self._lost or self._pumping or self._busy_slots:
            return False
        # If a slot is free, the queued calls are long ones that wait for another long one.
        return not self._coalescer.queued_calls or self._long is not None

    @property
    def computes_now(self) -> bool:
        """Whether `compute_now` would compute a call that is cheap enough."""
        return self._device.is_cpu and self.idle

    @property
    def queued_calls(self) -> int:
        """Calls that wait for the device."""
        return self._coalescer.queued_calls

    @property
    def queued_bytes(self) -> int:
        """Bytes of their tensors."""
        return self._coalescer.queued_bytes

    # Implementation details follow.

    @property
    def _busy_slots(self) -> int:
        return len(self._running) - (self._long is not None)

    def _enqueue(self, pending: _Pending, deadline: float | None, caller: str) -> None:
        call = pending.call
        try:
            ticket = self._coalescer.add(
                pending,
                # A long call shares no batch: calls of its key would wait for it.
                key=call.key if call.cost_seconds < LONG_FROM_SECONDS else object(),
                nbytes=call.nbytes + CALL_OVERHEAD_BYTES * call.count,
                elements=call.elements,
                cost_seconds=call.cost_seconds,
                deadline=deadline,
                caller=caller,
            )
        except Full:
            error = QueueFull("the queue is full; try again later", retry_after_seconds=_RETRY_AFTER_SECONDS)
            pending.submission.settle(pending.index, error)
        else:
            pending.submission.tickets[pending.index] = ticket

    def _pump(self, reason: str = "idle") -> None:
        """Starts as many batches as the device has room for, answers expired calls, and sets the timer for the next one."""
        if self._coalescer.queued_calls and not self._pumping and self._busy_slots < self._device.slots:
            self._pumping = True
            self.slices.start(self._start_batches(reason))
        self._arm()

    def _start_batches(self, reason: str) -> Work:
        """A step is one batch, because small ones are computed on the loop."""
        try:
            while self._busy_slots < self._device.slots and self._coalescer.queued_calls:
                poll = self._coalescer.poll(self._clock(), LONG_FROM_SECONDS if self._long is not None else math.inf)
                self._settle_expired(poll.expired)
                if not poll.batch:
                    break
                self._compute(poll.batch, poll.limit or reason)
                reason = "freed"
                yield None
        finally:
            self._pumping = False
        self._arm()

    def _compute(self, batch: list[_Pending], reason: str) -> None:
        calls = [pending.call for pending in batch]
        started_at = self._clock()
        cost_seconds = sum([call.cost_seconds for call in calls])
        if self._device.is_cpu and cost_seconds < INLINE_BELOW_SECONDS:
            self._settle(batch, reason, self._device.run_inline(calls), started_at, self._clock())
            return
        loop = asyncio.get_running_loop()
        limit_seconds = max(self._stuck_batch_seconds, _STUCK_TIMES_ESTIMATE * cost_seconds)
        running = _Running(batch, reason, started_at)
        if cost_seconds >= LONG_FROM_SECONDS:
            self._long = running
        running.overdue = loop.call_later(limit_seconds, self._finished, running, None, started_at)
        self._running.add(running)

        def done(results: Results | None) -> None:
            with suppress(RuntimeError):  # the event loop is closed: nobody waits
                loop.call_soon_threadsafe(self._finished, running, results, self._clock())

        self._device.start(calls, done)

    def _finished(self, running: _Running, results: Results | None, ended_at: float) -> None:
        if running not in self._running:
            return  # the batch was abandoned before its results came
        if results is None:
            self._lose()
        else:
            self._running.remove(running)
            self._long = None if self._long is running else self._long
            running.overdue.cancel()
            self._settle(running.batch, running.reason, results, running.started_at, ended_at)
        self._pump("freed")

    def _lose(self) -> None:
        rebuilt = self._device.rebuild()
        lost, self._running, self._long = self._running, set(), None
        for running in lost:
            running.overdue.cancel()
            loss, requests = running.batch[0].call.spec, sum([pending.call.count for pending in running.batch])
            _log.critical("device_lost", device=self._device.name, calls=requests, loss=loss.name, rebuilt=rebuilt)
            for pending in running.batch:
                # A request that was alone may be the cause and must not be retried; of several, at most one is the cause.
                pending.submission.settle(pending.index, DeviceLost(loss.rpc) if requests == 1 else _device_unavailable())
        if not rebuilt:
            self._lost = True
            self.abandon(_device_unavailable)
        if self._on_device_lost is not None:
            self._on_device_lost(rebuilt)

    def _settle(self, batch: list[_Pending], reason: str, results: Results, started_at: float, ended_at: float) -> None:
        arrived_at, execution = math.nan, Execution(0.0, 0.0, 0, "")
        requests = sum([pending.call.count for pending in batch])
        for pending, result in zip(batch, results, strict=True):
            if isinstance(result, CallError):
                pending.submission.settle(pending.index, result)
            else:
                if pending.arrived_at != arrived_at:  # the calls of a message share their arrival time
                    arrived_at = pending.arrived_at
                    execution = Execution(started_at - arrived_at, ended_at - started_at, requests, self._device.name)
                pending.submission.settle(pending.index, Success(result, execution))
        queued = [(started_at - pending.arrived_at, pending.call.count) for pending in batch]
        self._observer.batch_computed(batch[0].call.spec.name, reason, requests, ended_at - started_at, queued)

    def _settle_expired(self, expired: list[_Pending]) -> None:
        for pending in expired:
            pending.submission.settle(pending.index, DeadlineExceeded("the deadline passed in the queue; the call was not computed"))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = self._coalescer.wake_at if self._coalescer.queued_calls else None
        if wake_at is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wake_at - self._clock()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._settle_expired(self._coalescer.expire(self._clock()))
        self._pump()


def _device_unavailable() -> DeviceUnavailable:
    return DeviceUnavailable("the device was lost; try again", retry_after_seconds=1.0)
