# SPDX-License-Identifier: Apache-2.0
"""Shares the event loop between hosts: how long the connections of one host may process frames in one turn of the event loop.

The hosts that were busy in the last turn share one slice equally. A connection whose host has no time left waits for the next turn;
the connections of a host take turns. So a host delays the others by its share only, however many connections it has.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

SLICE_SECONDS: Final = 4e-3
_LEAST_SHARE_SECONDS: Final = 1e-4


class Turns:
    """See the module. Use on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._share_seconds = SLICE_SECONDS
        self._spent_seconds: dict[str, float] = {}  # in this turn, by host
        self._waiting: dict[str, deque[Callable[[], None]]] = {}  # by host
        self._scheduled = False  # the next turn

    def left_seconds(self, host: str) -> float:
        """The time that the connections of a host have left in this turn; not positive if there is none."""
        return self._share_seconds - self._spent_seconds.get(host, 0.0)

    def spend(self, host: str, since: float) -> None:
        """Counts the time since `since`, on the clock, for a host."""
        self._spent_seconds[host] = self._spent_seconds.get(host, 0.0) + self._clock() - since
        self._schedule()

    def wait(self, host: str, go_on: Callable[[], None]) -> None:
        """Calls `go_on` in a later turn, once the host has time left."""
        self._waiting.setdefault(host, deque()).append(go_on)
        self._schedule()

    # Implementation details follow.

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Begins a turn with the connections that wait."""
        self._scheduled = False
        busy = len(self._spent_seconds.keys() | self._waiting.keys())
        self._share_seconds = max(_LEAST_SHARE_SECONDS, SLICE_SECONDS / busy)
        self._spent_seconds = {}
        for host in list(self._waiting):
            waiting = self._waiting[host]
            while waiting and self.left_seconds(host) > 0:
                waiting.popleft()()
            if waiting:
                self._schedule()
            else:
                del self._waiting[host]
