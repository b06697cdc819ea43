# SPDX-License-Identifier: Apache-2.0
"""coalesce=True: calls of threads and tasks share a stream, and each is as if it were alone."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

import lossd
from lossd._outbox import MESSAGE_CALLS
from support.fake_server import STREAM, UNARY, Fake, Refused, fake_server, overloaded, pair, score_of

Outcome = float | BaseException
Score = Callable[..., list[Outcome]]


def _threads(address: str, calls: list[dict[str, Any]]) -> list[Outcome]:
    def score(client: lossd.Client, kwargs: dict[str, Any]) -> Outcome:
        try:
            return client.mse_loss(**kwargs)
        except lossd.LossdError as error:
            return error

    with lossd.Client(address, coalesce=True) as client, ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda kwargs: score(client, kwargs), calls))


def _tasks(address: str, calls: list[dict[str, Any]]) -> list[Outcome]:
    async def main() -> list[Outcome]:
        async with lossd.AsyncClient(address, coalesce=True) as client:
            return await asyncio.gather(*[client.mse_loss(**kwargs) for kwargs in calls], return_exceptions=True)

    return asyncio.run(main())


@pytest.fixture(params=[_threads, _tasks], ids=["threads", "tasks"])
def score(request: pytest.FixtureRequest) -> Score:
    """(address, calls) -> the outcomes of mse_loss calls that are made at the same time by one client."""
    return request.param  # type: ignore[no-any-return]


# -- the outbox


def test_a_lone_call_is_one_message(fake: Fake, score: Score) -> None:
    assert score(fake.address, [pair(3)]) == [9.0]
    (message,) = fake.of(STREAM)
    assert len(message.calls) == 1
    assert 29 < message.calls[0].timeout_seconds <= 30


def test_calls_made_at_the_same_time_get_their_own_answers(fake: Fake, score: Score) -> None:
    assert score(fake.address, [pair(i) for i in range(50)]) == [float(i * i) for i in range(50)]
    assert sum(len(message.calls) for message in fake.of(STREAM)) == 50
    assert not fake.of(UNARY)


def test_tasks_that_call_in_one_turn_of_the_loop_share_a_message(fake: Fake) -> None:
    _tasks(fake.address, [pair(i) for i in range(MESSAGE_CALLS)])
    assert [len(message.calls) for message in fake.of(STREAM)] == [MESSAGE_CALLS]


def test_a_large_call_goes_by_itself(fake: Fake, score: Score) -> None:
    large = {"input": [[2.0] * 1000] * 100, "target": [[0.0] * 1000] * 100}
    assert score(fake.address, [large]) == [4.0]
    assert len(fake.of(UNARY)) == 1
    assert not fake.of(STREAM)


def test_a_cancelled_task_is_cancelled_at_the_server(fake: Fake) -> None:
    fake.on_stream = lambda message: False

    async def main() -> None:
        async with lossd.AsyncClient(fake.address, coalesce=True) as client:
            task = asyncio.ensure_future(client.mse_loss(**pair(3)))
            await asyncio.to_thread(fake.wait_for, lambda: len(fake.received) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(fake.wait_for, lambda: len(fake.received) == 2)

    asyncio.run(main())
    first, second = fake.of(STREAM)
    assert list(second.cancelled_ids) == [first.calls[0].id]


def test_a_call_that_times_out_fails_alone_and_both_sides_know_when(fake: Fake, score: Score) -> None:
    fake.skipped = lambda call: call.call.mse_loss.input.float32_values.values[0] == 1
    error, answered = score(fake.address, [pair(1, timeout=0.05), pair(2)])
    assert isinstance(error, lossd.DeadlineError)
    assert answered == 4.0
    calls = [call for message in fake.of(STREAM) for call in message.calls]
    assert 0 < min(call.timeout_seconds for call in calls) <= 0.05


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL])
def test_calls_of_a_broken_stream_are_made_again_by_themselves(fake: Fake, score: Score, code: grpc.StatusCode) -> None:
    def broken(message: Any) -> bool:
        raise Refused(code)

    fake.on_stream = broken
    assert score(fake.address, [pair(i) for i in range(8)]) == [float(i * i) for i in range(8)]
    assert len(fake.of(UNARY)) == 8


def test_calls_of_a_broken_stream_fail_as_calls_by_themselves_do(fake: Fake, score: Score) -> None:
    def broken(message: Any) -> Any:
        raise Refused(grpc.StatusCode.PERMISSION_DENIED)

    fake.on_stream = fake.on_unary = broken
    (error,) = score(fake.address, [pair(1)])
    assert isinstance(error, lossd.AuthenticationError)


def test_a_stream_that_the_server_ends_is_opened_again(fake: Fake) -> None:
    ended = []

    def once(message: Any) -> bool:
        if not ended:
            ended.append(True)
            raise Refused(grpc.StatusCode.UNAVAILABLE)
        return True

    fake.on_stream = once
    with lossd.Client(fake.address, coalesce=True) as client:
        assert [client.mse_loss(**pair(i)) for i in range(3)] == [0.0, 1.0, 4.0]
    assert len(fake.of(UNARY)) == 1
    assert len(fake.of(STREAM)) == 3


def test_a_call_that_found_the_queue_full_is_made_again_when_the_server_said(fake: Fake, score: Score) -> None:
    fake.on_call = lambda call: overloaded(0.08)
    begun = time.monotonic()
    assert score(fake.address, [pair(3)]) == [9.0]
    assert time.monotonic() - begun >= 0.08
    assert len(fake.of(UNARY)) == 1


def test_a_call_does_not_wait_for_the_server_beyond_its_timeout(fake: Fake, score: Score) -> None:
    fake.on_call = lambda call: overloaded(60.0)
    begun = time.monotonic()
    (error,) = score(fake.address, [pair(3)])
    assert isinstance(error, lossd.OverloadedError)
    assert time.monotonic() - begun < 5


def test_pushback_of_a_unary_call_is_honoured(fake: Fake) -> None:
    refusals = [Refused(grpc.StatusCode.UNAVAILABLE, pushback_ms=120)]

    def on_unary(message: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return score_of(message)

    fake.on_unary = on_unary
    begun = time.monotonic()
    with lossd.Client(fake.address) as client:
        assert client.mse_loss(**pair(3)) == 9.0
    assert time.monotonic() - begun >= 0.12


def test_closing_a_client_fails_the_calls_of_its_threads(fake: Fake) -> None:
    fake.on_stream = lambda message: False
    client = lossd.Client(fake.address, coalesce=True)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(client.mse_loss, **pair(i)) for i in range(2)]
        fake.wait_for(lambda: sum(len(message.calls) for _, message in fake.received) == 2)
        client.close()
        for call in calls:
            assert isinstance(call.exception(10), lossd.CallCancelledError)
    with pytest.raises(lossd.CallCancelledError):
        client.mse_loss(**pair(1))


@pytest.mark.parametrize("coalesce", [False, True])
def test_closing_a_client_fails_the_calls_of_its_tasks(fake: Fake, coalesce: bool) -> None:
    release = threading.Event()
    fake.on_stream = lambda message: False
    fake.on_unary = lambda message: release.wait(10)

    async def main() -> None:
        client = lossd.AsyncClient(fake.address, coalesce=coalesce)
        calls = [asyncio.ensure_future(client.mse_loss(**pair(i))) for i in range(2)]
        await asyncio.to_thread(fake.wait_for, lambda: len(fake.received) >= (1 if coalesce else 2))
        await client.close()
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, lossd.CallCancelledError)
        with pytest.raises(lossd.CallCancelledError):
            await client.mse_loss(**pair(1))

    try:
        asyncio.run(main())
    finally:
        release.set()


@pytest.mark.parametrize("coalesce", [False, True])
def test_a_server_that_is_not_there_is_a_failed_connection(coalesce: bool) -> None:
    with fake_server() as gone:
        pass
    with lossd.Client(gone.address, coalesce=coalesce, retry=False) as client, pytest.raises(lossd.ConnectionFailedError):
        client.mse_loss(**pair(1))
