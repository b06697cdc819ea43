# SPDX-License-Identifier: Apache-2.0
"""Clients that send keepalive pings."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support import driver_builds, scenarios
from support.drivers import Driver
from support.server_process import server_process
from support.slow_link import SlowLink

KEEPALIVE_SECONDS = 20  # as often as the server lets them
QUIET = scenarios.quiet_stream(pause_seconds=65)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Driver, SlowLink]]]:
    """All clients at once, because each takes a minute of doing nothing; without those whose language this machine lacks."""
    started = {}
    with server_process() as server, ExitStack() as stack:
        for client in driver_builds.LIBRARIES:
            try:
                driver_builds.command(client)
            except (pytest.skip.Exception, pytest.fail.Exception):
                continue
            link = stack.enter_context(SlowLink(server.address, delay_seconds=0.001))
            driver = Driver(client, link.address, [QUIET], tmp_path_factory.mktemp(client), KEEPALIVE_SECONDS)
            stack.callback(driver.end)
            started[client] = driver, link
        yield started


@pytest.mark.parametrize("client", driver_builds.LIBRARIES)
def test_a_quiet_stream_outlives_its_keepalive_pings(client: str, running: dict[str, tuple[Driver, SlowLink]]) -> None:
    driver_builds.command(client)
    driver, link = running[client]
    QUIET.assert_right(driver.results(120))
    assert link.pieces_to_server >= 5, "no pings were sent"
