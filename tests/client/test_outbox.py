# SPDX-License-Identifier: Apache-2.0
"""What leaves the outbox of a shared stream when, and whom an answer is for."""

from typing import Any

import pytest

from lossd._calls import Encoded
from lossd._outbox import MESSAGE_BYTES, Outbox
from lossd.v1 import evaluation_service_pb2, regression_pb2, tensor_pb2
from lossd_server.requests.messages import MAX_CALLS
from support.fake_server import overloaded


def taken(outbox: Outbox[str], now: float = 0.0) -> Any:
    return evaluation_service_pb2.ScoreStreamRequest.FromString(outbox.take(now))


@pytest.fixture
def outbox() -> Outbox[str]:
    return Outbox()


CALL = Encoded("MseLoss", b"")


def answer(*ids: int) -> bytes:
    outcomes = [evaluation_service_pb2.StreamOutcome(id=i, outcome=overloaded(i)) for i in ids]
    return evaluation_service_pb2.ScoreStreamResponse(outcomes=outcomes).SerializeToString()


def test_whatever_waits_leaves_in_one_message(outbox: Outbox[str]) -> None:
    ids = [outbox.add(name, CALL, None) for name in "abc"]
    message = taken(outbox)
    assert [call.id for call in message.calls] == ids
    assert all(call.call.HasField("mse_loss") for call in message.calls)
    assert not outbox


def test_timeouts_are_counted_from_when_the_call_leaves(outbox: Outbox[str]) -> None:
    outbox.add("a", CALL, 10.0)
    outbox.add("b", CALL, 1.0)
    outbox.add("c", CALL, None)
    calls = taken(outbox, now=3.0).calls
    assert [call.timeout_seconds for call in calls[:2]] == [7.0, 0.0]
    assert not calls[2].HasField("timeout_seconds")


def test_a_message_is_closed_when_it_is_large_and_order_is_kept(outbox: Outbox[str]) -> None:
    target = regression_pb2.MseLossRequest(target=tensor_pb2.Tensor(float16_values=bytes(MESSAGE_BYTES // 2 - 100)))
    ids = [outbox.add("x", Encoded("MseLoss", target.SerializeToString()), None) for _ in range(5)]
    messages = [taken(outbox), taken(outbox), taken(outbox)]
    assert [[call.id for call in message.calls] for message in messages] == [ids[:2], ids[2:4], ids[4:]]
    assert not outbox


@pytest.mark.parametrize(("waiting", "messages"), [(33, [32, 1]), (400, [100, 75, 56, 42])])
def test_a_message_has_a_share_of_what_waits(outbox: Outbox[str], waiting: int, messages: list[int]) -> None:
    for _ in range(waiting):
        outbox.add("x", CALL, None)
    left = []
    while outbox:
        left.append(len(taken(outbox).calls))
    assert left == messages


def test_no_message_has_more_calls_or_cancellations_than_a_server_takes(outbox: Outbox[str]) -> None:
    small = Encoded("MseLoss", b"")
    ids = [outbox.add("x", small, None) for _ in range(4 * MAX_CALLS + 200)]
    left = [len(taken(outbox).calls) for _ in range(4)]
    assert 0 < max(left) <= MAX_CALLS
    for id_ in ids[: MAX_CALLS + 1]:
        outbox.cancel(id_)
    cancelled = []
    while outbox:
        message = taken(outbox)
        assert len(message.cancelled_ids) <= MAX_CALLS
        cancelled += message.cancelled_ids
    assert cancelled == ids[: MAX_CALLS + 1]


@pytest.mark.parametrize("settle", ["answer", "cancel"])
def test_calls_gather_while_four_messages_met_with_no_answer(outbox: Outbox[str], settle: str) -> None:
    ids = []
    for name in "abcd":
        ids.append(outbox.add(name, CALL, None))
        assert len(taken(outbox).calls) == 1
    later = [outbox.add(name, CALL, None) for name in "efg"]
    assert not outbox
    if settle == "answer":
        assert outbox.answer(answer(ids[2]))
    else:
        outbox.cancel(ids[2])
    assert outbox
    message = taken(outbox)
    assert [call.id for call in message.calls] == later
    assert list(message.cancelled_ids) == ([] if settle == "answer" else [ids[2]])
    outbox.add("h", CALL, None)
    assert not outbox
    outbox.cancel(later[0])
    assert len(taken(outbox).calls) == 1
    outbox.clear()
    outbox.add("i", CALL, None)
    assert outbox


def test_a_call_cancelled_before_it_left_never_leaves(outbox: Outbox[str]) -> None:
    outbox.cancel(outbox.add("a", CALL, None))
    assert not outbox


def test_a_call_cancelled_after_it_left_is_cancelled_at_the_server_and_its_answer_ignored(outbox: Outbox[str]) -> None:
    id_ = outbox.add("a", CALL, None)
    outbox.take(0.0)
    outbox.cancel(id_)
    assert list(taken(outbox).cancelled_ids) == [id_]
    assert outbox.answer(answer(id_)) == []
    assert not outbox


def test_answers_find_who_waits_in_any_order_and_once(outbox: Outbox[str]) -> None:
    a, b = outbox.add("a", CALL, None), outbox.add("b", CALL, None)
    outbox.take(0.0)
    assert [waiter for waiter, _ in outbox.answer(answer(b, a, a, 99))] == ["b", "a"]
    outbox.cancel(a)
    assert not outbox


def test_a_broken_stream_gives_up_what_left_and_what_waits(outbox: Outbox[str]) -> None:
    outbox.add("a", CALL, None)
    outbox.take(0.0)
    outbox.add("b", CALL, None)
    assert sorted(outbox.clear()) == ["a", "b"]
    assert not outbox


# -- the stream
