# SPDX-License-Identifier: Apache-2.0
"""What the clients try again, how long, and what they say when it does not help."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import lossd
import lossd.testing
from support.fake_server import UNARY, Fake, Refused, fake_server, score_of
from support.server_process import serving

RETRIED = grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=lambda code: code.name)
def test_only_what_was_not_computed_is_tried_again(fake: Fake, code: grpc.StatusCode) -> None:
    refusals = [Refused(code)]

    def refuse_once(message: object) -> object:
        if refusals:
            raise refusals.pop()
        return score_of(message)

    fake.on_unary = refuse_once
    with lossd.Client(fake.address) as client:
        if code is RETRIED:
            assert client.mse_loss([3.0], [1.0]) == 4.0
        else:
            with pytest.raises(lossd.LossdError) as error:
                client.mse_loss([3.0], [1.0])
            assert error.value.code == code.name
    assert len(fake.of(UNARY)) == (2 if code is RETRIED else 1)


def refusing(pushback_ms: int | None = None) -> Callable[[object], object]:
    def refuse(message: object) -> object:
        raise Refused(RETRIED, pushback_ms)

    return refuse


def test_a_call_is_tried_again_until_its_deadline(fake: Fake) -> None:
    fake.on_unary = refusing(pushback_ms=1)
    with lossd.Client(fake.address) as client, pytest.raises(lossd.ConnectionFailedError):
        client.mse_loss([3.0], [1.0], timeout=2.0)
    assert 4 < len(fake.of(UNARY)) < 20


@pytest.mark.parametrize("pushback_ms", [60_000, -1])
def test_a_call_whose_server_asks_for_more_time_than_it_has_fails_at_once(fake: Fake, pushback_ms: int) -> None:
    fake.on_unary = refusing(pushback_ms)
    with lossd.Client(fake.address, timeout=None if pushback_ms < 0 else 30.0) as client, pytest.raises(lossd.ConnectionFailedError):
        client.mse_loss([3.0], [1.0])
    assert len(fake.of(UNARY)) == 1


def test_retries_can_be_switched_off(fake: Fake) -> None:
    fake.on_unary = refusing()
    with lossd.Client(fake.address, retry=False) as client, pytest.raises(lossd.ConnectionFailedError):
        client.mse_loss([3.0], [1.0])
    assert len(fake.of(UNARY)) == 1


def test_closing_a_client_ends_the_pause_of_its_calls(fake: Fake) -> None:
    fake.on_unary = refusing(pushback_ms=20_000)
    client = lossd.Client(fake.address)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.mse_loss, [3.0], [1.0])
        fake.wait_for(lambda: len(fake.received) == 1)
        client.close()
        assert isinstance(call.exception(10), lossd.CallCancelledError)


@pytest.mark.parametrize("coalesce", [False, True], ids=["unary", "coalesce"])
def test_a_call_waits_for_a_server_that_is_not_there_yet(coalesce: bool) -> None:
    with fake_server() as gone:
        pass
    with lossd.Client(gone.address, coalesce=coalesce) as client, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.mse_loss, [3.0], [1.0])
        with pytest.raises(TimeoutError):
            call.result(0.3)
        with lossd.testing.server(listen=gone.address):
            assert call.result(20) == 4.0


# -- a server that dies while its clients call


class Fates:
    """What became of calls, before the death of the server and after."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.counts: Counter[str] = Counter()

    def note(self, fate: str) -> None:
        with self._changed:
            self.counts[fate] += 1
            self._changed.notify_all()

    def wait_for(self, fate: str, more: int) -> None:
        with self._changed:
            wanted = self.counts[fate] + more
            assert self._changed.wait_for(lambda: self.counts[fate] >= wanted, 60), self.counts


def call_in_threads(address: str, coalesce: bool, fates: Fates, stopped: threading.Event) -> None:
    def work(number: int) -> None:
        while not stopped.is_set():
            try:
                fates.note("right" if client.mse_loss([float(number)], [0.0]) == number**2 else "wrong")
            except lossd.LossdError as error:
                fates.note(type(error).__name__)

    with lossd.Client(address, coalesce=coalesce) as client:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def call_in_tasks(address: str, coalesce: bool, fates: Fates, stopped: threading.Event) -> None:
    async def main() -> None:
        async def work(number: int) -> None:
            while not stopped.is_set():
                try:
                    fates.note("right" if await client.mse_loss([float(number)], [0.0]) == number**2 else "wrong")
                except lossd.LossdError as error:
                    fates.note(type(error).__name__)

        async with lossd.AsyncClient(address, coalesce=coalesce) as client:
            await asyncio.gather(*[work(number) for number in range(8)])

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("coalesce", [False, True], ids=["unary", "coalesce"])
@pytest.mark.parametrize("calls", [call_in_threads, call_in_tasks])
def test_a_run_loses_no_call_when_its_server_is_killed_and_started_again(
    calls: Callable[[str, bool, Fates, threading.Event], None], coalesce: bool
) -> None:
    fates, stopped = Fates(), threading.Event()
    with serving() as (process, address):
        run = threading.Thread(target=calls, args=(address, coalesce, fates, stopped))
        run.start()
        try:
            fates.wait_for("right", 50)
            process.kill()
            process.wait()
            before = fates.counts.total()
            time.sleep(1.0)  # longer than any pause between attempts; the server that follows takes seconds to start
            assert fates.counts.total() < before + 8  # all wait
            with serving(address):
                fates.wait_for("right", 50)
                stopped.set()
                run.join()
        finally:
            stopped.set()
            run.join()
    assert set(fates.counts) == {"right"}
