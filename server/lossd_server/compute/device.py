# SPDX-License-Identifier: Apache-2.0
"""A device and its threads: batches in, one result for each call out.

Isolation: when a kernel raises for a batch, each of its calls is run once alone, and only the calls that raise again fail.
A device is lost when its thread dies, when a batch never ends, or when a CUDA context no longer computes. The Dispatcher, which
waits for the batch, detects it.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence

import structlog
import torch

from lossd_server.call import Answer, Answers, Call
from lossd_server.compute import batch
from lossd_server.compute.memory import HostMemory, Memory, memory_of
from lossd_server.errors import CallError, KernelFailure

Results = list[Answer | Answers | CallError]
Done = Callable[[Results | None], None]  # None if the device was lost

# Above this estimated time on one thread, a batch is worth the fork and join of the intra-op threads (about a millisecond).
_PARALLEL_ABOVE_SECONDS = 4e-3

_CPU_SLOTS, _GPU_SLOTS = 1, 2

# Multiply-adds in two seconds: of one CPU thread (35 ps each, see the losses' nanoseconds_per_operation), and of any GPU.
_CPU_OPERATIONS, _GPU_OPERATIONS = 6 * 10**10, 10**12

# Enough for a thread without work to end.
_END_SECONDS = 0.1

_log = structlog.get_logger("lossd.device")


def resolve(name: str) -> torch.device:
    """ "auto" is the first CUDA device that torch sees, else the CPU. Raises ValueError if the device does not exist."""
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
    except Exception as error:  # noqa: BLE001 - kernels raise exceptions of any type
        _log.error("kernel_failure", loss=calls[0].spec.name, calls=sum([c.count for c in calls]), error=type(error).__name__)
        if len(calls) == 1 and calls[0].count == 1:
            return [KernelFailure(calls[0].spec.rpc)]
    if len(calls) == 1:
        return [batch.joined(calls[0], [run([part], memory)[0] for part in calls[0].parts()])]
    return [result for call in calls for result in run([call], memory)]


def _has_failed(result: Answer | Answers | CallError) -> bool:
    return isinstance(result, KernelFailure) or (isinstance(result, Answers) and bool(result.errors))


def check_context(device: torch.device) -> None:
    """Raises if a CUDA device no longer computes: after some kernel errors its context fails for ever."""
    if device.type == "cuda":
        torch.ones(1, device=device).sum().item()


class Device:
    """One device. `run_inline` computes on the calling thread, `start` on a thread of the device.

    `slots` batches may be started before the first is done, and a long one beside them. A GPU has two slots: each has a thread,
    memory and stream of its own, so that the next batch is gathered and copied while the last one is computed.
    """

    def __init__(self, device: torch.device, *, intra_op_threads: int = 1) -> None:
        self.torch_device = device
        self.name = str(device)
        self.is_cpu = device.type == "cpu"  # small batches may be computed on the calling thread
        # The default limit, which takes about two seconds. It is a constant rather than measured at the start, so that equal servers
        # refuse equal requests.
        self.default_max_operations = min(_CPU_OPERATIONS * intra_op_threads, _GPU_OPERATIONS) if self.is_cpu else _GPU_OPERATIONS
        self._intra_op_threads = intra_op_threads
        self._inline_memory = HostMemory()
        self._inline_thread = 0
        self.slots = _CPU_SLOTS if self.is_cpu else _GPU_SLOTS
        self._replacements = 1 if self.is_cpu else 0
        self._start_threads()

    def run_inline(self, calls: Sequence[Call]) -> Results:
        """Computes now, on this thread, without intra-op parallelism: for a small batch, fork and join cost 100 times its work."""
        if self._inline_thread != threading.get_ident():
            self._inline_thread = threading.get_ident()
            torch.set_num_threads(1)  # of this thread
            torch.set_grad_enabled(False)  # also of this thread; inference_mode would have to be entered for every batch
        return run(calls, self._inline_memory)

    def start(self, calls: Sequence[Call], done: Done) -> None:
        """Computes on a thread of the device, which then calls `done`, with None if the device is lost."""
        self._work.put((calls, done))

    def rebuild(self) -> bool:
        """Abandons the threads and their batches, and starts new ones. Returns False if that cannot help: the process must exit.

        A CPU's threads are replaced once: one that never returns keeps its core and its memory, which must not happen again and
        again. A GPU's are never replaced: a CUDA context that fails or hangs does so for every thread of the process.
        """
        self._end_threads()  # if they return after all
        if not self._replacements:
            return False
        self._replacements -= 1
        self._start_threads()
        return True

    def close(self) -> None:
        """Ends the threads after their current work, without waiting for it: it may take any time."""
        self._end_threads()
        ends_at = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    # Implementation details follow.

    def _start_threads(self) -> None:
        self._work: queue.SimpleQueue[tuple[Sequence[Call], Done] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._loop, args=(self._work,), name=f"lossd-{self.name}", daemon=True) for _ in range(self.slots + 1)
        ]
        for thread in self._threads:
            thread.start()

    def _end_threads(self) -> None:
        for _ in self._threads:
            self._work.put(None)

    def _loop(self, work: "queue.SimpleQueue[tuple[Sequence[Call], Done] | None]") -> None:
        memory: Memory | None = None
        torch.set_grad_enabled(False)
        if not self.is_cpu:
            torch.cuda.set_stream(torch.cuda.Stream(self.torch_device))  # type: ignore[no-untyped-call]  # of this thread
        while (item := work.get()) is not None:
            calls, done = item
            try:
                memory = memory or memory_of(self.torch_device)
                self._set_threads(calls)
                results: Results | None = run(calls, memory)
                if any(_has_failed(result) for result in results or ()):
                    check_context(self.torch_device)
            except BaseException as error:  # noqa: BLE001 - callers wait for an answer whatever the error
                _log.critical("device_thread_failed", device=self.name, error=type(error).__name__)
                results = None
            done(results)
            if results is None:
                return
            del item, calls, done, results  # otherwise they would stay alive until the next batch

    def _set_threads(self, calls: Sequence[Call]) -> None:
        # A single row stays on one thread: torch sums one long row in two passes across threads, but each of several rows in one
        # pass, and an answer must not depend on the rest of its batch.
        rows = sum([call.arrangement.rows for call in calls])
        cost_seconds = sum([call.cost_seconds for call in calls])
        threads = self._intra_op_threads if rows > 1 and cost_seconds > _PARALLEL_ABOVE_SECONDS else 1
        if self.is_cpu and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
