# SPDX-License-Identifier: Apache-2.0
"""SIGTERM under load, with the clients of others."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import driver_builds, scenarios
from support.drivers import Driver
from support.server_process import server_process
from support.slow_link import SlowLink

MEGABYTE = 10**6


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


# Not curl: at a GOAWAY curl 7.88 ends its transfers at once, and says that they are complete.
@pytest.mark.parametrize("client", [*driver_builds.LIBRARIES, "nghttp"])
def test_a_stop_waits_for_large_answers_on_their_way_to_slow_clients(client: str, tmp_path: Path) -> None:
    scenario = scenarios.answers(5, count=3, parallel=3)
    driver_builds.command(client)
    with server_process(drain_seconds="60") as server, SlowLink(server.address, bytes_per_second=10 * MEGABYTE) as link:
        driver = Driver(client, link.address, [scenario], tmp_path)
        requests = 3 * len(scenario.requests[0])
        wait_until(lambda: link.bytes_to_server > requests and link.bytes_to_client > MEGABYTE // 2, "the answers do not come")
        server.terminate()
        scenario.assert_right(driver.results(90))
        assert server.process.wait(30) == 0


@pytest.mark.parametrize("client", driver_builds.LIBRARIES)
def test_no_call_fails_when_a_server_is_replaced_by_another(client: str, tmp_path: Path) -> None:
    """Connections are led to the new server before the old one is stopped, as Kubernetes does."""
    scenario = scenarios.load(parallel=8)
    driver_builds.command(client)
    with server_process() as old, server_process() as new, SlowLink(old.address, delay_seconds=0.002) as link:
        driver = Driver(client, link.address, [scenario], tmp_path)
        wait_until(lambda: link.bytes_to_client > 50_000, "no answers come")
        link.target = new.address
        old.terminate()
        assert old.process.wait(30) == 0
        so_far = link.bytes_to_client
        wait_until(
            lambda: link.bytes_to_client > so_far + 50_000 or driver.process.poll() is not None, "no answers come from the new server"
        )
        driver.stop()
        scenario.assert_right(driver.results(60))
