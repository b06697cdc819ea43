# SPDX-License-Identifier: Apache-2.0
"""The calls of one message while they are in the queue, and their outcomes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossd_server.call import Call, Outcome
from lossd_server.errors import Cancelled
from lossd_server.log import unexpected
from lossd_server.queue.coalescer import Ticket


@dataclass(slots=True)
class Entry:
    """A call to submit under its index in the submission. A call that has not started by its deadline is never computed."""

    index: int
    call: Call
    deadline: float | None = None  # on the dispatcher's clock
    caller: str = ""


def cancelled() -> Cancelled:
    """The outcome of a call that nobody waits for any more."""
    return Cancelled("cancelled by the caller")


class Submission:
    """The calls of one message, by index. Each is settled once.

    `on_outcome` is called with each outcome. Without it, `outcomes` keeps them until `wait` returns.
    """

    def __init__(self, count: int, on_outcome: Callable[[int, Outcome], None] | None = None) -> None:
        self.outcomes: list[Outcome | None] = [] if on_outcome is not None else [None] * count
        self.tickets: dict[int, Ticket[Any]] = {}  # of the calls in the queue
        self._remaining = count
        self._future: asyncio.Future[None] | None = None
        self._on_outcome = on_outcome

    def settle(self, index: int, outcome: Outcome) -> None:
        """Sets a call's outcome. Never raises, so that the batch's other calls get their outcomes too."""
        self._remaining -= 1
        self.tickets.pop(index, None)
        if self._on_outcome is None:
            self.outcomes[index] = outcome
        else:
            try:
                self._on_outcome(index, outcome)
            except Exception as error:  # noqa: BLE001 - the other calls must get their outcomes
                unexpected("on_outcome", "", error)
        if not self._remaining and self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Returns once every call has its outcome."""
        if self._remaining:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
