# SPDX-License-Identifier: Apache-2.0
"""Watches, inside the process that computes, whether any batch holds a call whose deadline has passed when it begins.

Nothing in the server knows of it: the queue's entrance notes each call's deadline, and the device's two entrances look.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Self
from unittest import mock

from lossd_server.call import Call
from lossd_server.compute.device import Device
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Entry

# Between the queue's look at the clock and ours other calls of the same message are queued, or the process waits for a core.
TOLERANCE_SECONDS = 0.05


class Expiry:
    """Counts batches' calls between entering and leaving the `with`, of all dispatchers of the process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadlines: dict[int, tuple[Call, float]] = {}
        self.computed = 0  # with a deadline
        self.too_late = 0
        self.latest = 0.0  # seconds after the deadline
        self._patches: list[Any] = []

    def __enter__(self) -> Self:
        submit, compute_now, run_inline, start = Dispatcher.submit, Dispatcher.compute_now, Device.run_inline, Device.start

        def watched_compute_now(dispatcher: Dispatcher, call: Call, deadline: float | None) -> Any:
            if deadline is not None:
                self._deadlines[id(call)] = (call, deadline)
            return compute_now(dispatcher, call, deadline)

        def watched_submit(dispatcher: Dispatcher, submission: Any, entries: Sequence[Entry]) -> None:
            for entry in entries:
                if entry.deadline is not None:
                    self._deadlines[id(entry.call)] = (entry.call, entry.deadline)  # the call is kept, so that its id is no other's
            submit(dispatcher, submission, entries)
            if len(self._deadlines) > 10_000:  # mostly calls that are answered
                soon = self._clock() - 10
                self._deadlines = {key: (call, mine) for key, (call, mine) in self._deadlines.items() if mine > soon}

        def watched_run_inline(device: Device, calls: Sequence[Call]) -> Any:
            self._look(calls)
            return run_inline(device, calls)

        def watched_start(device: Device, calls: Sequence[Call], done: Any) -> None:
            self._look(calls)
            start(device, calls, done)

        for owner, name, function in (
            (Dispatcher, "submit", watched_submit),
            (Dispatcher, "compute_now", watched_compute_now),
            (Device, "run_inline", watched_run_inline),
            (Device, "start", watched_start),
        ):
            patch = mock.patch.object(owner, name, function)
            patch.start()
            self._patches.append(patch)
        return self

    def __exit__(self, *error: object) -> None:
        for patch in self._patches:
            patch.stop()

    def _look(self, calls: Sequence[Call]) -> None:
        now = self._clock()
        for call in calls:
            _, deadline = self._deadlines.pop(id(call), (None, None))
            if deadline is not None:
                self.computed += 1
                self.latest = max(self.latest, now - deadline)
                self.too_late += now - deadline > TOLERANCE_SECONDS
