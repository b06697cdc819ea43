# SPDX-License-Identifier: Apache-2.0
"""A lossd server inside the process, for tests of programs that use lossd. Needs lossd[server].

    with lossd.testing.client() as client:
        assert client.mse_loss([1.0], [2.0]) == 1.0

    with lossd.testing.server() as address:
        run_my_program("--lossd", address)

As a pytest fixture: `pytest.fixture(scope="session")` over a generator that yields from `server()`.
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lossd._client import Client

if TYPE_CHECKING:
    from lossd_server.config import Settings

__all__ = ["client", "server"]


@contextmanager
def server(**settings: Any) -> Iterator[str]:
    """The address of a server that runs on a thread of this process until the `with` ends.

    Args:
        settings: Named like the flags of `lossd serve`, with underscores. By default the server computes on the CPU, listens on a free
            local port and serves no metrics. Environment variables and files are not read.
    """
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=_serve, args=(_settings(settings), started), name="lossd-testing-server")
    thread.start()
    try:
        address, loop, stopping = started.result()
    except BaseException:
        thread.join()
        raise
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()


@contextmanager
def client(**settings: Any) -> Iterator[Client]:
    """A client of its own server. See `server`."""
    with server(**settings) as address, Client(address) as made:
        yield made


# Implementation details follow.


def _settings(given: dict[str, Any]) -> "Settings":
    from lossd_server.config import Settings

    class Given(Settings):
        """Settings from arguments only."""

        @classmethod
        def settings_customise_sources(cls, settings_cls: Any, init_settings: Any, *others: Any, **more: Any) -> Any:
            return (init_settings,)

    defaults = {"listen": "127.0.0.1:0", "admin_listen": "", "device": "cpu", "drain_seconds": 0.2, "intra_op_threads": 1}
    return Given(**{**defaults, **given})


def _serve(settings: "Settings", started: "Future[Any]") -> None:
    try:
        asyncio.run(_run(settings, started))
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


async def _run(settings: "Settings", started: "Future[Any]") -> None:
    import structlog

    from lossd_server import log
    from lossd_server.server import Server

    if not structlog.is_configured():
        log.configure("warning")
    server = Server(settings)
    await server.start()
    stopping = asyncio.Event()
    started.set_result((server.address, asyncio.get_running_loop(), stopping))
    await stopping.wait()
    await server.stop()
