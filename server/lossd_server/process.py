# SPDX-License-Identifier: Apache-2.0
"""A process that serves: its allocator, its event loop, and its end."""

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

# The device was lost for good: whoever supervises the process starts it again. Taken from sysexits.h: an internal error.
EXIT_DEVICE_GONE = 70


class DeviceGoneError(Exception):
    """The device was lost and cannot be rebuilt in this process: it must exit, and not as if all were well."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end. Ends the process with EXIT_DEVICE_GONE if the device was lost for good."""
    keep_freed_memory()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(main)
    except DeviceGoneError:
        _exit(EXIT_DEVICE_GONE)  # at once: destructors would wait for a device that does not answer
    if any(thread.daemon for thread in threading.enumerate()):
        _exit(0)  # a batch that was given up still computes, and must not wake in an interpreter that is torn down


def on_stop(request_stop: Callable[[], None], before_end: Callable[[], None] | None = None) -> None:
    """Calls `request_stop` at the first SIGTERM or SIGINT. The second one ends the process at once, with a shell's exit status for it.

    To be called on the running loop, in the main thread.
    """
    loop = asyncio.get_running_loop()

    def end(signum: int, _: object) -> None:
        if before_end is not None:
            before_end()
        _exit(128 + signum)

    def first() -> None:
        for signum in _STOP_SIGNALS:
            loop.remove_signal_handler(signum)
            signal.signal(signum, end)  # not by the loop, which may be what hangs
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
    """Keeps the garbage collector from looking through everything that exists now, most of it PyTorch's.

    For a process that has started: a full collection kept the event loop for 100 ms and more.
    """
    gc.collect()
    gc.freeze()


def keep_freed_memory() -> None:
    """Lets glibc use the memory of one large message for the next, on whatever thread, in place of asking the kernel for new pages.

    Requests of 4 MB were a fifth more a second, with two thirds of the memory. No effect on threads that have run before.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter, value in _MALLOC.values():
            libc.mallopt(parameter, value)


# malloc.h, and the values.
_MALLOC = {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 32 << 20), "M_TRIM_THRESHOLD": (-1, 32 << 20)}


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop  # about a twentieth less CPU for each unary call

    return uvloop.new_event_loop
