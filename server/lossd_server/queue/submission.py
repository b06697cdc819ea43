# SPDX-License-Identifier: Apache-2.0
"""The calls of one message on their way through the queue, and what becomes of them."""

import asyncio
from collections.abc import Callable
from typing import Any

from lossd_server.call import Outcome
from lossd_server.queue.coalescer import Ticket


class Submission:
    """The calls of one message, and their outcomes by index. One future serves them all."""

    def __init__(self, count: int, on_outcome: Callable[[int, Outcome], None] | None = None) -> None:
        self.outcomes: list[Outcome | None] = [None] * count
        self._remaining = count
        self._future: asyncio.Future[None] | None = None
        self._on_outcome = on_outcome
        self.tickets: dict[int, Ticket[Any]] = {}  # of the calls in the queue

    def settle(self, index: int, outcome: Outcome) -> None:
        """The call's one outcome."""
        self.outcomes[index] = outcome
        self._remaining -= 1
        if self._on_outcome is not None:
            self._on_outcome(index, outcome)
        if not self._remaining and self._future is not None and not self._future.done():
            self._future.set_result(None)

    @property
    def done(self) -> bool:
        """Whether every call has its outcome."""
        return not self._remaining

    async def wait(self) -> None:
        """Until every call has its outcome."""
        if self._remaining:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
