# SPDX-License-Identifier: Apache-2.0
"""ScoreBatch through a live server: each call of a message succeeds or fails by itself, and the answers keep the order of the calls."""

import asyncio

import grpc
import numpy as np
import pytest

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server import errors
from lossd_server.requests import messages as parsing
from lossd_server.requests.messages import MAX_CALLS
from lossd_server.server import EVALUATION_SERVICE_NAME
from samples import SAMPLES
from support.harness import Harness, call, error_of, run, square, summary, wait_until, wrong


def test_a_mixed_batch_of_all_losses_with_every_third_call_invalid_is_answered_in_order_as_unary_calls_are() -> None:
    calls = []
    for index, loss in enumerate(SAMPLES.values()):
        if index % 3 == 2:
            calls.append(call(loss.name, **next(error for error in loss.errors if error.field).kwargs))
        else:
            calls.append(call(loss.name, **loss.samples[0].kwargs, reduction=loss.reductions[index % 3]))
    assert len(calls) == 23

    async def scenario(harness: Harness) -> None:
        together = await harness.batch(calls)
        alone = [await harness.unary(one) for one in calls]
        assert [outcome.WhichOneof("outcome") for outcome in together] == [
            "error" if index % 3 == 2 else "response" for index in range(len(calls))
        ]
        assert all(outcome.error.field_violations for outcome in together[2::3])
        assert list(map(summary, together)) == list(map(summary, alone))

    run(scenario)


def test_calls_of_a_message_share_a_batch() -> None:
    async def scenario(harness: Harness) -> None:
        together = await harness.batch([square(number) for number in range(10)])
        assert [outcome.response.value for outcome in together] == [number**2 for number in range(10)]
        assert {outcome.response.execution.calls_in_batch for outcome in together} == {10}
        assert await harness.batch([]) == []

    run(scenario)


def test_a_call_without_a_request_or_with_a_malformed_one_fails_alone() -> None:
    # A call whose request has a field 1 that is not a tensor, and one of a loss that does not exist.
    malformed = bytes([0x12, 3, 0x0A, 1, 0x0A])
    unknown = bytes([0xFA, 0x3F, 0])
    message = b"".join(bytes([0x0A, len(one)]) + one for one in (square(3).SerializeToString(), b"", malformed, unknown))

    async def scenario(harness: Harness) -> None:
        score = harness.channel.unary_unary(
            f"/{EVALUATION_SERVICE_NAME}/ScoreBatch", response_deserializer=pb.ScoreBatchResponse.FromString
        )
        good, *bad = (await score(message)).outcomes
        assert good.response.value == 9
        assert [(outcome.error.code, outcome.error.reason) for outcome in bad] == [
            (3, "TENSOR_MISSING"),
            (3, "MESSAGE_MALFORMED"),
            (3, "TENSOR_MISSING"),
        ]
        assert [outcome.error.field_violations[0].field for outcome in bad] == ["request", "", "request"]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await score(b"\x0a")
        assert error_of(raised.value).reason == "MESSAGE_MALFORMED"

    run(scenario)


@pytest.mark.parametrize("nbytes", [2 * MAX_CALLS + 2, 2 << 20], ids=["counted after parsing", "counted before"])
def test_a_message_of_more_calls_than_one_may_hold_is_refused(nbytes: int) -> None:
    async def scenario(harness: Harness) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await harness.channel.unary_unary(f"/{EVALUATION_SERVICE_NAME}/ScoreBatch")(b"\x0a\x00" * (nbytes // 2))
        error = error_of(raised.value)
        assert (error.code, error.reason) == (8, "TOO_MANY_CALLS")
        assert dict(error.metadata) == {"limit_calls": str(MAX_CALLS), "actual_calls": str(MAX_CALLS + 1)}

    run(scenario)


@pytest.mark.parametrize(
    "message",
    [b"\x0a\x00" * (1 << 20) + b"\x0b", b"\xff" * (2 << 20), b"\x0b" * (2 << 20), b"\x0a" + b"\xff" * (2 << 20)],
    ids=["group behind many", "endless number", "groups", "endless length"],
)
def test_counting_the_calls_of_a_large_message_ends(message: bytes) -> None:
    with pytest.raises((errors.MessageMalformed, errors.TooManyCalls, errors.TooManyFields)):
        list(parsing.split("ScoreBatchRequest", message))


def test_room_in_the_response_is_given_in_order_and_a_call_without_room_is_not_computed() -> None:
    def values(count: int) -> pb.LossCall:
        return call("mse_loss", input=np.ones(count, np.float32), target=np.zeros(count, np.float32), reduction="none")

    async def scenario(harness: Harness) -> None:
        answers = await harness.batch([values(1000), values(1000), square(2), values(1000), values(100), square(3)])
        assert [len(outcome.response.values.float32_values.values) for outcome in answers] == [1000, 1000, 0, 0, 100, 0]
        refused = answers[3].error
        assert (refused.code, refused.reason) == (8, "RESPONSE_TOO_LARGE")
        assert int(refused.metadata["limit_bytes"]) == 12_000 < int(refused.metadata["actual_bytes"])
        assert [answers[2].response.value, answers[5].response.value] == [4, 9]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await harness.batch([wrong()] * 200)
        assert error_of(raised.value).reason == "RESPONSE_TOO_LARGE"

    run(scenario, max_response_bytes=12_000)


def test_a_batch_is_not_computed_if_its_caller_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        first = asyncio.create_task(harness.batch([square(1)]))
        await gate.reached.wait()
        second = asyncio.create_task(harness.batch([square(2), square(3)]))
        await wait_until(lambda: harness.dispatcher.queued_calls == 2)
        second.cancel()
        await wait_until(lambda: harness.dispatcher.queued_calls == 0)
        gate.open()
        assert [outcome.response.value for outcome in await first] == [1]

    run(scenario)
