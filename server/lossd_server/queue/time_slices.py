# SPDX-License-Identifier: Apache-2.0
"""Long work on the event loop, done a slice at a time, so that nobody keeps the loop from everybody else.

Work is a generator that yields between steps of well under a slice each. In one turn of the event loop all work together gets
one slice: steps are taken from the callers in turns, and of one caller from each of its works in turns. What is left goes on in
the next turn. Work that starts while the slice lasts begins at once, so an idle server starts at once.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from typing import Final, TypeVar

from lossd_server.log import unexpected

SLICE_SECONDS: Final = 2e-3

# What a work yields that must not go on until it is resumed; any other step yields None.
PARKED: Final = "parked"
_ENDED: Final = "ended"

Work = Generator[str | None, None, None]

T = TypeVar("T")


def _step(work: Work) -> str | None:
    try:
        return next(work, _ENDED)
    except Exception as error:  # noqa: BLE001 - it must not be the end of others' work
        unexpected("work", "", error)
        return _ENDED


class TimeSlices:
    """See the module. Belongs to one event loop."""

    def __init__(self, slice_seconds: float = SLICE_SECONDS, clock: Callable[[], float] = time.perf_counter) -> None:
        self._slice_seconds = slice_seconds
        self._clock = clock
        self._works: OrderedDict[str, deque[Work]] = OrderedDict()  # by caller; none is empty
        self._ends_at: float | None = None  # of this turn's slice; None: nothing has run in this turn

    def start(self, work: Work, caller: str = "") -> None:
        """Runs work of a caller: now, as far as this turn's slice goes, and then in later turns. Also goes on with parked work.

        Work ends by itself or by its `close`. If it raises, which it must not, that is logged, and other work goes on.
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
        """What the work returns, or raises. It begins at once, and ends with the task that awaits it."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        result: list[T] = []
        errors: list[Exception] = []

        def whole() -> Work:
            try:
                result.append((yield from work))
            except Exception as error:  # noqa: BLE001 - it is raised where the work is awaited
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
        """Goes on with parked work in the next turn."""
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
