# SPDX-License-Identifier: Apache-2.0
"""ScoreStream if the client stops reading or disappears, and if the server drains."""

import asyncio
import gc
from collections import Counter
from typing import Any

import grpc
import numpy as np
import pytest

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.admission import OVERHEAD_BYTES
from lossd_server.requests.messages import overhead_bytes
from lossd_server.service.streams import MAX_HELD_BYTES, MessageStream, Received
from support.harness import Harness, Session, call, error_of, reading, run, send, square, wait_until


def test_a_stream_whose_client_stops_reading_is_not_read_any_further() -> None:
    """On bytes: a client that always has another message, and takes one answer and then no more."""
    message = send(*[(id_, square(id_)) for id_ in range(100)])
    received = 0
    first_written = asyncio.Event()

    async def scenario(harness: Harness) -> None:
        async def read() -> Received:
            nonlocal received
            received += 1
            for stream_call in message.calls:
                stream_call.id += 100
            await asyncio.sleep(0)
            return Received(message.SerializeToString(), harness.admission.hold(0))

        class Output:
            full = False
            on_drained = staticmethod(lambda: None)

            def send(self, _: bytes) -> None:
                first_written.set()
                self.full = True

        stream = asyncio.create_task(harness.evaluation.score_stream(read, Output()))  # type: ignore[arg-type]
        await first_written.wait()
        for _ in range(1000):
            await asyncio.sleep(0)
        nbytes = len(message.SerializeToString()) + overhead_bytes(100)
        assert MAX_HELD_BYTES <= harness.held_bytes <= MAX_HELD_BYTES + nbytes
        assert received <= MAX_HELD_BYTES // nbytes + 2
        stalled_at = received
        for _ in range(1000):
            await asyncio.sleep(0)
        assert received == stalled_at
        stream.cancel()
        await asyncio.wait([stream])

    run(scenario)


def test_flow_control_stops_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros(50_000, np.float32)
    message = send((0, call("mse_loss", input=values, target=values, reduction="none")))
    held: list[int] = []

    async def scenario(harness: Harness) -> None:
        stopped = asyncio.Event()
        add = MessageStream._add

        def watched(stream: MessageStream, batch: Any, nbytes: int) -> None:
            add(stream, batch, nbytes)
            held.append(stream.held_bytes)
            if stream.held_bytes >= MAX_HELD_BYTES:
                stopped.set()

        monkeypatch.setattr(MessageStream, "_add", watched)
        rpc = harness.stub.ScoreStream()

        async def send_all() -> None:
            for id_ in range(1000):  # 400 MB
                message.calls[0].id = id_
                await rpc.write(message)

        sender = asyncio.create_task(send_all())
        await stopped.wait()
        assert not sender.done()
        sender.cancel()
        await asyncio.wait([sender])
        rpc.cancel()
        await wait_until(lambda: harness.open_streams == 0)
        assert max(held) < MAX_HELD_BYTES + 1_000_000

    run(scenario)


def test_a_client_that_disappears_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        session = Session(harness.stub.ScoreStream())
        await session.send((0, square(0)))
        await gate.reached.wait()
        for number in range(1, 20):
            await session.send((number, square(number), 1000.0), (100 + number, square(number)))
        await wait_until(lambda: harness.dispatcher.queued_calls == 38)
        evaluate = harness.stub.Evaluate()
        await evaluate.write(pb.EvaluateRequest(calls=[pb.SeriesCall(call=square(1))]))
        await wait_until(lambda: harness.dispatcher.queued_calls == 39)
        session.rpc.cancel()
        evaluate.cancel()
        await wait_until(lambda: harness.open_streams == 0)
        assert harness.dispatcher.queued_calls == 0
        assert harness.held_bytes == 0
        await wait_until(lambda: not reading())
        gate.open()

    run(scenario)


def test_a_message_without_room_is_released_with_a_stream_whose_client_takes_no_answer() -> None:
    """On bytes: the refusals of the only message wait for the client when the stream ends."""

    async def scenario(harness: Harness) -> None:
        message = send(*[(id_, square(id_)) for id_ in range(100)]).SerializeToString()
        others = harness.admission.reserve(harness.admission._shares.total - 2 * OVERHEAD_BYTES, "others")
        arrived = asyncio.Event()

        async def read() -> Received:
            if arrived.is_set():
                await asyncio.Event().wait()
            arrived.set()
            return Received(message, harness.admission.hold(0))

        class Output:
            full = True
            on_drained = staticmethod(lambda: None)

        stream = asyncio.create_task(harness.evaluation.score_stream(read, Output()))  # type: ignore[arg-type]
        await arrived.wait()
        await wait_until(lambda: harness.held_bytes > len(message))
        stream.cancel()
        await asyncio.wait([stream])
        assert stream.cancelled()
        others.release()
        assert harness.admission.in_flight_bytes == 0

    run(scenario)


def test_streams_that_end_leave_no_cycles_for_the_garbage_collector() -> None:
    """A full collection stops the event loop, the longer the more objects there are."""

    async def scenario(harness: Harness) -> None:
        async def open_and_cancel() -> None:
            sessions = [Session(harness.stub.ScoreStream()) for _ in range(20)]
            for session in sessions:
                await session.send((1, square(1)))
                await session.next()
            await wait_until(lambda: harness.open_streams == 20)
            for session in sessions:
                session.rpc.cancel()
            await wait_until(lambda: harness.open_streams == 0)

        await open_and_cancel()
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await open_and_cancel()
            gc.collect()
            ours = Counter(type(garbage).__name__ for garbage in gc.garbage if type(garbage).__module__.startswith("lossd_server"))
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert not ours

    run(scenario)


def test_draining_answers_new_calls_completes_accepted_ones_and_ends_the_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        session, idle, evaluation = Session(harness.stub.ScoreStream()), harness.stub.ScoreStream(), harness.stub.Evaluate()
        await wait_until(lambda: harness.open_streams == 3)
        await session.send((1, square(1)))
        await gate.reached.wait()
        stopping = asyncio.create_task(harness.server.stop())
        for rpc in (idle.read(), evaluation):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await rpc
            error = error_of(raised.value)
            assert (error.code, error.reason) == (14, "SHUTTING_DOWN")
        await session.send((2, square(2)))
        id_, outcome = await session.next()
        assert (id_, outcome.error.code, outcome.error.reason) == (2, 14, "SHUTTING_DOWN")
        gate.open()
        assert [(id_, outcome.response.value) for id_, outcome in [await session.next()]] == [(1, 1)]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await session.rpc.read()
        assert error_of(raised.value).reason == "SHUTTING_DOWN"
        await stopping

    run(scenario)
