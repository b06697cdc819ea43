# SPDX-License-Identifier: Apache-2.0
"""The common clients of gRPC, in their default settings, directly and through a network with latency."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from support import scenarios
from support.driver_builds import NAMES
from support.drivers import Driver, Result, Scenario
from support.server_process import ServerProcess, server_process
from support.slow_link import SlowLink

# Over the link a client that never asks for more than 64 KiB gets 1.6 MB/s.
PLANS: dict[str, Callable[[], dict[str, Scenario]]] = {
    "direct": partial(scenarios.everything, count=20, largest_megabytes=60),
    "delayed": partial(scenarios.everything, count=3, largest_megabytes=10),
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
    [pytest.param(client, route, name, id=f"{client}-{route}-{name}") for client in NAMES for route in PLANS for name in scenarios.NAMES],
)
def test_a_client_gets_what_torch_says(
    client: str,
    route: str,
    scenario: str,
    server: ServerProcess,
    link: SlowLink,
    done: dict[tuple[str, str], dict[str, Result]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if (client, route) not in done:
        address = server.address if route == "direct" else link.address
        plan = list(PLANS[route]().values())
        done[client, route] = Driver(client, address, plan, tmp_path_factory.mktemp(f"{client}-{route}")).results(200)
    PLANS[route]()[scenario].assert_right(done[client, route])
