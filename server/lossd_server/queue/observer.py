# SPDX-License-Identifier: Apache-2.0
"""What the dispatcher tells of every batch."""

from collections.abc import Sequence
from typing import Protocol


class BatchObserver(Protocol):
    """What the metrics want to know of every batch."""

    def batch_computed(self, loss: str, reason: str, calls: int, compute_seconds: float, queued: Sequence[tuple[float, int]]) -> None:
        """Called on the event loop after each batch.

        `reason` is why it started: "idle" if a call found the device idle, "freed" if calls had gathered while it was busy,
        "max_bytes" or "max_elements" if calls that could have joined found no room. `queued`: seconds in the queue, and how many
        calls waited so long.
        """
