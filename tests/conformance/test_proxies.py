# SPDX-License-Identifier: Apache-2.0
"""The same clients through the proxies that people put before a gRPC server."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import pytest

from support import proxies, scenarios
from support.driver_builds import NAMES
from support.drivers import Driver, Result, Scenario
from support.server_process import ServerProcess, server_process

PROXIES: dict[str, Callable[[str, Path], AbstractContextManager[str]]] = {
    "nginx": proxies.nginx,
    "haproxy": proxies.haproxy,
    "envoy": proxies.envoy,
    "envoy-hpack-0": partial(proxies.envoy, hpack_table_size=0),
    "envoy-hpack-1024": partial(proxies.envoy, hpack_table_size=1024),
}
CASES = [(proxy, client) for proxy in PROXIES for client in (["grpcio"] if "hpack" in proxy else NAMES)]


def plan(proxy: str) -> dict[str, Scenario]:
    # haproxy 2 reads nothing of a connection while one of its streams can take no more: neither other requests nor the window that the
    # client grants for answers. When much goes both ways at once it waits for ever, or cuts answers off, before grpcio's server too.
    return scenarios.everything(count=5, largest_megabytes=20, both_ways_at_once=proxy != "haproxy")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process() as running:
        yield running


@pytest.fixture(scope="module")
def running(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The address of a proxy, which runs from its first use to the end of the module."""
    addresses: dict[str, str] = {}
    with ExitStack() as stack:

        def address(proxy: str) -> str:
            if proxy not in addresses:
                addresses[proxy] = stack.enter_context(PROXIES[proxy](server.address, tmp_path_factory.mktemp(proxy)))
            return addresses[proxy]

        yield address


@pytest.fixture(scope="module")
def done() -> dict[tuple[str, str], dict[str, Result]]:
    """What each client has done through each proxy: a driver is started once for all its scenarios."""
    return {}


@pytest.mark.parametrize(
    ("proxy", "client", "scenario"),
    [pytest.param(*case, name, id="-".join([*case, name])) for case in CASES for name in scenarios.NAMES],
)
def test_a_client_behind_a_proxy_gets_what_torch_says(
    proxy: str,
    client: str,
    scenario: str,
    running: Callable[[str], str],
    done: dict[tuple[str, str], dict[str, Result]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if (proxy, client) not in done:
        address = running(proxy)
        done[proxy, client] = Driver(client, address, list(plan(proxy).values()), tmp_path_factory.mktemp(f"{proxy}-{client}")).results(200)
    plan(proxy)[scenario].assert_right(done[proxy, client])
