# SPDX-License-Identifier: Apache-2.0
"""Batches: many calls in one message, their answers, errors, limits and timeouts."""

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
import torch

import lossd
import lossd.testing
from lossd._losses import LossMethods
from samples import SAMPLES
from samples.record import normal, rng
from support.fake_server import BATCH, UNARY, Fake, Refused, fake_server, outcome, overloaded, pair


def test_a_batch_is_one_message_and_answers_are_there_after_it(fake: Fake) -> None:
    with lossd.Client(fake.address) as client:
        with client.batch() as batch:
            answers = [batch.mse_loss(**pair(i)) for i in range(5)]
            statistics = batch.mse_loss(**pair(5), return_statistics=True)
            with pytest.raises(RuntimeError, match="was not sent"):
                answers[0].result()
            assert len(batch) == 6
        assert [answer.result() for answer in answers] == [0.0, 1.0, 4.0, 9.0, 16.0]
        assert statistics.result().element_count == 1
        with pytest.raises(RuntimeError, match="already sent"):
            batch.mse_loss(**pair(1))
    assert [len(message.calls) for message in fake.of(BATCH)] == [6]


def test_an_async_batch_is_the_same(fake: Fake) -> None:
    async def main() -> list[float]:
        async with lossd.AsyncClient(fake.address) as client:
            async with client.batch() as batch:
                answers = [batch.mse_loss(**pair(i)) for i in range(5)]
            return [answer.result() for answer in answers]

    assert asyncio.run(main()) == [0.0, 1.0, 4.0, 9.0, 16.0]
    assert [len(message.calls) for message in fake.of(BATCH)] == [5]


def test_an_empty_batch_sends_nothing(fake: Fake) -> None:
    with lossd.Client(fake.address) as client, client.batch():
        pass
    assert not fake.received


def test_a_batch_whose_body_raises_is_not_sent(fake: Fake) -> None:
    with lossd.Client(fake.address) as client:
        with pytest.raises(KeyError), client.batch() as batch:  # noqa: PT012
            answer = batch.mse_loss(**pair(1))
            raise KeyError
        with pytest.raises(RuntimeError, match="was not sent"):
            answer.result()
    assert not fake.received


def test_small_calls_are_copied_when_they_are_made(fake: Fake) -> None:
    array = np.ones(3, np.float32)
    with lossd.Client(fake.address) as client:
        with client.batch() as batch:
            answer = batch.mse_loss(array, np.zeros(3, np.float32))
            array[:] = 7
        assert answer.result() == 1.0


def test_a_long_batch_begins_to_leave_before_its_end(fake: Fake) -> None:
    with lossd.Client(fake.address) as client:
        with client.batch() as batch:
            answers = [batch.mse_loss(np.full(10_000, i, "f4"), np.zeros(10_000, "f4")) for i in range(20)]
            fake.wait_for(lambda: len(fake.received) > 0)
        assert [answer.result() for answer in answers] == [i * i for i in range(20)]
    assert sum(len(message.calls) for message in fake.of(BATCH)) == 20


def test_messages_of_a_batch_stay_below_the_limit(fake: Fake) -> None:
    with lossd.Client(fake.address, max_message_bytes=2_000) as client:
        with client.batch() as batch:
            answers = [batch.mse_loss(np.full(50, i, "f4"), np.zeros(50, "f4")) for i in range(20)]
        assert [answer.result() for answer in answers] == [i * i for i in range(20)]
    messages = fake.of(BATCH)
    assert len(messages) > 5
    assert all(message.ByteSize() <= 2_000 for message in messages)


def test_large_calls_of_a_batch_go_by_themselves_and_are_split(address: str, client: lossd.Client, fake: Fake) -> None:
    logits, labels = normal(rng(1), 30_000, 10), torch.arange(30_000) % 10
    with lossd.Client(address, max_message_bytes=500_000) as limited:
        with limited.batch() as batch:
            whole = batch.cross_entropy(logits, labels)
        assert whole.result() == pytest.approx(client.cross_entropy(logits, labels), rel=1e-12)


def test_calls_of_a_batch_that_found_the_queue_full_are_sent_again(fake: Fake) -> None:
    refusals = [overloaded(0.01)] * 3

    def on_call(call: Any) -> Any:
        return refusals.pop() if refusals else outcome(call)

    fake.on_call = on_call
    with lossd.Client(fake.address) as client:
        with client.batch() as batch:
            answers = [batch.mse_loss(**pair(i)) for i in range(4)]
        assert [answer.result() for answer in answers] == [0.0, 1.0, 4.0, 9.0]
    assert [len(message.calls) for message in fake.of(BATCH)] == [4, 3]


def test_calls_that_find_the_queue_full_again_and_again_are_overloaded(fake: Fake) -> None:
    fake.on_call = lambda call: overloaded(0.001)
    with lossd.Client(fake.address, timeout=0.5) as client:
        with client.batch() as batch:
            answer = batch.mse_loss(**pair(1))
        with pytest.raises(lossd.OverloadedError):
            answer.result()
    assert len(fake.of(BATCH)) > 2


def test_a_message_that_is_too_large_for_the_server_is_sent_in_halves(fake: Fake) -> None:
    def on_call(call: Any) -> Any:
        if len(fake.of(BATCH)[-1].calls) > 3:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED)
        return outcome(call)

    fake.on_call = on_call
    with lossd.Client(fake.address) as client:
        with client.batch() as batch:
            answers = [batch.mse_loss(**pair(i)) for i in range(7)]
        assert [answer.result() for answer in answers] == [i * i for i in range(7)]


def test_a_batch_for_which_there_is_no_server_fails_call_by_call() -> None:
    with fake_server() as gone:
        pass
    with lossd.Client(gone.address, timeout=0.3) as client:
        with client.batch() as batch:
            answers = [batch.mse_loss(**pair(i)) for i in range(2)]
        for answer in answers:
            with pytest.raises(lossd.ConnectionFailedError):
                answer.result()


def test_a_batch_has_one_timeout(fake: Fake) -> None:
    with lossd.Client(fake.address) as client:
        with client.batch(timeout=0.0) as batch:
            answer = batch.mse_loss(**pair(1))
        with pytest.raises(lossd.DeadlineError):
            answer.result()
        with client.batch() as batch, pytest.raises(ValueError, match="the batch has one"):
            batch.mse_loss(**pair(1, timeout=1.0))
    assert not fake.of(UNARY)


def test_a_batch_does_not_wait_for_a_server_that_asks_for_more_than_its_timeout(fake: Fake) -> None:
    fake.on_call = lambda call: overloaded(60.0)
    with lossd.Client(fake.address) as client:
        with client.batch(timeout=5.0) as batch:
            answer = batch.mse_loss(**pair(1))
        with pytest.raises(lossd.OverloadedError) as caught:
            answer.result()
    assert caught.value.retry_after_seconds == 60.0


def test_a_batch_has_every_loss() -> None:
    names = {name for name in dir(LossMethods) if not name.startswith("_")}
    assert names == set(SAMPLES)


def test_a_batch_has_its_clients_timeout(fake: Fake) -> None:
    fake.on_call = lambda call: overloaded(3.0)
    with lossd.Client(fake.address, timeout=2.0) as client:
        with client.batch() as batch:
            answer = batch.mse_loss(**pair(1))
        with pytest.raises(lossd.OverloadedError):
            answer.result()
