# SPDX-License-Identifier: Apache-2.0
"""ScoreStream through a live server: ids, timeouts, cancellations, and errors of single calls."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.call import Outcome
from lossd_server.server import EVALUATION_SERVICE_NAME
from lossd_server.service import score_stream
from lossd_server.service.score_stream import MAX_MESSAGE_BYTES
from support.harness import Harness, Session, call, error_of, run, send, square, summary, wait_until, wrong


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


def test_the_deadline_of_the_stream_applies_to_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_ids_in_use_are_answered_in_time_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """16,384 of them in one step took 130 ms, in which nobody else was served."""
    turn, answers_of_turn = 0, Counter[int]()
    answer = score_stream._Calls.answer

    def counted(calls: Any, indices: Sequence[int], outcome: Outcome) -> None:
        answers_of_turn[turn] += len(indices)
        answer(calls, indices, outcome)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def scenario(harness: Harness) -> None:
        harness.gate(monkeypatch)
        harness.dispatcher.slices._slice_seconds = 0.0
        session = Session(harness.stub.ScoreStream())
        await session.send(*[(id_, square(2)) for id_ in range(1000)])
        await wait_until(lambda: harness.dispatcher.queued_calls > 0)
        monkeypatch.setattr(score_stream._Calls, "answer", counted)
        counting = asyncio.create_task(count_turns())
        await session.send(*[(id_, square(3)) for id_ in range(1000)])
        outcomes = [await session.next() for _ in range(1000)]
        counting.cancel()
        assert {outcome.error.reason for _, outcome in outcomes} == {"ID_IN_USE"}
        assert max(answers_of_turn.values()) <= 64
        session.rpc.cancel()

    run(scenario)
