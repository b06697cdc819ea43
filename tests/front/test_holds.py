# SPDX-License-Identifier: Apache-2.0
"""Memory that a peer makes the front hold counts until it is free, and a drain waits only for messages that were accepted."""

import asyncio
import base64
import socket
from contextlib import AsyncExitStack

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.admission import OVERHEAD_BYTES
from lossd_server.front import rpc
from lossd_server.http2.streams import INITIAL_WINDOW
from support.encoded_requests import encoded
from support.grpc_wire import (
    EVALUATE,
    MSE,
    OK,
    SCORE_BATCH,
    SCORE_STREAM,
    SERVER_INFO,
    UNAVAILABLE,
    answer_of,
    begin,
    headers,
    prefixed,
)
from support.harness import Harness, call, run, send, square, wait_until
from support.http2_peer import INITIAL
from support.raw_connection import PREFACE, Wire, wire

UNREDUCED = encoded("mse_loss", input=[3.0] * 1000, target=[1.0] * 1000, reduction="none")[1]
CALL = square(1, reduction="none")
SERIES = pb.EvaluateRequest(calls=[pb.SeriesCall(series=f"{number:0100d}", call=square(1)) for number in range(100)])
REQUESTS = {
    MSE: UNREDUCED,
    SCORE_BATCH: pb.ScoreBatchRequest(calls=[CALL] * 100).SerializeToString(),
    SCORE_STREAM: send(*[(number, CALL) for number in range(100)]).SerializeToString(),
    EVALUATE: SERIES.SerializeToString(),
}


# ---- answers


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("end", ["taken", "reset", "connection lost"])
def test_an_answer_counts_until_it_has_left(path: str, end: str) -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            client.send(SettingsFrame(0, settings={INITIAL: 0}))
            begin(client, path=path)
            client.send(DataFrame(1, prefixed(REQUESTS[path]), flags=["END_STREAM"]))
            await client.next(HeadersFrame)
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert harness.admission.in_flight_bytes > OVERHEAD_BYTES + 4000
            if end == "taken":
                client.send(SettingsFrame(0, settings={INITIAL: 1 << 16}))
                assert (await answer_of(client))["grpc-status"] == OK
            elif end == "reset":
                client.send(RstStreamFrame(1, error_code=8))
            if end != "connection lost":
                await wait_until(lambda: harness.admission.in_flight_bytes == 0)

    run(scenario)


def test_small_answers_that_wait_count_with_what_an_rpc_takes() -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            client.send(SettingsFrame(0, settings={INITIAL: 0}))
            for number in range(50):
                begin(client, stream=2 * number + 1)
                client.send(DataFrame(2 * number + 1, prefixed(encoded("mse_loss", input=[3.0], target=[1.0])[1]), flags=["END_STREAM"]))
            for _ in range(50):
                await client.next(HeadersFrame)
            assert harness.admission.in_flight_bytes > 50 * OVERHEAD_BYTES

    run(scenario)


def test_an_answer_that_a_stream_wrote_before_its_deadline_counts_until_it_has_left() -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            client.send(SettingsFrame(0, settings={INITIAL: 0}))
            begin(client, path=SCORE_STREAM, grpc_timeout="100m")
            client.send(DataFrame(1, prefixed(REQUESTS[SCORE_STREAM])))
            await client.next(HeadersFrame)
            await wait_until(lambda: harness.open_streams == 0)
            await asyncio.sleep(0)
            assert harness.admission.in_flight_bytes > OVERHEAD_BYTES + 4000

    run(scenario)


def test_a_caller_that_takes_no_answers_is_refused_at_its_share() -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            client.send(SettingsFrame(0, settings={INITIAL: 0}))
            statuses: list[str] = []
            for number in range(100):
                begin(client, stream=2 * number + 1, path=EVALUATE)
                client.send(DataFrame(2 * number + 1, prefixed(SERIES.SerializeToString()), flags=["END_STREAM"]))
                await wait_until(lambda: harness.open_streams == 0)
            assert harness.admission.in_flight_bytes <= 1 << 20
            while UNAVAILABLE not in statuses:
                statuses.append((await answer_of(client))["grpc-status"])

    run(scenario, max_in_flight_bytes=1 << 20)


def test_a_peer_that_does_not_read_is_served_no_further_until_it_reads() -> None:
    """With any windows: the bytes that its transport holds count, and further frames of the peer stay unread."""
    streams = range(1, 20_000, 2)

    async def scenario(harness: Harness) -> None:
        (host, port), loop = harness.server.address.split(":"), asyncio.get_running_loop()
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        plain.setblocking(False)
        await loop.sock_connect(plain, (host, int(port)))
        first = headers(path=SERVER_INFO)
        block, flags = first.data, first.flags
        opening = PREFACE + WindowUpdateFrame(0, window_increment=1 << 30).serialize()
        sent = opening + b"".join(
            [
                HeadersFrame(stream, block, flags=flags).serialize() + DataFrame(stream, prefixed(b""), flags=["END_STREAM"]).serialize()
                for stream in streams
            ]
        )
        sending = asyncio.ensure_future(loop.sock_sendall(plain, sent))
        await wait_until(lambda: bool(harness.server._listener._hub.links))
        (link,) = harness.server._listener._hub.links
        await wait_until(lambda: link.connection.sending.paused)
        served = -1
        while served != link.connection._last_id:
            served = link.connection._last_id
            await asyncio.sleep(0.2)
        assert served < streams[-1]
        waiting = sum([stream.unsent is not None for stream in link.connection.streams.values()])
        assert harness.admission.in_flight_bytes >= link.unsent + waiting * OVERHEAD_BYTES
        assert harness.admission.in_flight_bytes < 8 << 20
        assert link.unsent + link.connection.sending._out_bytes + len(link.connection._reader._rest) < 1 << 20
        while link.connection._last_id < streams[-1] or link.connection.streams:
            await loop.sock_recv(plain, 1 << 20)
        await sending
        plain.close()

    run(scenario)


# ---- messages of streams


@pytest.mark.parametrize("path", [SCORE_STREAM, EVALUATE])
def test_a_large_message_counts_once_and_from_its_arrival_until_its_answer_has_left(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Also while the service has not got further with it, and when the service refuses its calls."""
    values = [0.0] * 100_000
    large = call("mse_loss", input=values, target=values)
    message = (send((1, large)) if path == SCORE_STREAM else pb.EvaluateRequest(calls=[pb.SeriesCall(call=large)])).SerializeToString()

    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        async with wire(harness) as client:
            begin(client, path=path)
            await client.upload(1, prefixed(message))
            await gate.reached.wait()
            seen = harness.admission.in_flight_bytes
            assert len(message) < seen < len(message) + INITIAL_WINDOW + 10 * OVERHEAD_BYTES
            gate.open()
            assert (await answer_of(client))["grpc-status"] == OK

    run(scenario)


def test_messages_count_while_they_wait_for_the_room_of_their_calls() -> None:
    """The calls of each message exceed the free memory, and there are more streams than it can hold."""
    message = pb.EvaluateRequest(calls=[pb.SeriesCall(call=square(2))] * 2000).SerializeToString()
    in_flight: list[int] = []

    async def scenario(harness: Harness) -> None:
        nonlocal in_flight
        in_flight = harness.record_in_flight()
        async with AsyncExitStack() as connections:
            clients = [await connections.enter_async_context(wire(harness)) for _ in range(8)]
            for client in clients:
                begin(client, path=EVALUATE)
            await asyncio.gather(*[client.upload(1, prefixed(message)) for client in clients])
            for client in clients:
                assert (await answer_of(client))["grpc-status"] == OK

    run(scenario, max_in_flight_bytes=3 << 20)
    assert max(in_flight) <= (3 << 20) + len(message) + 2000 * 1024


@pytest.mark.slow
def test_messages_go_ahead_of_their_room_one_at_a_time() -> None:
    calls = [pb.SeriesCall(series=f"{number:0250d}", call=square(2)) for number in range(1500)]
    message = prefixed(pb.EvaluateRequest(calls=calls).SerializeToString())
    in_flight: list[int] = []

    async def evaluate(client: Wire, takes_answers: asyncio.Event) -> str:
        client.send(SettingsFrame(0, settings={INITIAL: 0}), WindowUpdateFrame(0, window_increment=1 << 20))
        begin(client, path=EVALUATE)
        await client.upload(1, message)
        await takes_answers.wait()
        client.send(SettingsFrame(0, settings={INITIAL: 1 << 20}))
        return (await answer_of(client))["grpc-status"]

    async def scenario(harness: Harness) -> None:
        nonlocal in_flight
        in_flight, takes_answers = harness.record_in_flight(), asyncio.Event()
        async with AsyncExitStack() as connections:
            clients = [await connections.enter_async_context(wire(harness)) for _ in range(12)]
            evaluations = [asyncio.ensure_future(evaluate(client, takes_answers)) for client in clients]
            await asyncio.sleep(2)
            takes_answers.set()
            assert await asyncio.gather(*evaluations) == [OK] * len(clients)

    run(scenario, max_in_flight_bytes=4 << 20)
    # A caller may hold half of the budget, and one message takes 4 MB with its calls and series.
    assert 4 << 20 < max(in_flight) < 8 << 20


# ---- what a drain waits for


@pytest.mark.parametrize("path", REQUESTS)
def test_a_drain_waits_until_an_answer_has_left(path: str) -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            client.send(SettingsFrame(0, settings={INITIAL: 0}))
            begin(client, path=path)
            client.send(DataFrame(1, prefixed(REQUESTS[path]), flags=["END_STREAM"]))
            await client.next(HeadersFrame)
            stopping = asyncio.create_task(harness.server.stop())
            ping = await client.next(PingFrame)
            client.send(PingFrame(0, ping.opaque_data, flags=["ACK"]))
            await asyncio.sleep(0.1)
            assert not stopping.done()
            client.send(SettingsFrame(0, settings={INITIAL: 1 << 16}))
            assert (await answer_of(client))["grpc-status"] == OK
        await asyncio.wait_for(stopping, 20)

    run(scenario, drain_seconds=60)


# ---- uploads


@pytest.mark.parametrize("path", [MSE, EVALUATE])
@pytest.mark.parametrize(
    ("timeout", "words"), [("100m", "the deadline passed before"), ("", "was not received within")], ids=["the caller's", "the server's"]
)
def test_an_upload_that_takes_too_long_has_a_reason_of_its_own(
    monkeypatch: pytest.MonkeyPatch, path: str, timeout: str, words: str
) -> None:
    monkeypatch.setattr(rpc, "RECEIVE_SECONDS", 0.2)

    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            begin(client, path=path, **({"grpc_timeout": timeout} if timeout else {}))
            client.send(DataFrame(1, prefixed(UNREDUCED)[:100]))
            answer = await answer_of(client)
            assert words in answer["grpc-message"]
            assert "UPLOAD_TOO_SLOW" in reason_of(answer)

    run(scenario)


def reason_of(answer: dict[str, str]) -> str:
    encoded_details = answer["grpc-status-details-bin"]
    return base64.b64decode(encoded_details + "=" * (-len(encoded_details) % 4)).decode("latin-1")
