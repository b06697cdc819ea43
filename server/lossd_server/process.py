# SPDX-License-Identifier: Apache-2.0
"""The server process: its allocator, event loop, signals and exit."""

import asyncio
import ctypes
import gc
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

# The exit status if the device was lost for good, so that a supervisor restarts the process. EX_SOFTWARE of sysexits.h.
EXIT_DEVICE_GONE = 70


class DeviceGoneError(Exception):
    """The device was lost and cannot be rebuilt in this process, which must exit with an error status."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs the coroutine to its end. Exits the process with EXIT_DEVICE_GONE if the device was lost for good."""
    keep_freed_memory()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(main)
    except DeviceGoneError:
        _exit(EXIT_DEVICE_GONE)  # at once: destructors would wait for a device that does not answer
    if any(thread.daemon for thread in threading.enumerate()):
        _exit(0)  # an abandoned batch still computes, and must not resume while the interpreter shuts down


def on_stop(request_stop: Callable[[], None], before_end: Callable[[], None] | None = None) -> None:
    """Calls `request_stop` at the first SIGTERM or SIGINT. The second signal exits the process at once, after `before_end`.

    The exit status is then 128 + the signal's number, as in a shell. Call this on the running loop, in the main thread.
    """
    loop = asyncio.get_running_loop()

    def end(signum: int, _: object) -> None:
        if before_end is not None:
            before_end()
        _exit(128 + signum)

    def first() -> None:
        for signum in _STOP_SIGNALS:
            loop.remove_signal_handler(signum)
            signal.signal(signum, end)  # not through the loop, which may hang
        request_stop()

    for signum in _STOP_SIGNALS:
        loop.add_signal_handler(signum, first)


_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _exit(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # RuntimeError: a signal handler has interrupted a write
            stream.flush()
    os._exit(status)


def exempt_from_collection() -> None:
    """Excludes all objects that exist now, most of which are PyTorch's, from garbage collection.

    Called once the process has started: a full collection blocked the event loop for 100 ms and more.
    """
    gc.collect()
    gc.freeze()


def keep_freed_memory() -> None:
    """Makes glibc reuse the memory of one large message for the next, on any thread, instead of asking the kernel for new pages.

    With requests of 4 MB, throughput rose by a fifth and memory fell by a third. Has no effect on threads that ran before.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter, value in _MALLOC.values():
            libc.mallopt(parameter, value)


# The parameters' numbers in malloc.h, and their values.
_MALLOC = {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 32 << 20), "M_TRIM_THRESHOLD": (-1, 32 << 20)}


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop  # about a twentieth less CPU for each unary call

    return uvloop.new_event_loop
