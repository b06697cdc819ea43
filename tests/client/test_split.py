# SPDX-License-Identifier: Apache-2.0
"""Requests above the message limit: cut along the batch, merged exactly, and refused in words where that cannot be."""

import asyncio
import dataclasses
import inspect
import itertools
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lossd
import lossd.testing
from lossd import _split
from lossd._codec import Request
from lossd._core import run
from lossd._losses import LossMethods
from lossd.v1 import loss_service_pb2
from samples import SAMPLES, LossSamples, Sizes
from samples.record import normal, rng
from support.fake_server import fake_server, score_of

SIZES = Sizes(batch=st.integers(2, 6), width=st.integers(1, 5), inner=st.sampled_from([(), (1,), (3,)]))


class Requests(LossMethods[Request, Request, Request]):
    """The requests that a client would send."""

    def _call(self, request: Request, return_statistics: bool) -> Any:
        return request


def request_of(loss: str, kwargs: dict[str, Any], reduction: str = "mean") -> Request:
    made: Request = getattr(Requests(), loss)(**kwargs, reduction=reduction)
    return made


def result_of(client: lossd.Client, request: Request) -> lossd.LossResult:
    result: lossd.LossResult = run(client._score(request, True))
    return result


def in_parts(client: lossd.Client, request: Request, parts: int) -> lossd.LossResult:
    """Cut, scored and merged; the first part, where it still has several rows, by being cut again."""
    first, *others = _split.cut(request, parts)
    try:
        result = in_parts(client, first, 2)
    except lossd.TooLargeError:  # a single row
        result = result_of(client, first)
    return _split.merge(request, [result, *(result_of(client, part) for part in others)])


# A matrix product rounds a row differently in another number of rows.
PRODUCTS = ("AdaptiveLogSoftmaxWithLoss", "LinearCrossEntropyLoss")


def same(whole: lossd.LossResult, merged: lossd.LossResult, request: Request) -> None:
    rtol = 1e-5 if request.rpc in PRODUCTS else 1e-12
    for name in ("value", "sum", "mean_numerator", "mean_denominator"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=rtol, atol=1e-300, err_msg=name)
    if request.reduction == "none" and request.rpc not in PRODUCTS:
        np.testing.assert_array_equal(whole.value, merged.value)
    assert (merged.element_count, merged.ignored_count) == (whole.element_count, whole.ignored_count)


def test_every_loss_has_a_rule_and_every_field_of_a_rule_exists() -> None:
    service = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"]
    messages = {method.name: method.input_type for method in service.methods if method.name != "GetServerInfo"}
    assert set(_split.RULES) == set(messages)
    for rpc, rule in _split.RULES.items():
        assert rule.lead in rule.fields
        assert set(rule.fields) <= set(messages[rpc].fields_by_name)


@pytest.mark.parametrize("loss", SAMPLES.values(), ids=SAMPLES)
def test_the_parts_of_a_sample_merge_to_the_whole(client: lossd.Client, loss: LossSamples) -> None:
    reductions = itertools.cycle(loss.reductions)
    splittable = [sample for sample in loss.samples if _splittable(request_of(loss.name, sample.kwargs))]
    assert splittable
    for sample in splittable:
        request = request_of(loss.name, sample.kwargs, next(reductions))
        same(result_of(client, request), in_parts(client, request, 3), request)


def _splittable(request: Request) -> bool:
    try:
        return bool(_split.cut(request, 2))
    except lossd.TooLargeError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("loss", SAMPLES.values(), ids=SAMPLES)
@given(data=st.data())
@settings(max_examples=40)
def test_any_parts_of_any_call_merge_to_the_whole(client: lossd.Client, loss: LossSamples, data: st.DataObject) -> None:
    reduction = data.draw(st.sampled_from(loss.reductions))
    request = request_of(loss.name, data.draw(loss.cases(SIZES)), reduction)
    assume(_splittable(request))
    same(result_of(client, request), in_parts(client, request, data.draw(st.integers(2, 7))), request)


def _rows(rows: int, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return normal(rng(1), rows, classes), torch.arange(rows) % classes


CROSS_ENTROPY = Request("CrossEntropyLoss", {}, "mean")


@pytest.mark.parametrize("coalesce", [False, True])
def test_a_call_above_the_clients_limit_is_split(address: str, client: lossd.Client, coalesce: bool) -> None:
    logits, labels = _rows(1000)
    weight = torch.rand(10)
    with lossd.Client(address, max_message_bytes=8_000, coalesce=coalesce) as small:
        got = small.cross_entropy(logits, labels, weight, return_statistics=True)
        same(client.cross_entropy(logits, labels, weight, return_statistics=True), got, CROSS_ENTROPY)
        values = small.cross_entropy(logits, labels, reduction="none")
    np.testing.assert_array_equal(values, client.cross_entropy(logits, labels, reduction="none"))


def test_an_async_client_splits_too(address: str, client: lossd.Client) -> None:
    logits, labels = _rows(1000)

    async def main() -> float:
        async with lossd.AsyncClient(address, max_message_bytes=8_000) as small:
            return await small.cross_entropy(logits, labels)

    assert asyncio.run(main()) == pytest.approx(client.cross_entropy(logits, labels), rel=1e-12)


@pytest.mark.parametrize(
    ("limits", "reduction"),
    [
        ({"max_request_bytes": 9_000}, "mean"),  # refused by gRPC, or by the server
        ({"max_request_bytes": 40_000}, "mean"),
        ({"max_response_bytes": 1_000}, "none"),
        ({"max_workspace_bytes": 20_000}, "mean"),
        ({"max_operations": 3_000}, "sum"),
    ],
    ids=str,
)
def test_a_call_above_a_limit_of_the_server_is_split(client: lossd.Client, limits: dict[str, int], reduction: str) -> None:
    logits, labels = _rows(1000)
    with lossd.testing.server(**limits) as address, lossd.Client(address) as limited:
        got = limited.cross_entropy(logits, labels, reduction=reduction, return_statistics=True)
        again = limited.cross_entropy(logits, labels, reduction=reduction, return_statistics=True)
    whole = client.cross_entropy(logits, labels, reduction=reduction, return_statistics=True)
    request = dataclasses.replace(CROSS_ENTROPY, reduction=reduction)
    same(whole, got, request)
    same(whole, again, request)


def test_kl_divergence_over_a_leading_extent_of_one_divides_by_it(address: str, client: lossd.Client) -> None:
    x = normal(rng(2), 1, 600).log_softmax(-1)
    with lossd.Client(address, max_message_bytes=2_000) as small:
        assert small.kl_div(x, x.exp() * 2, "batchmean") == pytest.approx(client.kl_div(x, x.exp() * 2, "batchmean"), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda c: c.cross_entropy(np.zeros(1000, "f4"), 3), "has no batch dimension"),
        (lambda c: c.cross_entropy(np.zeros((3, 1000), "f4"), np.zeros(3, int)), "single row"),
        (lambda c: c.mse_loss(np.zeros((), "f8"), np.zeros((), "f8")), None),
        (lambda c: c.linear_cross_entropy(np.zeros((3, 8), "f4"), np.zeros((900, 8), "f4"), np.zeros(3, int)), "linear_weight"),
        (lambda c: c.ctc_loss(np.zeros((100, 20), "f4"), np.ones(3, int), 100, 3), "has no batch dimension"),
    ],
)
def test_what_cannot_be_split_says_why(address: str, call: Any, why: str | None) -> None:
    with lossd.Client(address, max_message_bytes=2_000) as small:
        if why is None:
            assert call(small) == 0.0
            return
        with pytest.raises(lossd.TooLargeError, match=why) as caught:
            call(small)
        assert caught.value.reason == "REQUEST_TOO_LARGE"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of all RPCs that blocking clients make."""
    methods: list[str] = []
    unary = lossd.Client._unary

    async def counted(self: lossd.Client, method: str, message: bytes, timeout: float | None) -> bytes:
        methods.append(method)
        return await unary(self, method, message, timeout)

    monkeypatch.setattr(lossd.Client, "_unary", counted)
    return methods


def test_what_goes_with_every_part_above_the_servers_limit_is_one_refusal(sent: list[str]) -> None:
    input, weight, target = np.zeros((64, 64), "f4"), np.zeros((800, 64), "f4"), np.zeros(64, int)
    with (
        lossd.testing.server(max_request_bytes=100_000) as address,
        lossd.Client(address) as client,
        pytest.raises(lossd.TooLargeError, match=r"linear_weight of about 20\d{4} bytes must go with every part"),
    ):
        client.linear_cross_entropy(input, weight, target)
    assert len(sent) <= 2


def test_what_goes_with_every_part_above_another_limit_of_the_server_is_told_from_two_refusals(sent: list[str]) -> None:
    input, weight, target = np.zeros((64, 64), "f8"), np.zeros((800, 64), "f4"), np.zeros(64, int)
    with (
        lossd.testing.server(max_workspace_bytes=100_000) as address,
        lossd.Client(address) as client,
        pytest.raises(lossd.TooLargeError, match="what goes with every part is above the limit by itself"),
    ):
        client.linear_cross_entropy(input, weight, target)
    assert len(sent) <= 3


@pytest.mark.parametrize(
    ("limits", "reduction", "parts"),
    [
        ({"max_request_bytes": 9_000}, "mean", 6),
        ({"max_response_bytes": 500}, "none", 8),
        ({"max_workspace_bytes": 30_000}, "mean", 6),
        ({"max_operations": 1_500}, "sum", 7),
    ],
    ids=str,
)
def test_a_call_makes_few_more_rpcs_than_it_has_parts(sent: list[str], limits: dict[str, int], reduction: str, parts: int) -> None:
    logits, labels = _rows(1000)
    with lossd.testing.server(**limits) as address, lossd.Client(address) as client:
        client.cross_entropy(logits, labels, reduction=reduction)
    assert parts <= len(sent) <= 2 * parts


def test_parts_share_the_deadline_of_their_call() -> None:
    def slow(message: Any) -> Any:
        time.sleep(0.1)
        return score_of(message)

    with fake_server() as fake, lossd.Client(fake.address, max_message_bytes=1_000) as client:
        fake.on_unary = slow
        with pytest.raises(lossd.DeadlineError):
            client.mse_loss(np.zeros(20_000, "f4"), np.zeros(20_000, "f4"), timeout=0.5)


def test_splitting_can_be_switched_off(address: str) -> None:
    logits, labels = _rows(1000)
    with lossd.Client(address, max_message_bytes=2_000, split=False) as small, pytest.raises(lossd.TooLargeError) as caught:
        small.cross_entropy(logits, labels)
    assert caught.value.limit_bytes == 2_000


def test_parts_have_their_share_of_the_timeout(address: str) -> None:
    logits, labels = _rows(1000)
    with lossd.Client(address, max_message_bytes=2_000) as small, pytest.raises(lossd.DeadlineError):
        small.cross_entropy(logits, labels, timeout=1e-6)


def test_every_loss_method_is_a_loss() -> None:
    names = {name for name, _ in inspect.getmembers(LossMethods, inspect.isfunction) if not name.startswith("_")}
    assert names == set(SAMPLES)
