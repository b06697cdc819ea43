# SPDX-License-Identifier: Apache-2.0
"""gRPC on the wire: requests by hand against a live server."""

import asyncio
import gzip
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.admission import OVERHEAD_BYTES, Admission
from lossd_server.front.compression import Unpacker
from lossd_server.front.request_headers import read_request_headers
from lossd_server.front.rpc import Method
from lossd_server.front.streaming import Streaming
from lossd_server.http2.frames import ErrorCode
from lossd_server.http2.streams import INITIAL_WINDOW
from support.encoded_requests import encoded
from support.grpc_wire import (
    DEADLINE,
    EVALUATE,
    EXHAUSTED,
    INVALID,
    MSE,
    OK,
    SCORE_BATCH,
    SCORE_STREAM,
    UNIMPLEMENTED,
    WATCH,
    answer_of,
    begin,
    prefixed,
)
from support.harness import Harness, run, square, wait_until
from support.http2_peer import INITIAL, ready
from support.raw_connection import wire

RPC, MESSAGE = encoded("mse_loss", input=[3.0], target=[1.0])
PLAIN, FLATE = prefixed(MESSAGE), prefixed(zlib.compress(MESSAGE), 1)


@pytest.mark.parametrize(
    ("fields", "pieces", "expected"),
    [
        ({}, [PLAIN], ("200", OK)),
        ({}, [PLAIN[at : at + 1] for at in range(len(PLAIN))], ("200", OK)),
        ({"grpc_encoding": "gzip"}, [prefixed(gzip.compress(MESSAGE), 1)], ("200", OK)),
        ({"grpc_encoding": "gzip"}, [PLAIN], ("200", OK)),
        ({"grpc_encoding": "deflate"}, [FLATE], ("200", OK)),
        ({"grpc_encoding": "gzip"}, [FLATE], ("200", INVALID)),
        ({"grpc_encoding": "gzip"}, [prefixed(gzip.compress(bytes(1 << 20)), 1)], ("200", EXHAUSTED)),
        ({"grpc_encoding": "br"}, [FLATE], ("200", UNIMPLEMENTED)),
        ({"method": "GET"}, [], ("405", None)),
        ({"content_type": "text/plain"}, [], ("415", None)),
        ({"grpc_timeout": "1x"}, [], ("400", None)),
        ({"path": "/lossd.v1.LossService/Nothing"}, [], ("200", UNIMPLEMENTED)),
        ({"path": WATCH}, [prefixed(bytes(5000))], ("200", EXHAUSTED)),  # it is open to all
        ({}, [PLAIN, PLAIN], ("200", INVALID)),
        ({}, [PLAIN + PLAIN], ("200", INVALID)),
        ({}, [PLAIN[:-1]], ("200", INVALID)),
        ({}, [PLAIN[:3]], ("200", INVALID)),
        ({}, [b""], ("200", INVALID)),
    ],
)
def test_a_request_is_answered_as_grpc_says(fields: dict[str, str], pieces: list[bytes], expected: tuple[str, str | None]) -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            begin(client, **fields)
            client.send(*[DataFrame(1, piece) for piece in pieces], DataFrame(1, b"", flags=["END_STREAM"]))
            answer = await answer_of(client)
            assert (answer[":status"], answer.get("grpc-status")) == expected

    run(scenario, max_request_bytes=100_000)


def test_a_message_is_refused_by_its_prefix_and_takes_room_as_it_comes() -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as small, wire(harness) as large:
            begin(small)
            small.send(DataFrame(1, prefixed(bytes(1 << 20))[:5]))
            await wait_until(lambda: harness.admission.in_flight_bytes > INITIAL_WINDOW)
            assert harness.admission.in_flight_bytes < 2 * INITIAL_WINDOW
            small.send(DataFrame(1, bytes(INITIAL_WINDOW // 2 - 5)), DataFrame(1, bytes(5)))
            await wait_until(lambda: harness.admission.in_flight_bytes > 4 * INITIAL_WINDOW)
            assert harness.admission.in_flight_bytes < 5 * INITIAL_WINDOW
            begin(large)
            large.send(DataFrame(1, prefixed(bytes((1 << 20) + 1))[:5]))
            answer = await answer_of(large)
            assert (answer["grpc-status"], "1048577 bytes" in answer["grpc-message"]) == (EXHAUSTED, True)
            assert (await large.next(RstStreamFrame)).error_code == ErrorCode.NO_ERROR
            small.send(RstStreamFrame(1, error_code=8))
            await wait_until(lambda: harness.admission.in_flight_bytes == 0)

    run(scenario, max_request_bytes=1 << 20)


@pytest.mark.parametrize("sent", [b"", PLAIN[:3], PLAIN[:7], PLAIN], ids=["nothing", "half a prefix", "half a message", "all but the end"])
def test_a_request_that_does_not_come_ends_with_its_deadline(sent: bytes) -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            begin(client, grpc_timeout="1m")
            client.send(DataFrame(1, sent))
            assert (await answer_of(client))["grpc-status"] == DEADLINE

    run(scenario)


def test_answers_that_their_caller_does_not_take_count_as_in_flight() -> None:
    async def scenario(harness: Harness) -> None:
        _, message = encoded("mse_loss", input=[3.0] * 1000, target=[1.0] * 1000, reduction="none")
        async with wire(harness) as client:
            client.send(SettingsFrame(0, settings={INITIAL: 0}))
            begin(client)
            client.send(DataFrame(1, prefixed(message), flags=["END_STREAM"]))
            await client.next(HeadersFrame)
            assert 4000 < harness.admission.in_flight_bytes - OVERHEAD_BYTES < 8000
            client.send(SettingsFrame(0, settings={INITIAL: 1 << 16}))
            assert (await answer_of(client))["grpc-status"] == OK

    run(scenario)


WINDOW = INITIAL_WINDOW - 5  # for a message behind its prefix
ONE_MESSAGE = [[WINDOW - 1], [WINDOW], [WINDOW + 1], [WINDOW + 2], [4 * WINDOW], [300_000]]
MESSAGES = [*ONE_MESSAGE, [WINDOW + 1] * 4, [9, WINDOW]]


def unknown(size: int) -> bytes:
    """A message of this size with one unknown field."""
    length = size - 5
    return b"\xc2\x3e" + bytes((length & 127 | 128, length >> 7 & 127 | 128, length >> 14)) + bytes(length)


@pytest.mark.parametrize("frame_bytes", [1000, 1 << 14, 1 << 20])
@pytest.mark.parametrize(
    ("path", "sizes"),
    [*[(MSE, sizes) for sizes in ONE_MESSAGE], *[(path, sizes) for path in (SCORE_STREAM, EVALUATE) for sizes in MESSAGES]],
)
def test_the_end_of_a_request_may_come_alone(path: str, sizes: list[int], frame_bytes: int) -> None:
    """Clients hold it back while the window is 0."""

    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client, asyncio.timeout(10):
            begin(client, path=path)
            await client.upload(1, b"".join([prefixed(unknown(size)) for size in sizes]), frame_bytes)
            assert (await answer_of(client))["grpc-status"] == (INVALID if path == MSE else OK)

    run(scenario)


def test_a_stream_whose_transport_pauses_again_after_each_write_goes_on() -> None:
    async def scenario() -> None:
        peer = ready(1)
        connection = peer.connection

        async def serve(read: Any, write: Any, **_: Any) -> None:
            for number in range(3):
                await write(bytes([number]) * 10)

        method = Method("Serve", lambda *_: None, Admission(1 << 20).reserve, 1, open_to_all=True, stream=serve)
        head, stream = read_request_headers(()), peer.readers[1].stream
        connection.sending.paused = True
        stream.receiver = Streaming(SimpleNamespace(connection=connection), stream, method, head, "", Unpacker(), lambda: None, ended=True)
        while connection.streams:
            await asyncio.sleep(0)
            connection.sending.paused = False
            connection.resume()
            connection.take()
            connection.sending.paused = True

    asyncio.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize("calls_before", [0, 1], ids=["computed", "queued"])
@pytest.mark.parametrize("path", [MSE, SCORE_BATCH], ids=["unary", "batch"])
def test_a_request_ends_with_its_deadline_though_the_device_is_busy(monkeypatch: pytest.MonkeyPatch, path: str, calls_before: int) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        before = [asyncio.ensure_future(harness.losses.MseLoss(square(3).mse_loss)) for _ in range(calls_before)]
        await wait_until(lambda: harness.admission.in_flight_bytes > 0 or not before)
        message = MESSAGE if path == MSE else pb.ScoreBatchRequest(calls=[square(2)] * 3).SerializeToString()
        async with wire(harness) as client:
            begin(client, path=path, grpc_timeout="30m")
            client.send(DataFrame(1, prefixed(message), flags=["END_STREAM"]))
            assert (await answer_of(client))["grpc-status"] == DEADLINE
            assert harness.dispatcher.queued_calls == 0
        gate.open()
        assert [(await call).value for call in before] == [9.0] * calls_before

    run(scenario)
