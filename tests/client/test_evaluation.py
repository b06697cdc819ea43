# SPDX-License-Identifier: Apache-2.0
"""Evaluations: any split, any order of updates and merges and any interleaving of series gives the same statistics, to the bit."""

import asyncio
import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lossd
from lossd import Execution
from lossd.statistics import ExactSum, Totals
from samples.record import normal, rng
from support.fake_server import BATCH, UNARY, Fake, Refused, fake_server, outcome

doubles = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def shared() -> Iterator[Fake]:
    """A fake whose behaviour no test changes."""
    with fake_server() as made:
        yield made


def exact(numbers: list[float]) -> ExactSum:
    total = ExactSum()
    for number in numbers:
        total.add(number)
    return total


def bits(number: float) -> str:
    return "nan" if math.isnan(number) else float(number).hex()


# -- sums and totals


@given(st.lists(finite))
def test_a_sum_is_rounded_once(numbers: list[float]) -> None:
    total = sum(map(Fraction, numbers), Fraction(0))
    try:
        expected = float(total)
    except OverflowError:
        expected = math.inf if total > 0 else -math.inf
    assert exact(numbers).value == expected


@given(st.lists(doubles), st.randoms(use_true_random=False), st.data())
def test_a_sum_does_not_depend_on_order_or_on_how_it_is_merged(numbers: list[float], random: Any, data: st.DataObject) -> None:
    whole = exact(numbers)
    shuffled = random.sample(numbers, len(numbers))
    cut = data.draw(st.integers(0, len(numbers)))
    left, right = exact(shuffled[:cut]), exact(shuffled[cut:])
    left.merge(right)
    assert bits(left.value) == bits(whole.value)
    assert bits(pickle.loads(pickle.dumps(left)).value) == bits(whole.value)


@given(st.lists(doubles))
def test_a_sum_of_what_is_not_finite_is_ieee_754s(numbers: list[float]) -> None:
    if not all(map(math.isfinite, numbers)):
        assert bits(exact(numbers).value) == bits(sum([x for x in numbers if not math.isfinite(x)]))


results = st.builds(
    lossd.LossResult,
    value=st.just(0.0),
    sum=doubles,
    mean_numerator=doubles,
    mean_denominator=finite,
    element_count=st.integers(0, 9),
    ignored_count=st.integers(0, 9),
    execution=st.just(Execution(0.0, 0.0, 1, "cpu")),
)


def state(totals: Totals) -> list[Any]:
    numbers = [totals.sum, totals.mean_numerator, totals.mean_denominator, totals.value("mean"), totals.value("sum")]
    return [*map(bits, numbers), totals.element_count, totals.ignored_count, totals.call_count]


@given(st.lists(results, max_size=12), st.randoms(use_true_random=False), st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_totals_do_not_depend_on_order_or_on_how_they_are_merged(made: list[Any], random: Any, shard: list[int]) -> None:
    whole = Totals()
    for result in made:
        whole.add(result)
    shards = [Totals() for _ in range(4)]
    for index, result in enumerate(random.sample(made, len(made))):
        shards[shard[index]].add(result)
    random.shuffle(shards)
    merged = Totals()
    for one in shards:
        merged.merge(one)
    assert state(merged) == state(whole)


# -- evaluations


numbers32 = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5)


@given(st.lists(st.tuples(st.sampled_from("abc"), numbers32), max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_any_interleaving_and_any_merge_gives_the_same_results(shared: Fake, updates: list[tuple[str, list[float]]], random: Any) -> None:
    with lossd.Client(shared.address) as client:
        whole, first, second = client.evaluation(), client.evaluation(), client.evaluation()
        for series, row in updates:
            whole[series].mse_loss(np.float32(row), np.zeros(len(row), "f4"))
        for series, row in random.sample(updates, len(updates)):
            random.choice([first, second])[series].mse_loss(np.float32(row), np.zeros(len(row), "f4"))
        first.merge(random.choice([second, pickle.loads(pickle.dumps(second.state()))]))
        assert first.compute() == whole.compute()
        if updates:
            assert first.total() == whole.total()


def test_the_result_is_the_loss_over_everything(client: lossd.Client) -> None:
    logits, labels = normal(rng(3), 500, 10), torch.arange(500) % 10
    labels[::7] = -100
    weight = torch.rand(10) + 0.1
    evaluation = client.evaluation()
    for x, y in zip(logits.split([1, 99, 0, 150, 250]), labels.split([1, 99, 0, 150, 250]), strict=True):
        evaluation.cross_entropy(x, y, weight)
    whole = client.cross_entropy(logits, labels, weight, return_statistics=True)
    result = evaluation.compute()[""]
    assert result.value == pytest.approx(whole.value, rel=1e-12)
    assert result.mean_denominator == pytest.approx(whole.mean_denominator, rel=1e-12)
    assert (result.element_count, result.ignored_count, result.call_count) == (500, 72, 5)
    assert result.value == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels, weight)), rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
def test_values_follow_the_reduction(client: lossd.Client, reduction: Any) -> None:
    x, t = normal(rng(4), 60, 5).log_softmax(-1), normal(rng(5), 60, 5).softmax(-1)
    evaluation = client.evaluation()
    for start in range(0, 60, 20):
        evaluation.update("kl_div", x[start : start + 20], t[start : start + 20], reduction=reduction)
    assert evaluation.total().value == pytest.approx(client.kl_div(x, t, reduction), rel=1e-6)


def test_updates_travel_together(shared: Fake) -> None:
    before = len(shared.of(BATCH))
    with lossd.Client(shared.address) as client:
        evaluation = client.evaluation()
        for i in range(3000):
            evaluation[f"{i % 3}"].mse_loss(np.float32([i]), np.float32([0]))
        assert [result.call_count for result in evaluation.compute().values()] == [1000] * 3
    assert [len(message.calls) for message in shared.of(BATCH)[before:]] == [1024, 1024, 952]


def test_large_updates_are_scored_at_once_and_small_ones_are_copied(shared: Fake) -> None:
    with lossd.Client(shared.address) as client:
        evaluation, before = client.evaluation(), len(shared.of(UNARY))
        evaluation.mse_loss(np.full(300_000, 2, "f4"), np.zeros(300_000, "f4"))
        assert len(shared.of(UNARY)) == before + 1
        small = np.float32([5.0])
        evaluation["small"].mse_loss(small, np.float32([0.0]))
        small[:] = 7
        assert {name: result.value for name, result in evaluation.compute().items()} == {"": 4.0, "small": 25.0}


def test_an_update_that_is_wrong_says_which_and_counts_for_nothing(client: lossd.Client) -> None:
    evaluation = client.evaluation()
    evaluation.mse_loss([1.0], [3.0])
    evaluation["north"].mse_loss([1.0], [3.0, 4.0])
    with pytest.raises(lossd.InvalidArgumentError, match="target") as caught:
        evaluation.compute()
    assert caught.value.__notes__ == ["in an update of series 'north'; 1 of 2 updates sent together failed"]
    assert evaluation.compute()[""].value == 4.0


def test_what_a_dead_server_did_not_answer_is_sent_again(fake: Fake) -> None:
    refusing = [True]

    def on_call(call: Any) -> Any:
        if refusing:
            raise Refused(grpc.StatusCode.UNAVAILABLE)
        return outcome(call)

    fake.on_call = on_call
    with lossd.Client(fake.address, retry=False) as client:
        evaluation = client.evaluation()
        for i in range(5):
            evaluation.mse_loss([float(i)], [0.0])
        with pytest.raises(lossd.ConnectionFailedError):
            evaluation.compute()
        refusing.clear()
        assert evaluation.compute()[""].sum == 30.0


def test_a_series_has_one_loss_and_one_reduction(shared: Fake) -> None:
    with lossd.Client(shared.address) as client:
        evaluation = client.evaluation()
        evaluation.mse_loss([1.0], [3.0])
        with pytest.raises(ValueError, match=r"L1Loss \(mean\) cannot be merged with MseLoss \(mean\)"):
            evaluation.l1_loss([1.0], [3.0])
        with pytest.raises(ValueError, match=r"MseLoss \(sum\)"):
            evaluation.mse_loss([1.0], [3.0], "sum")
        with pytest.raises(ValueError, match="none"):
            evaluation["x"].mse_loss([1.0], [3.0], reduction="none")
        with pytest.raises(ValueError, match="timeout"):
            evaluation.mse_loss([1.0], [3.0], timeout=3)
        with pytest.raises(ValueError, match="there is no loss 'update'"):
            evaluation.update("update", [1.0])
        evaluation["other"].mse_loss([1.0], [3.0], "sum")
        with pytest.raises(ValueError, match="series 'other': "):
            evaluation.total()
        evaluation.reset()
        assert evaluation.compute() == {}
        with pytest.raises(ValueError, match="has no updates"):
            evaluation.total()


def test_results_of_ones_own_calls_can_be_added(shared: Fake) -> None:
    with lossd.Client(shared.address) as client:
        evaluation = client.evaluation()
        result = client.mse_loss([1.0, 2.0], [0.0, 0.0], return_statistics=True)
        evaluation.add(result)
        evaluation.mse_loss([3.0], [0.0])
        assert evaluation.total().value == pytest.approx(14 / 3)
        evaluation.add(replace(result, sum=0.0))
        assert evaluation.total().call_count == 3


def test_the_async_evaluation_gives_the_same_results(shared: Fake) -> None:
    rows = np.float32(np.random.default_rng(0).normal(size=(2500, 3)))

    async def main() -> dict[str, lossd.SeriesResult]:
        async with lossd.AsyncClient(shared.address) as client:
            evaluation, other = client.evaluation(), client.evaluation()
            await asyncio.gather(*[[evaluation, other][i % 2][f"{i % 3}"].mse_loss(row, row * 0) for i, row in enumerate(rows)])
            await evaluation.merge(await other.state())
            await evaluation.update("mse_loss", rows[0], rows[0])
            assert (await evaluation.total()).call_count == 2501
            return await evaluation.compute()

    with lossd.Client(shared.address) as client:
        evaluation = client.evaluation()
        for i, row in enumerate(rows):
            evaluation[f"{i % 3}"].mse_loss(row, row * 0)
        evaluation.mse_loss(rows[0], rows[0])
        assert asyncio.run(main()) == evaluation.compute()


@pytest.mark.parametrize("kind", [lossd.Client, lossd.AsyncClient])
def test_an_evaluation_is_a_collection_of_the_names_of_its_series(shared: Fake, kind: Any) -> None:
    made = kind(shared.address).evaluation()
    assert (list(made), len(made), "north" in made) == ([], 0, False)
    result = lossd.LossResult(1.0, 1.0, 1.0, 1.0, 1, 0, Execution(0.0, 0.0, 1, "cpu"))
    for series in ("south", "north", "south"):
        made.add(result, series=series)
    assert (list(made), len(made), "north" in made, 0 in made) == (["south", "north"], 2, True, False)
    asyncio.run(made._core.close()) if kind is lossd.AsyncClient else made._core.close()


@pytest.mark.parametrize("kind", [lossd.Client, lossd.AsyncClient])
@pytest.mark.parametrize("series", [0, None, torch.zeros(3), ("a", "b")], ids=lambda series: type(series).__name__)
def test_a_series_is_named_by_a_string(shared: Fake, kind: Any, series: Any) -> None:
    client = kind(shared.address)
    with pytest.raises(TypeError, match="a series is named by a str, not by"):
        client.evaluation()[series]
    result = lossd.LossResult(1.0, 1.0, 1.0, 1.0, 1, 0, Execution(0.0, 0.0, 1, "cpu"))
    with pytest.raises(TypeError, match="a series is named by a str, not by"):
        client.evaluation().add(result, series=series)
    asyncio.run(client.close()) if kind is lossd.AsyncClient else client.close()
