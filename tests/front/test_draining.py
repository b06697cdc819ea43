# SPDX-License-Identifier: Apache-2.0
"""A server that stops: the RPCs that it still answers, those that it does not wait for, and that it always ends in time."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.compute import batch
from lossd_server.front import draining
from lossd_server.http2.frames import MAX_WINDOW
from support.harness import Harness, call, error_of, launch, run, square, wait_until
from support.raw_connection import wire

INFO = "/lossd.v1.LossService/GetServerInfo"
LOSS = "/lossd.v1.LossService/MseLoss"
EMPTY = bytes(5)

# Many times what an honest stop takes; the servers' own drain_seconds are longer still.
PATIENCE = 20.0
OWN = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)]


def test_goaway_comes_in_two_steps_and_what_was_opened_between_them_is_answered() -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            client.open(1, INFO)
            client.send(DataFrame(1, EMPTY, flags=["END_STREAM"]))
            await client.next(DataFrame)
            stopping = asyncio.create_task(harness.server.stop())
            first = await client.next(GoAwayFrame)
            assert (first.last_stream_id, first.error_code) == (MAX_WINDOW, 0)
            ping = await client.next(PingFrame)
            client.open(3, INFO)
            client.send(DataFrame(3, EMPTY, flags=["END_STREAM"]), PingFrame(0, ping.opaque_data, flags=["ACK"]))
            last = await client.next(GoAwayFrame)
            assert (last.last_stream_id, last.error_code) == (3, 0)
            assert (await client.next(DataFrame)).stream_id == 3
            await client.end()  # their side; ours is closed below
        async with asyncio.timeout(PATIENCE):
            await stopping

    run(scenario, drain_seconds=60)


def test_a_stream_after_the_last_goaway_is_refused_so_that_clients_try_it_elsewhere() -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            client.open(1, LOSS)
            client.send(DataFrame(1, b"\x00"))
            stopping = asyncio.create_task(harness.server.stop())
            ping = await client.next(PingFrame)
            client.send(PingFrame(0, ping.opaque_data, flags=["ACK"]))
            await client.next(GoAwayFrame)
            client.open(3, INFO)
            refused = await client.next(RstStreamFrame)
            assert (refused.stream_id, refused.error_code) == (3, 7)
        async with asyncio.timeout(PATIENCE):
            await stopping

    run(scenario, drain_seconds=60)


def test_streams_that_never_end_and_requests_that_never_arrive_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_ARRIVAL_SECONDS", 0.2)
    monkeypatch.setattr(draining, "_GOODBYE_SECONDS", 0.1)

    async def scenario(harness: Harness) -> None:
        async with wire(harness) as hanging, wire(harness) as endless, wire(harness) as half, asyncio.timeout(PATIENCE):
            hanging.open(1, LOSS)
            hanging.send(DataFrame(1, b"\x00\x00\x01\x00\x00hangs"))
            half.open(1, LOSS)  # a whole message whose stream is not ended
            half.send(DataFrame(1, EMPTY))
            endless.open(1)
            endless.send(DataFrame(1, b"\x00\x00\x01\x00\x00hangs"))
            evaluation = harness.stub.Evaluate()
            await evaluation.write(pb.EvaluateRequest())
            watching = health_pb2_grpc.HealthStub(harness.channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
            listing = reflection_pb2_grpc.ServerReflectionStub(harness.channel).ServerReflectionInfo()
            await listing.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            await listing.read()
            host, port = harness.server.address.split(":")
            _, silent = await asyncio.open_connection(host, int(port))
            await wait_until(lambda: harness.open_streams == 2)
            stopping = asyncio.create_task(harness.server.stop())
            assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            for rpc in (watching, listing, evaluation):
                assert await rpc.code() == grpc.StatusCode.UNAVAILABLE
            for client in (hanging, half, endless):
                assert (await client.next(HeadersFrame)).stream_id == 1  # a status, and no reset
            await stopping
            silent.close()

    run(scenario, drain_seconds=600)


def test_a_drain_refuses_nobody_while_another_caller_uploads() -> None:
    """Callers hear of the drain by GOAWAY, and find another server; none is told that this one shuts down."""

    async def scenario(harness: Harness) -> None:
        async with wire(harness) as hanging, asyncio.timeout(PATIENCE):
            hanging.open(1, LOSS)
            hanging.send(DataFrame(1, b"\x00\x00\x01\x00\x00hangs"))
            channels = [grpc.aio.insecure_channel(harness.server.address, options=OWN) for _ in range(5)]

            async def load(channel: grpc.aio.Channel) -> tuple[int, grpc.aio.AioRpcError]:
                answered = 0
                while True:
                    try:
                        await channel.unary_unary(LOSS)(square(2).mse_loss.SerializeToString())
                        answered += 1
                    except grpc.aio.AioRpcError as error:
                        return answered, error

            loads = [asyncio.create_task(load(channel)) for channel in channels]
            await asyncio.sleep(0.1)
            await harness.server.stop()
            for answered, error in await asyncio.gather(*loads):
                assert answered > 0
                assert error.code() == grpc.StatusCode.UNAVAILABLE
                assert "grpc-status-details-bin" not in dict(error.trailing_metadata() or ()), error_of(error).reason
            for channel in channels:
                await channel.close()

    run(scenario, drain_seconds=60)


@asynccontextmanager
async def slow_reader(address: str, bytes_a_second: float) -> AsyncIterator[str]:
    """A proxy that reads what the server sends at this pace, with small buffers. Its address."""
    host, port = address.split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: float) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) / pace)
        except ConnectionError:
            pass
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = socket.socket()
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        upstream.setblocking(False)
        await asyncio.get_running_loop().sock_connect(upstream, (host, int(port)))
        from_server, to_server = await asyncio.open_connection(sock=upstream)
        await asyncio.gather(pump(from_server, writer, bytes_a_second), pump(reader, to_server, 1e12))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()


def test_answers_that_are_being_read_are_read_to_their_end() -> None:
    async def scenario(harness: Harness) -> None:
        values = np.ones(1_000_000, np.float32)
        request = call("mse_loss", input=values, target=0 * values, reduction="none").mse_loss.SerializeToString()
        async with slow_reader(harness.server.address, 10e6) as address, asyncio.timeout(PATIENCE):
            channels = [grpc.aio.insecure_channel(address, options=OWN) for _ in range(3)]
            calls = [asyncio.ensure_future(channel.unary_unary(LOSS)(request)) for channel in channels]
            handled = harness.server._metrics._handled
            await wait_until(lambda: handled["unary", "lossd.v1.LossService", "MseLoss", "OK"] == 3)
            assert not any(each.done() for each in calls)
            await harness.server.stop()
            assert [len(answer) > 4_000_000 for answer in await asyncio.gather(*calls)] == [True] * 3
            for channel in channels:
                await channel.close()

    run(scenario, drain_seconds=60)


@pytest.mark.parametrize("over", ["unary", "stream", "batch"])
def test_a_batch_that_never_ends_does_not_delay_the_stop_and_its_callers_get_an_error(over: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_GOODBYE_SECONDS", 0.1)
    release = threading.Event()

    def compute(*_: Any) -> Any:
        release.wait()
        return []

    async def scenario(harness: Harness) -> None:
        harness.gate(monkeypatch).open()
        monkeypatch.setattr(batch, "compute", compute)
        started_at = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            if over == "unary":
                rpcs = [harness.losses.MseLoss(square(number).mse_loss) for number in range(3)]  # one is computed, two wait
            elif over == "batch":
                rpcs = [harness.stub.ScoreBatch(pb.ScoreBatchRequest(calls=[square(2)]))]
            else:
                rpcs = [harness.stub.ScoreStream()]
                message = pb.ScoreStreamRequest()
                message.calls.add(id=1, call=square(2))
                await rpcs[0].write(message)
            await wait_until(lambda: bool(harness.dispatcher._running))
            await harness.server.stop()
            for rpc in rpcs:
                assert await rpc.code() == grpc.StatusCode.UNAVAILABLE
                assert "shutting down" in await rpc.details()
        assert time.monotonic() - started_at < PATIENCE

    try:
        run_without_end(scenario, drain_seconds=0.1)
    finally:
        release.set()


def run_without_end(scenario: Any, **options: Any) -> None:
    """As `run`, but the server may still hold something: the batch keeps its calls."""

    async def main() -> None:
        async with launch(**options) as harness:
            await scenario(harness)

    asyncio.run(main())
