# SPDX-License-Identifier: Apache-2.0
"""A worker as its supervisor sees it: a process, and the supervisor's end of the channel."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import Any

import structlog

from lossd_server.config import Settings
from lossd_server.workers import channel, scrape
from lossd_server.workers.channel import Channel

# A worker that does not answer a scrape within this time counts with its last metrics, so that the others can be read.
_SCRAPE_SECONDS = 2.0

# A worker that leaves this many questions in a row unanswered, one every _QUESTION_SECONDS, hangs: its event loop is blocked. Questions
# are counted rather than seconds, so that the workers of a machine that was suspended do not count as hanging.
_QUESTION_SECONDS = 5.0
_MOST_UNANSWERED = 4

_log = structlog.get_logger("lossd.supervisor")


class WorkerFailedError(ValueError):
    """A worker could not start, with an error other than a server's own."""


_ERRORS: dict[str, type[Exception]] = {"OSError": OSError, "ValueError": ValueError, "": WorkerFailedError}


class Child:
    """One process from start to end. `page` has its latest metrics."""

    def __init__(self, process: asyncio.subprocess.Process, end: Channel) -> None:
        self._process = process
        self._channel = end
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._page_came = asyncio.Event()
        self._unanswered = 0
        self._watching: asyncio.Task[None] | None = None
        self._reading = asyncio.create_task(self._read())
        self.page: scrape.Page = []

    @classmethod
    async def spawn(cls, index: int, settings: Settings) -> "Child":
        """Starts a process. Leaves none if it fails or is cancelled."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as stack, theirs:
            stack.enter_context(ours)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # with PYTHONPATH: imports the same modules as this process
                *[f"-W{option}" for option in sys.warnoptions],
                "-m",
                "lossd_server.workers.worker",
                stdin=theirs.fileno(),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                process_group=0,  # so that only the supervisor gets Ctrl-C
            )
            stack.pop_all()
        child = cls(process, await Channel.over(ours))
        with contextlib.suppress(OSError):  # `ready` reports a worker that is gone already
            await child._channel.send(channel.start(index, settings))
        return child

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def serving(self) -> bool:
        """Whether it is ready and has not ended."""
        return self._ready.done() and not self._ready.exception() and self._process.returncode is None

    async def ready(self) -> None:
        """Returns once the worker serves. Raises OSError or ValueError if it could not start."""
        await asyncio.shield(self._ready)

    async def ended(self) -> int:
        """Its exit status, negative for a signal, once the process has ended and its last page was read."""
        await self._reading
        status = await self._process.wait()
        if self._watching is not None:
            self._watching.cancel()
        await self._channel.close()
        return status

    def stop(self) -> None:
        """Lets the worker drain."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the worker at once."""
        self._signal(signal.SIGKILL)

    def watch(self) -> None:
        """From now on, kills the worker if it hangs."""
        self._watching = asyncio.create_task(self._watch())

    async def scrape(self) -> None:
        """Updates `page`, unless the worker does not answer."""
        if not self.serving:
            return
        self._page_came.clear()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_SCRAPE_SECONDS):
                await self._channel.send(channel.SCRAPE)
                await self._page_came.wait()

    # Implementation details follow.

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _watch(self) -> None:
        while self._unanswered < _MOST_UNANSWERED:
            self._unanswered += 1
            with contextlib.suppress(OSError):
                self._channel.post(channel.QUESTION)
            await asyncio.sleep(_QUESTION_SECONDS)
        _log.error("worker_hangs", pid=self.pid, after_seconds=_MOST_UNANSWERED * _QUESTION_SECONDS)
        self.kill()

    async def _read(self) -> None:
        while (frame := await self._channel.receive()) is not None:
            self._unanswered = 0
            self._take(*channel.parse(frame))
        self._page_came.set()
        if not self._ready.done():
            status = await self._process.wait()
            end = f"signal {-status}" if status < 0 else f"exit status {status}"
            self._ready.set_exception(WorkerFailedError(f"a worker ended with {end} before it served"))
        self._ready.exception()  # marks the exception as retrieved, even if nobody waits

    def _take(self, kind: str, value: Any) -> None:
        if kind == "page":
            self.page = value
            self._page_came.set()
        elif kind == "ready":
            self._ready.set_result(None)
        elif kind in _ERRORS:
            self._ready.set_exception(_ERRORS[kind](*value))
