# SPDX-License-Identifier: Apache-2.0
"""The server asks old connections to end, so that clients connect anew. Open streams complete if they end within the grace period."""

import asyncio
from contextlib import suppress

import grpc
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame

import lossd
from lossd_server.http2.frames import MAX_WINDOW
from support.harness import Harness, Session, run, square, wait_until
from support.raw_connection import wire

INFO = "/lossd.v1.LossService/GetServerInfo"
# Many times the ages below.
PATIENCE = 20.0


def test_an_old_connection_hears_goaway_its_streams_complete_and_then_it_ends() -> None:
    async def scenario(harness: Harness) -> None:
        async with asyncio.timeout(PATIENCE), wire(harness) as client:
            client.open(1, INFO)
            assert (await client.next(GoAwayFrame)).last_stream_id == MAX_WINDOW
            ping = await client.next(PingFrame)
            client.send(PingFrame(0, ping.opaque_data, flags=["ACK"]))
            assert (await client.next(GoAwayFrame)).last_stream_id == 1
            client.send(DataFrame(1, bytes(5), flags=["END_STREAM"]))
            assert (await client.next(HeadersFrame)).stream_id == 1
            await client.end()
        async with asyncio.timeout(PATIENCE):
            await wait_until(lambda: not harness.server._listener._hub.links)

    run(scenario, max_connection_age_seconds=0.2)


@pytest.mark.parametrize("answers_ping", [False, True])
def test_after_the_grace_period_the_connection_is_closed_even_if_streams_are_open(answers_ping: bool) -> None:
    async def scenario(harness: Harness) -> None:
        async with asyncio.timeout(PATIENCE), wire(harness) as client:
            client.open(1)
            ping = await client.next(PingFrame)
            if answers_ping:
                client.send(PingFrame(0, ping.opaque_data, flags=["ACK"]))
            with suppress(ConnectionError):
                await client.end()

    run(scenario, max_connection_age_seconds=0.2, max_connection_age_grace_seconds=0.2)


@pytest.mark.slow
def test_clients_do_not_notice() -> None:
    async def scenario(harness: Harness) -> None:
        before: set[object] = set()
        async with lossd.AsyncClient(harness.server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as client:
            for _ in range(300):
                assert await client.mse_loss([3.0], [1.0]) == 4.0
                before |= harness.server._listener._hub.links
                await asyncio.sleep(0.01)
        assert len(before) > 1

    run(scenario, max_connection_age_seconds=0.5)


def test_a_stream_goes_on_if_there_is_no_grace_period() -> None:
    async def scenario(harness: Harness) -> None:
        stream = Session(harness.stub.ScoreStream())
        for number in range(10):
            await stream.send((number, square(2)))
            assert (await stream.next())[0] == number
            await asyncio.sleep(0.1)
        await stream.end()
        assert await stream.rpc.code() == grpc.StatusCode.OK

    run(scenario, max_connection_age_seconds=0.3)
