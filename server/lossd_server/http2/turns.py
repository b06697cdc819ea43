# SPDX-License-Identifier: Apache-2.0
"""Shares the event loop between hosts: how long the connections of one host may process frames in one turn of the event loop.

The hosts that were busy in the last turn share one slice equally. A connection whose host has no time left waits for the next turn;
the connections of a host take turns. So a host delays the others by its share only, however many connections it has.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

SLICE_SECONDS: Final = 4e-3
_WINDOW_SECONDS: Final = 4 * SLICE_SECONDS
_LEAST_SHARE_SECONDS: Final = 1e-4


class Turns:
    """See the module. Times are seconds on one clock. Use on one event loop.

    While no connection waits, no callback is scheduled to tell the turns apart: what is spent counts for _WINDOW_SECONDS.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._ends_at = 0.0
        self._share_seconds = SLICE_SECONDS
        self._spent_seconds: dict[str, float] = {}  # in this turn, by host
        self._waiting: dict[str, deque[Callable[[], None]]] = {}  # by host

    def left_seconds(self, host: str, now: float) -> float:
        """The time that the connections of a host have left in this turn; not positive if there is none."""
        if now >= self._ends_at:
            self._begin(now)
        return self._share_seconds - self._spent_seconds.get(host, 0.0)

    def spend(self, host: str, since: float) -> None:
        """Counts the time since `since` for a host."""
        self._spent_seconds[host] = self._spent_seconds.get(host, 0.0) + self._clock() - since

    def wait(self, host: str, go_on: Callable[[], None]) -> None:
        """Calls `go_on` in a later turn, once the host has time left."""
        if not self._waiting:
            self._loop.call_soon(self._go_on)
        self._waiting.setdefault(host, deque()).append(go_on)

    # Implementation details follow.

    def _begin(self, now: float) -> None:
        busy = self._spent_seconds.keys() | self._waiting.keys()
        self._share_seconds = max(_LEAST_SHARE_SECONDS, SLICE_SECONDS / max(1, len(busy)))
        self._spent_seconds = {}
        self._ends_at = now + _WINDOW_SECONDS

    def _go_on(self) -> None:
        """Begins a turn with the connections that wait."""
        self._begin(self._clock())
        self._ends_at = math.inf  # as long as any connection waits
        try:
            for host in list(self._waiting):
                waiting = self._waiting[host]
                while waiting and self._share_seconds > self._spent_seconds.get(host, 0.0):
                    waiting.popleft()()
                if not waiting:
                    del self._waiting[host]
        finally:  # a connection that raises must not stop those that wait
            if self._waiting:
                self._loop.call_soon(self._go_on)
            else:
                self._ends_at = self._clock() + _WINDOW_SECONDS
