# SPDX-License-Identifier: Apache-2.0
"""The interface through which the dispatcher reports batches to the metrics."""

from collections.abc import Sequence
from typing import Protocol


class BatchObserver(Protocol):
    """Receives a report of every batch."""

    def batch_computed(self, loss: str, reason: str, calls: int, compute_seconds: float, queued: Sequence[tuple[float, int]]) -> None:
        """Called on the event loop after each batch.

        `reason` is why it started: "idle" if a call found the device idle, "freed" if calls had gathered while it was busy,
        "max_bytes" or "max_elements" if that limit kept further calls out. `queued` has pairs of seconds in the queue and the number
        of calls that waited so long.
        """
