# SPDX-License-Identifier: Apache-2.0
"""Whether this server should get traffic: a probe sends a known loss through the queue and the device's thread.

Names in grpc.health.v1:

- "", "readiness" and every service: the last probe computed the known loss correctly, and the server is not draining.
- "liveness": the device can be used or rebuilt. NOT_SERVING means that the process must be replaced; it also exits by itself. An event
  loop that hangs does not answer at all, which counts as failed too.
"""

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable, Iterable

import structlog

from lossd import twins
from lossd_server.call import Answer, Success
from lossd_server.errors import CallError, QueueFull
from lossd_server.losses import LOSSES
from lossd_server.queue.dispatcher import INLINE_BELOW_SECONDS, Dispatcher
from lossd_server.queue.submission import Entry, Submission
from lossd_server.requests.decode import decode
from lossd_server.requests.validate import RequestLimits, validate

LIVENESS = "liveness"
READINESS = "readiness"

_CALLER = "health"
_CLASSES = 4

_log = structlog.get_logger("lossd.health")


class Probe:
    """Computes a known loss: the cross entropy of equal scores is the logarithm of the number of classes."""

    def __init__(self, dispatcher: Dispatcher, clock: Callable[[], float]) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        spec = LOSSES["CrossEntropyLoss"]
        message = twins.twin("CrossEntropyLossRequest")()
        message.input.shape.extend((2, _CLASSES))
        message.input.float32_values.values.append(bytes(4 * 2 * _CLASSES))
        message.class_indices.shape.append(2)
        message.class_indices.int64_values.values.append(bytes(8 * 2))
        call = validate(spec, decode(spec, message), RequestLimits())
        # Large enough to leave the event loop, and never in a batch with callers' calls.
        self._call = dataclasses.replace(call, key=object(), cost_seconds=INLINE_BELOW_SECONDS)

    async def __call__(self, timeout_seconds: float) -> bool:
        """Whether the loss was computed correctly. Raises QueueFull, which says nothing about the device."""
        submission = Submission(1)
        self._dispatcher.submit(submission, [Entry(0, self._call, self._clock() + timeout_seconds, _CALLER)])
        await submission.wait()
        outcome = submission.outcomes[0]
        if isinstance(outcome, QueueFull):
            raise outcome
        if isinstance(outcome, Success) and isinstance(outcome.answer, Answer) and outcome.answer.value is not None:
            return math.isclose(outcome.answer.value, math.log(_CLASSES), rel_tol=1e-5)
        _log.error("probe_failed", reason=outcome.reason if isinstance(outcome, CallError) else "")
        return False


class Health:
    """Keeps the health statuses up to date. `publish` takes a name and whether it is serving."""

    def __init__(
        self,
        publish: Callable[[str, bool], Awaitable[None]],
        services: Iterable[str],
        probe: Callable[[float], Awaitable[bool]],
        *,
        interval_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._publish = publish
        self._names = ("", READINESS, *services)
        self._probe = probe
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._draining = False
        self._alive = True
        self.ready = False

    async def start(self) -> None:
        """Returns after the first probe; further probes follow until `stop`."""
        await self._publish(LIVENESS, True)
        await self._check()
        self._task = asyncio.create_task(self._run())

    @property
    def serving(self) -> bool:
        """Whether readiness is SERVING."""
        return self.ready and not self._draining

    def device_lost(self, rebuilt: bool) -> None:
        """Not ready until the next probe, which is due now, succeeds. If the device was not rebuilt, no longer alive."""
        self.ready = False
        self._alive = rebuilt
        self._due.set()

    async def drain(self) -> None:
        """Reports NOT_SERVING for readiness from now on. Liveness stays."""
        self._draining = True
        await self._tell()

    async def stop(self) -> None:
        """Ends the probes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    # Implementation details follow.

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval_seconds):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            await self._tell()  # reports a lost device at once, not after the probe
            await self._check()

    async def _check(self) -> None:
        try:
            ready = await self._probe(self._timeout_seconds)
        except QueueFull:
            return
        if ready != self.ready:
            _log.info("readiness", ready=ready)
        self.ready = ready and self._alive
        await self._tell()

    async def _tell(self) -> None:
        if not self._alive:
            await self._publish(LIVENESS, False)
        for name in self._names:
            await self._publish(name, self.serving)
