# SPDX-License-Identifier: Apache-2.0
"""The clients: what they export, one definition for both kinds, batches, errors, and life and death of a connection."""

import asyncio
import gc
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lossd
import lossd.testing
from lossd._errors import ErrorDetails
from samples import SAMPLES, ErrorInput
from support.arguments import argument
from support.fake_server import Fake, overloaded, pair

# -- the package


def test_what_is_exported_is_sorted_and_there() -> None:
    import lossd.cli

    for module in (lossd, lossd.testing):
        assert module.__all__ == sorted(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
    public = {name for name, value in vars(lossd).items() if not name.startswith("_") and not isinstance(value, type(sys))}
    assert public == set(lossd.__all__)


@pytest.mark.slow
def test_the_examples_of_every_form_of_call_have_the_types_that_they_assert() -> None:
    example = Path(__file__).parents[1] / "typing" / "api.py"
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", str(example)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# -- both kinds of clients


@pytest.mark.parametrize("coalesce", [False, True])
def test_an_async_client_has_every_loss_and_the_same_answers(address: str, client: lossd.Client, coalesce: bool) -> None:
    samples = [(loss.name, loss.samples[0].kwargs) for loss in SAMPLES.values()]

    async def main() -> list[float]:
        async with lossd.AsyncClient(address, coalesce=coalesce) as aclient:
            return await asyncio.gather(*[getattr(aclient, name)(**kwargs) for name, kwargs in samples])

    assert asyncio.run(main()) == [getattr(client, name)(**kwargs) for name, kwargs in samples]


def test_an_async_client_reports_the_server_and_its_errors(address: str, client: lossd.Client) -> None:
    async def main() -> None:
        async with lossd.AsyncClient(address) as aclient:
            await aclient.wait_until_ready(10)
            assert await aclient.server_info() == client.server_info()
            with pytest.raises(lossd.InvalidArgumentError) as caught:
                await aclient.mse_loss([1.0, 2.0], [1.0])
            assert caught.value.field_violations[0].field == "target"
            with pytest.raises(lossd.DeadlineError):
                await aclient.mse_loss([1.0], [1.0], timeout=0.0)

    asyncio.run(main())


def test_arguments_that_cannot_be_sent_are_refused_before_anything_is_awaited() -> None:
    aclient = lossd.AsyncClient("localhost:1")
    with pytest.raises(TypeError, match="input has dtype complex64"):
        aclient.mse_loss(torch.zeros(1, dtype=torch.complex64), [1.0])
    with pytest.raises(ValueError, match="reduction"):
        aclient.mse_loss([1.0], [1.0], reduction="average", return_statistics=True)
    asyncio.run(aclient.close())


def test_an_async_client_belongs_to_one_event_loop(address: str) -> None:
    aclient = lossd.AsyncClient(address)

    async def call() -> float:
        return await aclient.mse_loss([1.0], [3.0])

    with asyncio.Runner() as first:
        assert first.run(call()) == 4.0
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="another event loop"):
            second.run(call())
        first.run(aclient.close())


def test_a_cancelled_call_is_cancelled(address: str) -> None:
    async def main() -> None:
        async with lossd.AsyncClient(address) as aclient:
            task = asyncio.ensure_future(aclient.mse_loss([1.0], [3.0]))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


@pytest.mark.parametrize("make", [lossd.Client, lossd.AsyncClient])
def test_a_client_that_was_not_closed_warns(make: Callable[[str], Any]) -> None:
    clients = [make("localhost:1")]

    def drop() -> None:
        clients.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed"):
        drop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_client_refuses_to_be_used_after_a_fork(address: str) -> None:
    with lossd.Client(address, coalesce=True) as client:
        client._pid += 1
        with pytest.raises(RuntimeError, match="fork"):
            client.mse_loss([1.0], [1.0])


@pytest.mark.parametrize("coalesce", [False, True])
def test_every_use_of_a_closed_client_is_the_same_error(fake: Fake, coalesce: bool) -> None:
    client = lossd.Client(fake.address, coalesce=coalesce)
    evaluation = client.evaluation()
    client.close()

    def batch() -> Any:
        with client.batch() as made:
            answer = made.mse_loss(**pair(1))
        return answer.result()

    def evaluate() -> None:
        evaluation.mse_loss(**pair(1))
        evaluation.compute()

    for use in (lambda: client.mse_loss(**pair(1)), batch, evaluate, client.server_info, client.wait_until_ready):
        with pytest.raises(lossd.CallCancelledError, match="the client is closed"):
            use()
    assert not fake.received


def test_every_use_of_a_closed_async_client_is_the_same_error(fake: Fake) -> None:
    async def main() -> None:
        used, unused = lossd.AsyncClient(fake.address), lossd.AsyncClient(fake.address)
        await used.mse_loss(**pair(1))
        for client in (used, unused):
            await client.close()
            for use in (lambda client=client: client.mse_loss(**pair(1)), client.server_info, client.wait_until_ready):
                with pytest.raises(lossd.CallCancelledError, match="the client is closed"):
                    await use()

    asyncio.run(main())


def test_errors_can_be_pickled() -> None:
    error = lossd.TooLargeError(ErrorDetails("RESOURCE_EXHAUSTED", "too large", "REQUEST_TOO_LARGE", metadata={"limit_bytes": "5"}))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.limit_bytes) == (str(error), 5)


# -- batches


def test_an_evaluation_has_its_clients_timeout(fake: Fake) -> None:
    fake.on_call = lambda call: overloaded(3.0)
    with lossd.Client(fake.address, timeout=2.0) as client:
        evaluation = client.evaluation()
        evaluation.mse_loss(**pair(1))
        with pytest.raises(lossd.OverloadedError):
            evaluation.compute()


# -- many calls of every loss, and errors among them


def _mixed() -> list[tuple[str, dict[str, Any], str, ErrorInput | None]]:
    """(loss, arguments, reduction, how it must fail): every loss in every reduction, and every third call is wrong."""
    calls: list[tuple[str, dict[str, Any], str, ErrorInput | None]] = []
    wrong = itertools.cycle([(loss.name, error) for loss in SAMPLES.values() for error in loss.errors[:2] if error.field])
    for reduction in ("mean", "none", "sum"):
        for loss in SAMPLES.values():
            if len(calls) % 3 == 2:
                name, error = next(wrong)
                calls.append((name, error.kwargs, "mean", error))
            calls.append((loss.name, loss.samples[0].kwargs, reduction, None))
    return calls


def _check_mixed(client: lossd.Client, outcomes: Sequence[Any]) -> None:
    for (name, kwargs, reduction, error), got in zip(_mixed(), outcomes, strict=True):
        if error is None:
            np.testing.assert_array_equal(got, getattr(client, name)(**kwargs, reduction=reduction))
        else:
            with pytest.raises(lossd.InvalidArgumentError) as alone:
                getattr(client, name)(**kwargs)
            assert (type(got), got.details) == (lossd.InvalidArgumentError, alone.value.details)
            assert got.field_violations[0].field == argument(name, error.field)


def test_a_mixed_batch_keeps_order_values_and_errors(client: lossd.Client) -> None:
    with client.batch() as batch:
        answers = [getattr(batch, name)(**kwargs, reduction=reduction) for name, kwargs, reduction, _ in _mixed()]

    def settled(answer: lossd.Pending[Any]) -> Any:
        try:
            return answer.result()
        except lossd.LossdError as error:
            return error

    _check_mixed(client, [settled(answer) for answer in answers])


def test_mixed_calls_on_one_stream_keep_their_values_and_errors(address: str, client: lossd.Client) -> None:
    async def main() -> list[Any]:
        async with lossd.AsyncClient(address, coalesce=True) as aclient:
            calls = [getattr(aclient, name)(**kwargs, reduction=reduction) for name, kwargs, reduction, _ in _mixed()]
            return await asyncio.gather(*calls, return_exceptions=True)

    _check_mixed(client, asyncio.run(main()))


# -- the server inside the process


def test_a_server_for_tests_ignores_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSD_MAX_REQUEST_BYTES", "1")
    with lossd.testing.client() as client:
        assert client.mse_loss([1.0], [2.0]) == 1.0


def test_a_server_for_tests_says_why_it_did_not_start() -> None:
    with pytest.raises(ValueError, match="abacus"), lossd.testing.server(device="abacus"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("coalesce", [False, True])
def test_a_client_survives_a_restart_of_its_server(coalesce: bool) -> None:
    with lossd.testing.server() as address:
        client = lossd.Client(address, coalesce=coalesce)
        assert client.mse_loss([1.0], [2.0]) == 1.0
    with client:
        with pytest.raises(lossd.ConnectionFailedError):
            client.mse_loss([1.0], [2.0], timeout=0.5)
        with lossd.testing.server(listen=address):
            client.wait_until_ready(10)
            assert client.mse_loss([1.0], [3.0]) == 4.0
