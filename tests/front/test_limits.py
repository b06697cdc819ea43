# SPDX-License-Identifier: Apache-2.0
"""The bounds of what a client may use before the server reads a call. If gRPC's clients cannot exceed a bound, frames by hand do."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

import lossd
from lossd._channel import channel_options
from lossd_server.front import accepting
from lossd_server.front import listener as listen
from lossd_server.front import request_headers as head
from support.encoded_requests import encoded
from support.harness import Harness, run, wait_until
from support.raw_connection import PREFACE, wire

REFUSED_STREAM, ENHANCE_YOUR_CALM = 7, 11
OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


async def answered(harness: Harness) -> None:
    """The server serves others."""
    async with lossd.AsyncClient(harness.server.address, options=[OWN_CONNECTION]) as client:
        assert await client.mse_loss([3.0], [1.0]) == 4.0


def test_metadata_above_its_limit_is_refused_and_the_connection_serves_on() -> None:
    async def scenario(harness: Harness) -> None:
        method = harness.channel.unary_unary("/lossd.v1.LossService/GetServerInfo")
        assert await method(b"", metadata=(("some", "x" * (head.MAX_METADATA_BYTES - 1024)),))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await method(b"", metadata=(("some", "x" * (head.MAX_METADATA_BYTES + 1)),))
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await method(b"")

    run(scenario)


def test_connections_above_their_limit_are_closed_until_others_end() -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as first:
            await first.next(SettingsFrame)
            async with wire(harness) as second:
                await second.next(SettingsFrame)
                async with wire(harness) as third:
                    with suppress(ConnectionError):
                        await third.end()
                options = [OWN_CONNECTION, ("grpc.enable_retries", 0), ("grpc.initial_reconnect_backoff_ms", 100)]
                client = grpc.aio.insecure_channel(harness.server.address, options=options)
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await client.unary_unary("/lossd.v1.LossService/GetServerInfo")(b"")
                assert error.value.code() == grpc.StatusCode.UNAVAILABLE
                first.send(PingFrame(0, bytes(8)))
                await first.next(PingFrame)
            assert await client.unary_unary("/lossd.v1.LossService/GetServerInfo")(b"", wait_for_ready=True)
            await client.close()

    run(scenario, max_connections=4)


def test_streams_above_their_limit_are_reset_until_others_end() -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            await client.next(SettingsFrame)
            for number in range(listen.MAX_CONCURRENT_STREAMS + 1):
                client.open(2 * number + 1)
            reset = await client.next(RstStreamFrame)
            assert (reset.stream_id, reset.error_code) == (2 * listen.MAX_CONCURRENT_STREAMS + 1, REFUSED_STREAM)
            await wait_until(lambda: harness.open_streams == listen.MAX_CONCURRENT_STREAMS)
            await answered(harness)
            client.send(RstStreamFrame(1, error_code=8))
            await wait_until(lambda: harness.open_streams == listen.MAX_CONCURRENT_STREAMS - 1)
            client.open(2 * listen.MAX_CONCURRENT_STREAMS + 3)
            await wait_until(lambda: harness.open_streams == listen.MAX_CONCURRENT_STREAMS)

    run(scenario)


@pytest.mark.slow
def test_thousands_of_streams_that_come_at_once_are_served() -> None:
    async def scenario(harness: Harness) -> None:
        async with AsyncExitStack() as connections:
            for _ in range(4):
                client = await connections.enter_async_context(wire(harness))
                for number in range(1000):
                    client.open(2 * number + 1)
            await wait_until(lambda: harness.open_streams == 4000)

    run(scenario)


@pytest.mark.parametrize("with_calls", [False, True], ids=["idle", "with a call"])
def test_a_client_that_pings_too_often_is_disconnected(with_calls: bool) -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            await client.next(SettingsFrame)
            if with_calls:
                client.open(1)
                await wait_until(lambda: harness.open_streams == 1)
            client.send(*[PingFrame(0, b"12345678")] * 4)
            goodbye = await client.next(GoAwayFrame)
            assert (goodbye.error_code, goodbye.additional_data) == (ENHANCE_YOUR_CALM, b"too_many_pings")
        await answered(harness)

    run(scenario)


def test_a_client_may_ping_between_the_pieces_of_an_answer() -> None:
    """As grpc-go and grpc-java do, to measure the bandwidth: gRPC's servers reset their count of pings whenever they send anything."""

    async def scenario(harness: Harness) -> None:
        values = [0.5] * 100_000
        rpc, message = encoded("mse_loss", input=values, target=values, reduction="none")
        async with wire(harness) as client, asyncio.timeout(10):
            client.open(1, f"/lossd.v1.LossService/{rpc}")
            await client.upload(1, b"\x00" + len(message).to_bytes(4) + message)
            ended, asked, pings = False, False, 0
            while not ended:
                got = await client.next(Frame)
                assert not isinstance(got, GoAwayFrame)
                if isinstance(got, DataFrame):
                    client.send(*[WindowUpdateFrame(each, window_increment=len(got.data)) for each in (0, 1)])
                    if not asked:
                        client.send(PingFrame(0, b"bandwide"))
                        asked, pings = True, pings + 1
                elif isinstance(got, PingFrame):
                    asked = False
                ended = got.stream_id == 1 and "END_STREAM" in got.flags
            assert pings > 4

    run(scenario)


def test_our_clients_ping_less_often_than_they_may() -> None:
    """A ping that comes a little early for jitter is none too many."""
    options = dict(channel_options(1))
    assert options["grpc.keepalive_time_ms"] > 2 * 1000 * listen.MIN_PING_INTERVAL_SECONDS
    assert "grpc.keepalive_permit_without_calls" not in options


@pytest.mark.slow
def test_a_client_that_vanished_loses_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "KEEPALIVE_SECONDS", 1)
    monkeypatch.setattr(listen, "KEEPALIVE_TIMEOUT_SECONDS", 1)

    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            client.open(1)
            await wait_until(lambda: harness.open_streams == 1)
            await wait_until(lambda: harness.open_streams == 0)
            await client.end()

    run(scenario)


async def silence(writer: asyncio.StreamWriter) -> None:
    pass


async def one_byte(writer: asyncio.StreamWriter) -> None:
    writer.write(b"P")


async def a_byte_now_and_then(writer: asyncio.StreamWriter) -> None:
    for byte in PREFACE[:-1]:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.3)


async def no_settings(writer: asyncio.StreamWriter) -> None:
    writer.write(PREFACE[:24])
    while not writer.is_closing():
        writer.write(PingFrame(0, bytes(8), flags=["ACK"]).serialize())
        await asyncio.sleep(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("say", [silence, one_byte, a_byte_now_and_then, no_settings])
@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_a_connection_has_one_deadline_for_its_whole_setup(
    say: Callable[[asyncio.StreamWriter], Awaitable[None]], with_tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would count against the limit for as long as it likes."""
    monkeypatch.setattr(listen, "HANDSHAKE_SECONDS", 1)
    if with_tls:
        certificate = trustme.CA().issue_cert("127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / "crt")
        certificate.private_key_pem.write_to_path(tmp_path / "key")

    async def scenario(harness: Harness) -> None:
        host, port = harness.server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        saying = asyncio.create_task(say(writer))
        with suppress(ConnectionError):
            async with asyncio.timeout(12):
                await reader.read()
        assert not harness.server._listener._acceptor._shares.used
        saying.cancel()
        writer.close()

    run(scenario, **({"tls_cert_file": str(tmp_path / "crt"), "tls_key_file": str(tmp_path / "key")} if with_tls else {}))


def test_a_host_has_half_of_the_connections_and_another_has_room_before_tls_has_begun(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "crt")
    certificate.private_key_pem.write_to_path(tmp_path / "key")

    async def scenario(harness: Harness) -> None:
        port = int(harness.server.address.split(":")[1])

        async def connect(host: str) -> tuple[bool, asyncio.StreamWriter]:
            """Whether the server keeps it."""
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
            try:
                async with asyncio.timeout(0.2):
                    return bool(await reader.read()), writer
            except TimeoutError:
                return True, writer
            except ConnectionError:
                return False, writer

        attackers = await asyncio.gather(*[connect("127.0.0.2") for _ in range(40)])
        assert sum(kept for kept, _ in attackers) == 8
        others = await asyncio.gather(*[connect(f"127.0.0.{number}") for number in range(3, 8)])
        assert [kept for kept, _ in others] == [True] * 5
        for _, writer in (*attackers, *others):
            writer.close()
        await wait_until(lambda: harness.server._listener._acceptor._shares.used == 0)

    run(scenario, max_connections=16, tls_cert_file=str(tmp_path / "crt"), tls_key_file=str(tmp_path / "key"))


def test_a_server_without_descriptors_accepts_again_when_it_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "_PAUSE_SECONDS", 0.01)

    class Exhausted(socket.socket):
        failures = 3

        def accept(self) -> Any:
            if self.failures:
                type(self).failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    async def scenario(harness: Harness) -> None:
        acceptor = harness.server._listener._acceptor
        (real,) = acceptor._listening
        acceptor._pause()
        with Exhausted(fileno=os.dup(real.fileno())) as exhausted:
            acceptor._listening = [exhausted]
            acceptor._resume()
            await answered(harness)
            acceptor.stop()
        assert not Exhausted.failures

    run(scenario)
