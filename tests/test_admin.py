# SPDX-License-Identifier: Apache-2.0
"""The admin port: its paths and methods, its answers while the server drains, and clients that are slow or many."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lossd_server import admin
from support.harness import Harness
from support.harness import run as run_house


async def request(address: str, path: str, method: str = "GET", fields: str = "") -> tuple[int, str]:
    """Status and body."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def run(scenario: Callable[[Harness, str], Awaitable[None]], **options: Any) -> None:
    async def with_address(harness: Harness) -> None:
        await scenario(harness, harness.server.admin_address)

    run_house(with_address, **{"admin_listen": "127.0.0.1:0", **options})


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_paths_and_methods(listen: str) -> None:
    async def scenario(_: Harness, address: str) -> None:
        assert address.rpartition(":")[0] == listen.rpartition(":")[0]
        status, page = await request(address, "/metrics")
        assert status == 200
        assert "\nlossd_queue_calls 0.0\n" in page
        assert (await request(address, "/metrics?name[]=x", fields="Accept: application/openmetrics-text;version=1.0.0\r\n"))[1].endswith(
            "# EOF\n"
        )
        assert await request(address, "/healthz") == (200, "OK\n")
        assert await request(address, "/readyz") == (200, "OK\n")
        assert await request(address, "/readyz", "HEAD") == (200, "")
        for path in ("/", "/metrics/", "/metrics2", "/favicon.ico", "//metrics"):
            assert (await request(address, path))[0] == 404
        for method in ("POST", "DELETE", "OPTIONS"):
            assert (await request(address, "/metrics", method))[0] == 405

    run(scenario, admin_listen=listen)


def test_a_server_that_drains_is_alive_and_not_ready() -> None:
    async def scenario(harness: Harness, address: str) -> None:
        await harness.server._health.drain()
        assert (await request(address, "/healthz"))[0] == 200
        assert (await request(address, "/readyz"))[0] == 503
        assert (await request(address, "/metrics"))[0] == 200

    run(scenario)


def test_a_server_that_is_not_ready_says_so() -> None:
    async def scenario(harness: Harness, address: str) -> None:
        harness.server._health.ready = False
        assert (await request(address, "/readyz"))[0] == 503
        harness.server._health.ready = True

    run(scenario)


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET /metrics HTTP/1.1\r\n", b"x" * 100_000, b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02"]
)
def test_what_is_no_request_is_answered_or_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "_SECONDS", 0.2)

    async def scenario(_: Harness, address: str) -> None:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            assert (await reader.read()).partition(b"\r\n")[0] in (b"", b"HTTP/1.1 404 Not Found")
        writer.close()
        assert (await request(address, "/healthz"))[0] == 200

    run(scenario)


def test_slow_and_many_connections_keep_nobody_from_the_answer() -> None:
    async def scenario(_: Harness, address: str) -> None:
        host, _, port = address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(3 * admin._MAX_CONNECTIONS)]
        for _ in range(3):
            assert (await request(address, "/readyz"))[0] == 200
            assert (await request(address, "/metrics"))[0] == 200
        answers = await asyncio.gather(*[request(address, "/metrics") for _ in range(admin._MAX_CONNECTIONS // 2)])
        assert {status for status, _ in answers} == {200}
        for _, writer in silent:
            writer.close()

    run(scenario)
