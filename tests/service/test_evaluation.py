# SPDX-License-Identifier: Apache-2.0
"""Evaluate through a live server: the statistics of each series do not depend on the order or the split of its calls."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossd.v1 import evaluation_service_pb2 as pb
from lossd.v1 import evaluation_service_pb2_grpc as pb_grpc
from lossd.v1 import options_pb2
from lossd_server import errors
from lossd_server.call import Statistics
from lossd_server.requests.messages import overhead_bytes
from lossd_server.service import evaluate as evaluate_module
from lossd_server.service.streams import MAX_HELD_BYTES, Received
from support.harness import Harness, call, error_of, evaluate_request, run, square, wait_until, wrong


async def evaluated(harness: Harness, *messages: pb.EvaluateRequest) -> list[pb.SeriesResult]:
    return list((await harness.stub.Evaluate(iter(messages))).series)


def test_an_evaluation_without_calls_and_a_series_of_empty_batches() -> None:
    async def scenario(harness: Harness) -> None:
        assert await evaluated(harness) == []
        assert await evaluated(harness, evaluate_request()) == []
        empty = call("mse_loss", input=[], target=[])
        (result,) = await evaluated(harness, evaluate_request(("empty", empty)), evaluate_request(("empty", empty)))
        assert math.isnan(result.value)
        assert (result.statistics.element_count, result.call_count) == (0, 2)
        (result,) = await evaluated(harness, evaluate_request(("s", call("mse_loss", input=[], target=[], reduction="sum"))))
        assert result.value == 0

    run(scenario)


def test_each_series_has_its_loss_and_reduction() -> None:
    rng = np.random.default_rng(1)
    logits, labels, weight = rng.standard_normal((30, 4)), rng.integers(0, 4, 30), rng.random(4)
    logs = np.log(rng.dirichlet(np.ones(4), 30))

    async def scenario(harness: Harness) -> None:
        def parts(name: str, loss: str, *arrays: Any, **options: Any) -> list[tuple[str, pb.LossCall]]:
            names = ("input", "target")
            return [
                (name, call(loss, **{n: a[s] for n, a in zip(names, arrays, strict=True)}, **options)) for s in (slice(0, 7), slice(7, 30))
            ]

        calls = [
            *parts("weighted", "cross_entropy", logits, labels, weight=weight),
            *parts("summed", "cross_entropy", logits, labels, reduction="sum"),
            *parts("", "kl_div", logs, np.exp(logs[::-1]), reduction="batchmean"),
        ]
        results = await evaluated(harness, evaluate_request(*calls[::2]), evaluate_request(*calls[1::2]))
        assert [result.series for result in results] == ["weighted", "summed", ""]
        assert [result.call_count for result in results] == [2, 2, 2]
        whole = await harness.batch(
            [
                call("cross_entropy", input=logits, target=labels, weight=weight),
                call("cross_entropy", input=logits, target=labels, reduction="sum"),
                call("kl_div", input=logs, target=np.exp(logs[::-1]), reduction="batchmean"),
            ]
        )
        for result, outcome in zip(results, whole, strict=True):
            assert result.value == pytest.approx(outcome.response.value, rel=1e-14)
            assert result.statistics.sum == pytest.approx(outcome.response.statistics.sum, rel=1e-14)
            assert result.statistics.element_count == outcome.response.statistics.element_count

    run(scenario)


@pytest.mark.parametrize(
    ("messages", "code", "reason", "field", "message_index"),
    [
        ([[("", square(1))], [("", square(1)), ("", wrong())]], 3, "SHAPE_MISMATCH", "calls[1].target", "1"),
        ([[("", pb.LossCall())]], 3, "TENSOR_MISSING", "calls[0].request", "0"),
        ([[("", square(1, reduction="none"))]], 3, "REDUCTION_UNSUPPORTED", "calls[0].reduction", "0"),
        ([[("x" * 257, square(1))]], 3, "VALUE_OUT_OF_RANGE", "calls[0].series", "0"),
        ([[("\u00e9" * 128, square(1)), ("\u00e9" * 129, square(1))]], 3, "VALUE_OUT_OF_RANGE", "calls[1].series", "0"),
        (
            [[("a", square(1)), ("b", square(1, reduction="sum")), ("a", square(1, reduction="sum"))]],
            3,
            "SERIES_CONFLICT",
            "calls[2].series",
            "0",
        ),
        ([[("a", square(1))], [("a", call("l1_loss", input=[1.0], target=[1.0]))]], 3, "SERIES_CONFLICT", "calls[0].series", "1"),
        ([[(name, square(1)) for name in "abcd"]], 8, "TOO_MANY_SERIES", None, "0"),
    ],
    ids=["wrong call", "empty call", "no reduction", "long name", "long name in bytes", "two reductions", "two losses", "too many series"],
)
def test_the_first_bad_call_ends_an_evaluation_with_its_error(
    messages: Any, code: int, reason: str, field: str | None, message_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "MAX_SERIES", 3)

    async def scenario(harness: Harness) -> None:
        rpc = harness.stub.Evaluate()
        for calls in messages:
            await rpc.write(evaluate_request(*calls))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await rpc  # which is not at its end: the error comes at once
        error = error_of(raised.value)
        assert (error.code, error.reason, error.metadata["message_index"]) == (code, reason, message_index)
        assert [violation.field for violation in error.field_violations] == ([] if field is None else [field])

    run(scenario)


def test_an_evaluation_waits_while_the_queue_or_the_server_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = 0

    async def scenario(harness: Harness) -> None:
        nonlocal refused
        gate = harness.gate(monkeypatch)
        gate.open()
        waited = asyncio.Event()
        monkeypatch.setattr(evaluate_module, "_RETRY_SECONDS", 0.0)
        check = harness.admission._check

        def watched(nbytes: int, caller: str) -> None:
            try:
                check(nbytes, caller)
            except errors.InFlightFull as error:
                error.retry_after_seconds = 0.0
                waited.set()
                raise

        harness.admission._check = watched  # type: ignore[method-assign]
        rpc = harness.stub.Evaluate()
        await wait_until(lambda: harness.open_streams == 1)
        with harness.admission.hold(1 << 20):
            await rpc.write(evaluate_request(*[("", square(number)) for number in range(20)]))
            await waited.wait()
        await rpc.done_writing()
        (result,) = (await rpc).series
        assert result.statistics.sum == sum(number**2 for number in range(20))
        assert result.call_count == 20

    run(scenario, max_in_flight_bytes=1 << 20, max_queue_bytes=5000)


def test_memory_is_flat_over_a_long_evaluation() -> None:
    """On bytes, with a client that always has another message."""
    values = np.ones(10_000, np.float32)
    message = evaluate_request(("a", call("mse_loss", input=values, target=0 * values)), ("b", square(2))).SerializeToString()
    left, most = 2000, 0  # 160 MB

    async def scenario(harness: Harness) -> None:
        async def read() -> Received | None:
            nonlocal left, most
            most = max(most, harness.held_bytes)
            left -= 1
            return Received(message, harness.admission.hold(0)) if left >= 0 else None

        response = pb.EvaluateResponse.FromString(await harness.evaluation.evaluate(read))
        assert [(result.value, result.call_count) for result in response.series] == [(1, 2000), (4, 2000)]
        assert response.series[0].statistics.element_count == 20_000_000
        assert most < MAX_HELD_BYTES + len(message) + overhead_bytes(2)

    run(scenario)


@pytest.fixture(scope="module")
def stub(address: str) -> Iterator[Any]:
    with grpc.insecure_channel(address) as channel:
        yield pb_grpc.EvaluationServiceStub(channel)


NAMES = ("all", "north", "\u00e5")


def bits(result: pb.SeriesResult) -> tuple[Any, ...]:
    s = result.statistics
    numbers = (result.value, s.sum, s.mean_numerator, s.mean_denominator)
    return (*[number.hex() for number in numbers], s.element_count, s.ignored_count)


def evaluate(stub: Any, calls: Sequence[tuple[str, pb.LossCall]], per_message: Sequence[int]) -> dict[str, tuple[Any, ...]]:
    """The result of each series, of calls in messages of so many calls (the last number goes on)."""
    messages, start = [], 0
    sizes = iter(per_message)
    size = 1
    while start < len(calls):
        size = next(sizes, size)
        messages.append(evaluate_request(*calls[start : start + size]))
        start += size
    return {result.series: bits(result) for result in stub.Evaluate(iter(messages), timeout=30).series}


@settings(max_examples=25)
@given(data=st.data())
def test_any_split_order_and_interleaving_gives_the_same_statistics(stub: Any, data: st.DataObject) -> None:
    """Inputs are small multiples of 1/8, so that no sum is rounded and only a mistake could make a difference."""
    wanted, calls = {}, []
    for name in data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        eighths = data.draw(st.lists(st.integers(-80, 80), max_size=12))
        values = np.array(eighths, np.float32) / 8
        reduction = data.draw(st.sampled_from(("mean", "sum")))
        total = float((values.astype(np.float64) ** 2).sum())
        value = total if reduction == "sum" else total / len(values) if len(values) else math.nan
        wanted[name] = (value.hex(), total.hex(), total.hex(), float(len(values)).hex(), len(values), 0)
        borders = [0, *sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5))), len(values)]
        for start, end in pairwise(borders):
            calls.append((name, call("mse_loss", input=values[start:end], target=0 * values[start:end], reduction=reduction)))
    calls = data.draw(st.permutations(calls))
    per_message = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    assert evaluate(stub, calls, per_message) == wanted


@settings(max_examples=15)
@given(data=st.data())
def test_the_order_of_mini_batches_does_not_change_a_bit(stub: Any, data: st.DataObject) -> None:
    """Numbers of any magnitude: a server that rounds in between gets another result."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    calls = []
    for name in NAMES:
        for _ in range(8):
            values = rng.standard_normal(rng.integers(1, 9)) * 10.0 ** rng.integers(-12, 12)
            calls.append((name, call("l1_loss", input=values, target=0 * values)))
    wanted = evaluate(stub, calls, [100])
    for name in NAMES:
        alone = evaluate(stub, [one for one in calls if one[0] == name], [1])
        assert alone == {name: wanted[name]}
    for _ in range(3):
        shuffled = data.draw(st.permutations(calls))
        assert evaluate(stub, shuffled, data.draw(st.lists(st.integers(1, 9), min_size=1))) == wanted


def test_sums_of_a_series_are_rounded_once() -> None:
    made = evaluate_module.Series("L1Loss", options_pb2.REDUCTION_MEAN)
    for number in (1e100, 1.0, -1e100):
        made.totals.add(Statistics(number, number, 1.0, 1, 0))
    assert (made.totals.sum, made.totals.value("mean"), made.totals.call_count) == (1.0, 1 / 3, 3)
