# SPDX-License-Identifier: Apache-2.0
"""The common clients of gRPC, in their default settings, directly and through a network with latency."""

from collections.abc import Iterator

import pytest

from support import scenarios
from support.driver_builds import NAMES
from support.drivers import Driver, Result, Scenario
from support.server_process import ServerProcess, server_process
from support.slow_link import SlowLink

# Over the link a client that never asks for more than 64 KiB gets 1.6 MB/s.
PLANS = {
    "direct": scenarios.everything(count=20, largest_megabytes=60),
    "delayed": scenarios.everything(count=3, largest_megabytes=10),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process() as running:
        yield running


@pytest.fixture(scope="module")
def link(server: ServerProcess) -> Iterator[SlowLink]:
    with SlowLink(server.address) as running:
        yield running


@pytest.fixture(scope="module")
def done() -> dict[tuple[str, str], dict[str, Result]]:
    """What each client has done on each route: a driver is started once for all its scenarios."""
    return {}


@pytest.mark.parametrize(
    ("client", "route", "scenario"),
    [
        pytest.param(client, route, scenario, id=f"{client}-{route}-{scenario.name}")
        for client in NAMES
        for route, plan in PLANS.items()
        for scenario in plan
    ],
)
def test_a_client_gets_what_torch_says(
    client: str,
    route: str,
    scenario: Scenario,
    server: ServerProcess,
    link: SlowLink,
    done: dict[tuple[str, str], dict[str, Result]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if (client, route) not in done:
        address = server.address if route == "direct" else link.address
        done[client, route] = Driver(client, address, PLANS[route], tmp_path_factory.mktemp(f"{client}-{route}")).results(200)
    scenario.assert_right(done[client, route])
