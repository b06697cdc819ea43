# SPDX-License-Identifier: Apache-2.0
"""A live server for the tests that speak gRPC, and how hypothesis draws."""

import asyncio
import os
import threading
from collections.abc import Iterator

# Threads that spin while they wait take milliseconds for a kernel of ten elements as soon as something else runs. torch reads this when it
# is imported; servers in processes of their own run without it.
os.environ["OMP_WAIT_POLICY"] = "passive"
import torch

del os.environ["OMP_WAIT_POLICY"]

import pytest
from hypothesis import HealthCheck, settings

import lossd
from lossd_server.config import Settings
from lossd_server.server import Server

# What tests compute themselves is small. Servers in this process have the threads of their settings.
torch.set_num_threads(1)

# The same cases in every run, so that a failure is about the code; --hypothesis-profile=random draws others.
_COMMON = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("repeatable", derandomize=True, **_COMMON)
settings.register_profile("random", print_blob=True, **_COMMON)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", action="store_true", help="also run tests/conformance, which needs others' tools")


@pytest.fixture(autouse=True)
def gradients() -> Iterator[None]:
    """Each test begins with torch's default: a server on a test's own thread switches gradients off there."""
    with torch.enable_grad():
        yield


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of a server for the whole session, on its own event loop in a thread of this process."""
    ready = threading.Event()
    state: dict[str, object] = {}

    async def serve() -> None:
        server = Server(Settings(listen="127.0.0.1:0", admin_listen="", device="cpu", log_level="error"))
        await server.start()
        state.update(address=server.address, loop=asyncio.get_running_loop(), stop=asyncio.Event())
        ready.set()
        await state["stop"].wait()  # type: ignore[attr-defined]
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="lossd-test-server")
    thread.start()
    assert ready.wait(30), "the server did not start"
    yield str(state["address"])
    state["loop"].call_soon_threadsafe(state["stop"].set)  # type: ignore[attr-defined]
    thread.join()


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[lossd.Client]:
    """A client of that server, for the whole session."""
    with lossd.Client(address) as connected:
        yield connected
