# SPDX-License-Identifier: Apache-2.0
"""Keeps N workers on one port: starts them, replaces those that die, forwards SIGTERM, and serves their combined metrics.

- Until all workers have been ready once, a worker that cannot start ends the supervisor with its error: the settings are wrong.
- After that, a worker that ends is replaced: at once if it had served for a while, otherwise after a pause that doubles. If a worker
  cannot start while no other serves, the supervisor ends, so that its own supervisor notices. If the operating system cannot create
  a process, the supervisor tries again, and the other workers continue to serve.
- A worker that no longer answers is killed and therefore replaced: see Child.watch.
- If the supervisor is killed, the workers drain by themselves.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.registry import Collector

from lossd_server import process, sockets
from lossd_server.admin import Admin
from lossd_server.config import Settings
from lossd_server.workers import scrape
from lossd_server.workers.child import Child
from lossd_server.workers.reservation import reserve

_SERVED_FOR_A_WHILE_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0

# Limits of all workers together; each worker gets an equal part.
_SHARED = ("max_queue_bytes", "max_in_flight_bytes", "max_connections")

# The time that a worker gets in addition to its own drain before it is killed.
_GRACE_SECONDS = 5.0

_log = structlog.get_logger("lossd.supervisor")


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; a second signal ends all processes at once. Exits with status 1 if a worker failed to drain.

    Raises OSError or ValueError if the workers cannot start: see the module docstring.
    """
    if not asyncio.run(Supervisor(settings).serve()):
        sys.exit(1)


def worker_settings(settings: Settings, address: str) -> Settings:
    """The settings of each worker, with its part of the threads, memory and connections, so that all together stay within `settings`.

    Limits of one request or batch are not divided.
    """
    shares = {name: max(1, getattr(settings, name) // settings.workers) for name in _SHARED}
    if "intra_op_threads" not in settings.model_fields_set:
        shares["intra_op_threads"] = max(1, (os.cpu_count() or 1) // settings.workers)
    return settings.model_copy(update={"listen": address, "admin_listen": "", **shares})


def next_pause(pause: float, served_seconds: float) -> float:
    """The pause before a worker is replaced, given the pause before its own start and how long it served. All in seconds."""
    if served_seconds >= _SERVED_FOR_A_WHILE_SECONDS:
        return 0.0
    return min(max(2 * pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)


class Supervisor:
    """The workers of one address. Use once, on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children: dict[int, Child] = {}
        self._totals: scrape.Page = []  # of the workers that have ended
        self._merged = _Merged()
        self._stop_requested = asyncio.Event()
        self._announced = False
        self._admin_address = ""

        self.registry = CollectorRegistry()
        serving = Gauge("lossd_workers", "Workers that serve.", registry=self.registry)
        serving.set_function(lambda: len(self._serving()))
        self._restarts = Counter("lossd_worker_restarts_total", "Workers that were replaced.", registry=self.registry)

    async def serve(self) -> bool:
        """Serves until SIGTERM or SIGINT, and returns whether every worker drained in time. Raises OSError or ValueError."""
        process.on_stop(self._stop_requested.set, self._kill_all)
        with reserve(self._settings.listen) as reserved:
            if not self._settings.admin_listen:
                return await self._keep_all(reserved.address)
            admin = Admin(sockets.bind(self._settings.admin_listen), self.registry, self._ready, self._scrape)
            self._admin_address = admin.address
            self.registry.register(self._merged)
            await admin.start()
            try:
                return await self._keep_all(reserved.address)
            finally:
                admin.close()

    # Implementation details follow.

    async def _keep_all(self, address: str) -> bool:
        settings = worker_settings(self._settings, address)
        keepers = [asyncio.create_task(self._keep(index, settings)) for index in range(self._settings.workers)]
        stopping = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait([stopping, *keepers], return_when=asyncio.FIRST_COMPLETED)
        _log.info("draining", workers=len(self._serving()))
        self._stop_requested.set()
        for child in self._children.values():
            child.stop()
        grace = settings.drain_delay_seconds + settings.drain_seconds + _GRACE_SECONDS
        _, late = await asyncio.wait(keepers, timeout=grace)
        for child in self._children.values():
            _log.error("worker_killed", pid=child.pid, after_seconds=grace)
        self._kill_all()
        ended_well = await asyncio.gather(*keepers)  # raises a worker's error
        _log.info("stopped")
        return not late and all(ended_well)

    async def _keep(self, index: int, settings: Settings) -> bool:
        """Runs one worker after another until a stop is requested. Returns whether the last one ended with status 0."""
        pause = 0.0
        while True:
            served_seconds = 0.0
            try:
                child = await Child.spawn(index, settings)
            except OSError as error:  # the machine is out of processes or memory at the moment
                if not self._announced:
                    raise
                _log.error("worker_not_spawned", worker=index, error=str(error))
                pause = next_pause(pause, served_seconds)
                if await self._stopped_within(pause):
                    return True
                continue
            self._children[index] = child
            if self._stop_requested.is_set():
                child.stop()
            try:
                await child.ready()
            except (OSError, ValueError) as error:
                status = await self._end_of(index, child)
                if self._stop_requested.is_set():
                    return True  # it had accepted nothing
                if not self._announced or not self._serving():
                    raise
                _log.error("worker_failed", worker=index, error=str(error))
            else:
                served_since = time.monotonic()
                _log.info("worker_ready", worker=index, pid=child.pid)
                child.watch()
                self._announce(settings.listen)
                status = await self._end_of(index, child)
                if self._stop_requested.is_set():
                    return status == 0
                served_seconds = time.monotonic() - served_since
                _log.error("worker_ended", worker=index, pid=child.pid, exit_status=status)
            pause = next_pause(pause, served_seconds)
            if await self._stopped_within(pause):
                return True
            self._restarts.inc()

    async def _stopped_within(self, seconds: float) -> bool:
        """Waits until a stop is requested, at most `seconds`. Returns whether one was requested."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop_requested.wait()
        return self._stop_requested.is_set()

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.kill()

    def _announce(self, address: str) -> None:
        if not self._announced and len(self._serving()) == self._settings.workers:
            self._announced = True
            _log.info("serving", address=address, admin_address=self._admin_address, workers=self._settings.workers)
            print(f"lossd listens on {address}", flush=True)

    async def _end_of(self, index: int, child: Child) -> int:
        """Waits for a worker to end, and returns its exit status. Its totals are kept."""
        status = await child.ended()
        # In one step, so that no scrape counts the worker twice or not at all.
        self._totals = scrape.merge([self._totals, scrape.totals(child.page)])
        del self._children[index]
        return status

    def _serving(self) -> list[Child]:
        return [child for child in self._children.values() if child.serving]

    def _ready(self) -> bool:
        return bool(self._serving()) and not self._stop_requested.is_set()

    async def _scrape(self) -> None:
        await asyncio.gather(*[child.scrape() for child in self._children.values()])
        self._merged.page = scrape.merge([self._totals, *[child.page for child in self._children.values()]])


class _Merged(Collector):
    """The workers' combined metrics at the last scrape."""

    def __init__(self) -> None:
        self.page: scrape.Page = []

    def collect(self) -> Iterable[Metric]:
        return scrape.metrics(self.page)
