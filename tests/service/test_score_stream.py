# SPDX-License-Identifier: Apache-2.0
"""ScoreStream through a live server: ids, timeouts, cancellations; clients that stop reading, or are gone; and drains."""

import asyncio
import math
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.requests.messages import overhead_bytes
from lossd_server.server import EVALUATION_SERVICE_NAME
from lossd_server.service.score_stream import MAX_MESSAGE_BYTES
from lossd_server.service.streams import MAX_HELD_BYTES, MessageStream, Received
from support.harness import Harness, Session, call, error_of, reading, run, send, square, summary, wait_until, wrong


def test_every_call_of_a_stream_is_answered_under_its_id_and_messages_share_batches() -> None:
    async def scenario(harness: Harness) -> None:
        session = Session(harness.stub.ScoreStream())
        await session.send(*[(100 + number, square(number)) for number in range(50)], (7, wrong()))
        answers = dict([await session.next() for _ in range(51)])
        assert {id_: outcome.response.value for id_, outcome in answers.items() if id_ != 7} == {100 + n: n**2 for n in range(50)}
        assert answers[149].response.execution.calls_in_batch == 50
        assert summary(answers[7]) == summary(await harness.unary(wrong()))
        assert await session.end() == []

    run(scenario)


def test_outcomes_return_as_they_are_ready_and_not_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        session = Session(harness.stub.ScoreStream())
        await session.send((1, square(1)))
        await gate.reached.wait()
        await session.send((2, square(2)), (3, wrong()))
        assert (await session.next())[0] == 3
        gate.open()
        assert [(id_, outcome.response.value) for id_, outcome in [await session.next(), await session.next()]] == [(1, 1), (2, 4)]
        await session.end()

    run(scenario)


def test_a_cancelled_call_is_neither_computed_nor_answered_and_its_id_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        session = Session(harness.stub.ScoreStream())
        await session.send((1, square(1)), (2, square(2)))  # computed together
        await gate.reached.wait()
        await session.send((3, square(3)), (4, square(4)))
        await session.send((5, wrong()), cancel=[1, 3, 99])
        assert (await session.next())[0] == 5
        assert harness.dispatcher.queued_calls == 1
        await session.send((3, square(10)))
        gate.open()
        answers = {id_: outcome.response.value for id_, outcome in [await session.next() for _ in range(3)]}
        assert answers == {2: 4, 4: 16, 3: 100}
        assert await session.end() == []

    run(scenario)


def test_timeouts_of_calls_end_them_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        session = Session(harness.stub.ScoreStream(timeout=50))
        await session.send((1, square(1)))
        await gate.reached.wait()
        await session.send(
            (2, square(2), 0.01),
            (3, square(3), -1.0),
            (4, square(4), math.nan),
            (5, square(5), math.inf),
            (6, square(6), 0.0),
            (7, square(7), 1e300),
        )
        answers = dict([await session.next() for _ in range(4)])
        assert {id_: (outcome.error.code, outcome.error.reason) for id_, outcome in answers.items()} == {
            2: (4, "DEADLINE_EXPIRED_IN_QUEUE"),
            3: (4, "DEADLINE_EXPIRED_IN_QUEUE"),
            4: (3, "HYPERPARAMETER_OUT_OF_RANGE"),
            6: (4, "DEADLINE_EXPIRED_IN_QUEUE"),
        }
        assert answers[4].error.field_violations[0].field == "timeout_seconds"
        gate.open()
        assert sorted(await session.end()) == [1, 5, 7]

    run(scenario)


def test_the_streams_deadline_is_every_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        session = Session(harness.stub.ScoreStream(timeout=0.2))
        await session.send((1, square(1)), (2, square(2), 100.0))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await session.rpc.read()
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await wait_until(lambda: harness.open_streams == 0)
        gate.open()

    run(scenario)


def test_a_duplicate_id_fails_that_call_and_not_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        session = Session(harness.stub.ScoreStream())
        await session.send((1, square(1)), (1, square(2)))
        id_, outcome = await session.next()
        assert (id_, outcome.error.code, outcome.error.reason) == (1, 3, "ID_IN_USE")
        assert outcome.error.field_violations[0].field == "id"
        gate.open()
        id_, outcome = await session.next()
        assert (id_, outcome.response.value) == (1, 1)
        await session.send((1, square(3)))  # free again
        assert (await session.next())[1].response.value == 9
        await session.end()

    run(scenario)


def test_a_malformed_message_ends_the_stream() -> None:
    async def scenario(harness: Harness) -> None:
        rpc = harness.channel.stream_stream(f"/{EVALUATION_SERVICE_NAME}/ScoreStream")()
        await rpc.write(b"\x0a")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await rpc.read()
        assert error_of(raised.value).reason == "MESSAGE_MALFORMED"

    run(scenario)


def test_answers_too_large_to_share_a_message_come_in_several() -> None:
    count = MAX_MESSAGE_BYTES // 12  # three of them fill a message, nearly
    values = call("mse_loss", input=np.ones(count, np.float32), target=np.zeros(count, np.float32), reduction="none")

    async def scenario(harness: Harness) -> None:
        rpc = harness.stub.ScoreStream()
        await rpc.write(send(*[(id_, values) for id_ in range(7)]))
        await rpc.done_writing()
        sizes = []
        while (message := await rpc.read()) is not grpc.aio.EOF:
            sizes.append([outcome.id for outcome in message.outcomes])
        assert sizes == [[0, 1], [2, 3], [4, 5], [6]]

    run(scenario)


def test_calls_for_which_there_is_no_room_are_answered_and_the_stream_goes_on() -> None:
    async def scenario(harness: Harness) -> None:
        session = Session(harness.stub.ScoreStream())
        await wait_until(lambda: harness.open_streams == 1)
        with harness.admission.hold(1 << 20):
            await session.send((1, square(1)), (2, square(2)), (2, square(2)))
            answers = [await session.next() for _ in range(3)]
        assert sorted((id_, outcome.error.code, outcome.error.reason) for id_, outcome in answers) == [
            (1, 14, "IN_FLIGHT_FULL"),
            (2, 3, "ID_IN_USE"),
            (2, 14, "IN_FLIGHT_FULL"),
        ]
        assert answers[-1][1].error.retry_after_seconds > 0
        await session.send((1, square(1)))
        assert (await session.next())[1].response.value == 1
        await session.end()

    run(scenario, max_in_flight_bytes=1 << 20)


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


def test_the_service_is_known_to_health_checks_and_its_rpcs_are_counted() -> None:
    async def scenario(harness: Harness) -> None:
        await harness.batch([square(1)])
        await harness.stub.Evaluate(iter([pb.EvaluateRequest()]))
        await Session(harness.stub.ScoreStream()).end()
        health = health_pb2_grpc.HealthStub(harness.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(service=EVALUATION_SERVICE_NAME))).status == 1
        for kind, method in (("unary", "ScoreBatch"), ("bidi_stream", "ScoreStream"), ("client_stream", "Evaluate")):
            labels = {"grpc_type": kind, "grpc_service": EVALUATION_SERVICE_NAME, "grpc_method": method, "grpc_code": "OK"}
            assert harness.server._metrics.registry.get_sample_value("grpc_server_handled_total", labels) == 1

    run(scenario)
