# SPDX-License-Identifier: Apache-2.0
"""Long work on the event loop, done a slice at a time, so that no caller blocks the event loop for the others.

Work is a generator that yields between steps, each well under a slice long. In one turn of the event loop all work together gets one
slice: callers take turns, step by step, and so does the work of one caller. The rest continues in the next turn. Work that is started
before the slice ends begins at once, so an idle server starts at once.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from typing import Final, TypeVar

from lossd_server.log import unexpected

SLICE_SECONDS: Final = 2e-3

# Work yields PARKED if it must not continue until it is resumed; any other step yields None.
PARKED: Final = "parked"
_ENDED: Final = "ended"

Work = Generator[str | None, None, None]

T = TypeVar("T")


def _step(work: Work) -> str | None:
    try:
        return next(work, _ENDED)
    except Exception as error:  # noqa: BLE001 - other work must go on
        unexpected("work", "", error)
        return _ENDED


class TimeSlices:
    """See the module docstring. Belongs to one event loop."""

    def __init__(self, slice_seconds: float = SLICE_SECONDS, clock: Callable[[], float] = time.perf_counter) -> None:
        self._slice_seconds = slice_seconds
        self._clock = clock
        self._works: OrderedDict[str, deque[Work]] = OrderedDict()  # by caller; no deque is empty
        self._ends_at: float | None = None  # of this turn's slice; None if nothing has run in this turn

    def start(self, work: Work, caller: str = "") -> None:
        """Runs a caller's work: now, until this turn's slice ends, and then in later turns. Also continues parked work.

        Work ends by itself or by its `close`. Work must not raise; if it does, the exception is logged, and other work goes on.
        """
        now = self._clock()
        if self._ends_at is None:
            self._begin_turn(now)
        elif now >= self._ends_at:
            self._add(work, caller)
            return
        while _step(work) is None:
            if self._is_over():
                self._add(work, caller)
                return

    async def finish(self, work: Generator[str | None, None, T], caller: str = "") -> T:
        """Runs work, and returns or raises what it does. The work ends if the task that awaits it is cancelled."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        result: list[T] = []
        errors: list[Exception] = []

        def whole() -> Work:
            try:
                result.append((yield from work))
            except Exception as error:  # noqa: BLE001 - raised to the task that awaits the work
                errors.append(error)
            if not ended.done():
                ended.set_result(None)

        running = whole()
        self.start(running, caller)
        try:
            await ended
        finally:
            running.close()
        if errors:
            raise errors[0]
        return result[0]

    def resume(self, work: Work, caller: str = "") -> None:
        """Continues parked work in the next turn."""
        if self._ends_at is None:
            self._begin_turn(self._clock())
        self._add(work, caller)

    # Implementation details follow.

    def _begin_turn(self, now: float) -> None:
        self._ends_at = now + self._slice_seconds
        asyncio.get_running_loop().call_soon(self._next_turn)

    def _is_over(self) -> bool:
        assert self._ends_at is not None
        return self._clock() >= self._ends_at

    def _add(self, work: Work, caller: str) -> None:
        works = self._works.get(caller)
        if works is None:
            works = self._works[caller] = deque()
        works.append(work)

    def _next_turn(self) -> None:
        self._ends_at = None
        if not self._works:
            return
        self._begin_turn(self._clock())
        while self._works:
            caller, works = self._works.popitem(last=False)
            work = works.popleft()
            if works:
                self._works[caller] = works
            if _step(work) is None:
                self._add(work, caller)
            if self._is_over():
                break
