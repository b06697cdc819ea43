# SPDX-License-Identifier: Apache-2.0
"""The parts of `--workers` that need no processes: merged metrics, shares of the settings, pauses, and the port."""

import asyncio
import errno
import os
import signal
import socket

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lossd_server.config import Settings
from lossd_server.workers import channel, scrape, supervisor
from lossd_server.workers import child as child_module
from lossd_server.workers.channel import Channel
from lossd_server.workers.child import Child
from lossd_server.workers.reservation import reserve
from lossd_server.workers.supervisor import Supervisor, next_pause, worker_settings


def page(ok: int, seconds: list[float], waiting: int, loss: str) -> scrape.Page:
    registry = CollectorRegistry()
    rpcs = Counter("rpcs_total", "RPCs.", ("code",), registry=registry)
    rpcs.labels("OK").inc(ok)
    handling = Histogram("handling_seconds", "Time.", ("loss",), buckets=(0.1, 1.0), registry=registry)
    for each in seconds:
        handling.labels(loss).observe(each)
    Gauge("waiting", "Calls.", registry=registry).set(waiting)
    Gauge("build_info", "What it is.", ("version",), registry=registry).labels("1").set(1)
    Gauge("process_start_time_seconds", "Since when.", registry=registry).set(ok)
    return scrape.page(registry)


def samples(one: scrape.Page) -> dict[tuple[str, ...], float]:
    return {(name, *labels.values()): value for *_, found in one for name, labels, value in found if not name.endswith("_created")}


def test_samples_of_one_name_and_the_same_labels_become_one() -> None:
    merged = samples(scrape.merge([page(2, [0.05, 0.5], 3, "mse"), page(5, [0.5, 5.0], 4, "mse"), page(1, [0.01], 0, "ctc")]))
    assert merged == {
        ("rpcs_total", "OK"): 8,
        ("handling_seconds_bucket", "mse", "0.1"): 1,
        ("handling_seconds_bucket", "mse", "1.0"): 3,
        ("handling_seconds_bucket", "mse", "+Inf"): 4,
        ("handling_seconds_count", "mse"): 4,
        ("handling_seconds_sum", "mse"): 6.05,
        ("handling_seconds_bucket", "ctc", "0.1"): 1,
        ("handling_seconds_bucket", "ctc", "1.0"): 1,
        ("handling_seconds_bucket", "ctc", "+Inf"): 1,
        ("handling_seconds_count", "ctc"): 1,
        ("handling_seconds_sum", "ctc"): 0.01,
        ("waiting",): 7,
        ("build_info", "1"): 1,
        ("process_start_time_seconds",): 1,
    }


def test_a_collector_may_count_in_integers() -> None:
    family: scrape.Page = [("calls", "Calls.", "counter", [("calls_total", {}, 2)])]
    assert samples(scrape.merge([family, family, page(1, [], 0, "mse")]))["calls_total",] == 4


def test_merged_metrics_are_exposed_as_a_registrys_own() -> None:
    registry = CollectorRegistry()
    Counter("rpcs_total", "RPCs.", ("code",), registry=registry).labels("OK").inc(2)
    Histogram("handling_seconds", "Time.", registry=registry).observe(0.3)

    class Collected:
        def collect(self) -> object:
            return scrape.metrics(scrape.merge([scrape.page(registry)]))

    exposed = CollectorRegistry()
    exposed.register(Collected())  # type: ignore[arg-type]
    assert generate_latest(exposed) == generate_latest(registry)


def test_the_totals_of_a_worker_that_is_gone_stay_and_its_gauges_go() -> None:
    left = samples(scrape.totals(page(2, [0.5], 3, "mse")))
    assert left["rpcs_total", "OK"] == 2
    assert left["handling_seconds_count", "mse"] == 1
    assert ("waiting",) not in left


def test_a_worker_gets_its_share_of_the_limits() -> None:
    settings = Settings(workers=4, max_queue_bytes=1000, max_in_flight_bytes=3, max_connections=10, admin_listen="127.0.0.1:1")
    share = worker_settings(settings, "127.0.0.1:2")
    assert (share.max_queue_bytes, share.max_in_flight_bytes, share.max_connections) == (250, 1, 2)
    assert (share.listen, share.admin_listen, share.max_request_bytes) == ("127.0.0.1:2", "", settings.max_request_bytes)
    assert share.intra_op_threads == max(1, (os.cpu_count() or 1) // 4)


def test_a_thread_count_that_was_set_applies_to_each_worker() -> None:
    assert worker_settings(Settings(workers=4, intra_op_threads=3), "127.0.0.1:2").intra_op_threads == 3


def test_the_pause_before_a_worker_is_replaced_doubles_unless_it_served_for_a_while() -> None:
    pauses = [0.0]
    for _ in range(7):
        pauses.append(next_pause(pauses[-1], served_seconds=1.0))
    assert pauses == [0, 1, 2, 4, 8, 16, 30, 30]
    assert next_pause(30.0, served_seconds=3600.0) == 0


def test_a_reserved_port_is_shared_only_with_processes_that_ask_for_it() -> None:
    with reserve("127.0.0.1:0") as reserved:
        port = int(reserved.address.rpartition(":")[2])
        with pytest.raises(OSError, match=f"cannot listen on {reserved.address}: Address already in use"):
            reserve(reserved.address)
        with socket.socket() as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                alone.bind(("127.0.0.1", port))
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port), reuse_port=True), pytest.raises(OSError, match="cannot listen"):
                reserve(reserved.address)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match="cannot listen"):
        reserve(f"127.0.0.1:{port}")


@pytest.mark.parametrize("listen", ["localhost:0", "0.0.0.0:0"])
def test_a_host_may_have_several_addresses(listen: str) -> None:
    with reserve(listen) as reserved:
        assert reserved.address.rpartition(":")[0] == listen.rpartition(":")[0]
        assert not reserved.address.endswith(":0")


class FakeChild:
    """A worker without a process, which is ready at once and ends when it is told to."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.page: scrape.Page = []
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def serving(self) -> bool:
        return not self._over.done()

    async def ready(self) -> None:
        pass

    async def ended(self) -> int:
        return await self._over

    def watch(self) -> None:
        pass

    def stop(self, status: int = 0) -> None:
        if not self._over.done():
            self._over.set_result(status)

    kill = stop


def test_a_failed_respawn_is_tried_again_and_the_other_workers_serve_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """EAGAIN and ENOMEM are the machine's, and pass."""
    spawned: list[FakeChild] = []
    failures = 0

    async def spawn(index: int, settings: Settings) -> FakeChild:
        nonlocal failures
        if len(spawned) == 2 and failures < 3:
            failures += 1
            raise OSError((errno.EAGAIN, errno.ENOMEM, errno.EMFILE)[failures - 1], "no process to spare")
        spawned.append(FakeChild(len(spawned)))
        return spawned[-1]

    async def main() -> bool:
        one = Supervisor(Settings(workers=2, admin_listen="", listen="127.0.0.1:0"))
        serving = asyncio.create_task(one.serve())
        while len(one._serving()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        spawned[0].stop(1)
        while len(spawned) < 3:
            assert spawned[1].serving
            assert not serving.done()
            await asyncio.sleep(0)
        one._stop_requested.set()
        return await serving

    monkeypatch.setattr(Child, "spawn", spawn)
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_SECONDS", 0.01)
    assert asyncio.run(asyncio.wait_for(main(), 30))
    assert failures == 3


@pytest.mark.parametrize("answers", [True, False])
def test_a_worker_that_stops_answering_is_killed(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_QUESTION_SECONDS", 0.01)

    class Process:
        pid, returncode = 7, None

        def __init__(self) -> None:
            self.killed = asyncio.Event()

        def send_signal(self, number: int) -> None:
            assert number == signal.SIGKILL
            self.killed.set()

        async def wait(self) -> int:
            return -9

    async def main() -> None:
        ours, theirs = socket.socketpair()
        process, other = Process(), await Channel.over(theirs)
        child = Child(process, await Channel.over(ours))  # type: ignore[arg-type]
        await other.send(channel.message("ready", None))
        await child.ready()
        child.watch()
        if answers:
            for _ in range(20):
                assert await other.receive() == channel.QUESTION
                await other.send(channel.message("answer", None))
            assert not process.killed.is_set()
        else:
            await process.killed.wait()
        await other.close()
        assert await child.ended() == -9

    asyncio.run(asyncio.wait_for(main(), 30))
