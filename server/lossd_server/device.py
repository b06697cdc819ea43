# SPDX-License-Identifier: Apache-2.0
"""A device and its one thread: batches in, one result for each call out.

Isolation: when a kernel raises for a batch, each of its calls is run once alone, and only those that raise again fail.
"""

import queue
import threading
from collections.abc import Callable, Sequence

import structlog
import torch

from lossd_server import batch
from lossd_server.batch import Answer
from lossd_server.errors import CallError, KernelFailure
from lossd_server.memory import HostMemory, Memory, memory_of
from lossd_server.validate import Call

Results = list[Answer | CallError]

# Above this estimated time on one thread, a batch is worth the fork and join of the intra-op threads (about a millisecond).
_PARALLEL_ABOVE_SECONDS = 4e-3

_log = structlog.get_logger("lossd.device")


def resolve(name: str) -> torch.device:
    """ "auto" is the first CUDA device that torch sees, else the CPU. Raises ValueError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is not auto, cpu or cuda:N") from None
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"device {name!r} is not here; torch sees {torch.cuda.device_count()} CUDA devices")
        return torch.device("cuda", device.index or 0)
    if device.type != "cpu":
        raise ValueError(f"device {name!r} is not auto, cpu or cuda:N")
    return device


def run(calls: Sequence[Call], memory: Memory) -> Results:
    """One result for each call, in order. Never raises."""
    try:
        return list(batch.compute(calls, memory))
    except Exception as error:  # noqa: BLE001 - the kernels' exceptions are of any type
        _log.error("kernel_failure", loss=calls[0].spec.name, calls=len(calls), error=type(error).__name__)
        if len(calls) == 1:
            return [KernelFailure(calls[0].spec.rpc)]
    return [result for call in calls for result in run([call], memory)]


class Device:
    """One device. `run_inline` computes on the caller's thread, `start` on the device's own; never both at a time."""

    def __init__(self, device: torch.device, *, intra_op_threads: int = 1) -> None:
        self.torch_device = device
        self.name = str(device)
        self._intra_op_threads = intra_op_threads
        self._inline_memory = HostMemory()
        self._work: queue.SimpleQueue[tuple[Sequence[Call], Callable[[Results], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name=f"lossd-{self.name}", daemon=True)
        self._thread.start()

    @property
    def is_cpu(self) -> bool:
        """Whether small batches may be computed on the caller's thread."""
        return self.torch_device.type == "cpu"

    def run_inline(self, calls: Sequence[Call]) -> Results:
        """Computes now, on this thread, without intra-op parallelism: its fork and join costs a small batch 100 times its work."""
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # of the calling thread
        return run(calls, self._inline_memory)

    def start(self, calls: Sequence[Call], done: Callable[[Results], None]) -> None:
        """Computes on the device's thread, which then calls `done`."""
        self._work.put((calls, done))

    def close(self) -> None:
        """Ends the thread after the work it has."""
        self._work.put(None)
        self._thread.join()

    def _loop(self) -> None:
        memory = memory_of(self.torch_device)
        while (work := self._work.get()) is not None:
            calls, done = work
            self._set_threads(calls)
            done(run(calls, memory))

    def _set_threads(self, calls: Sequence[Call]) -> None:
        # A single row stays on one thread: torch sums one long row in two passes across threads, several rows each in one,
        # and an answer must not depend on its neighbours.
        rows = sum([call.arrangement.rows for call in calls])
        cost_seconds = sum([call.cost_seconds for call in calls])
        threads = self._intra_op_threads if rows > 1 and cost_seconds > _PARALLEL_ABOVE_SECONDS else 1
        if self.is_cpu and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
