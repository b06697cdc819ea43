# SPDX-License-Identifier: Apache-2.0
"""Work in slices: who gets a step when, with a clock that only the steps move."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lossd_server.queue.time_slices import PARKED, TimeSlices, Work


class Steps:
    """Works whose steps take a millisecond each; a slice is 2 ms."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.slices = TimeSlices(2e-3, lambda: self.now)

    def work(self, name: str, steps: int) -> Work:
        for step in range(steps):
            self.now += 1e-3
            self.done.append(f"{name}{step}")
            yield None


def on_a_loop(scenario: Callable[[Steps], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(Steps())

    asyncio.run(main())


def test_short_work_is_done_before_start_returns() -> None:
    async def scenario(steps: Steps) -> None:
        steps.slices.start(steps.work("a", 1), "caller")
        assert steps.done == ["a0"]

    on_a_loop(scenario)


def test_long_work_lets_the_loop_run_after_each_slice() -> None:
    async def scenario(steps: Steps) -> None:
        steps.slices.start(steps.work("a", 7))
        seen = []
        while len(steps.done) < 7:
            seen.append(len(steps.done))
            await asyncio.sleep(0)
        assert seen == [2, 4, 6]

    on_a_loop(scenario)


def test_a_newcomer_takes_turns_with_long_work() -> None:
    async def scenario(steps: Steps) -> None:
        steps.slices.start(steps.work("a", 100), "flood")
        steps.slices.start(steps.work("b", 2), "other")  # the slice of this turn is used up
        assert steps.done == ["a0", "a1"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert steps.done == ["a0", "a1", "a2", "b0", "a3", "b1"]

    on_a_loop(scenario)


def test_callers_take_turns_regardless_of_how_much_work_each_has() -> None:
    async def scenario(steps: Steps) -> None:
        for index in range(10):
            steps.slices.start(steps.work(f"a{index}-", 10), "flood")
        steps.slices.start(steps.work("b", 4), "other")
        while "b3" not in steps.done:  # noqa: ASYNC110 - it is the turns of the loop that are counted
            await asyncio.sleep(0)
        assert len(steps.done) <= 2 + 2 * 4

    on_a_loop(scenario)


def test_parked_work_goes_on_when_it_is_resumed() -> None:
    async def scenario(steps: Steps) -> None:
        def work() -> Work:
            steps.done.append("before")
            yield PARKED
            steps.done.append("after")

        parked = work()
        steps.slices.start(parked)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert steps.done == ["before"]
        steps.slices.resume(parked)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert steps.done == ["before", "after"]

    on_a_loop(scenario)


def test_the_result_or_the_exception_of_work_reaches_the_task_that_awaits_it() -> None:
    async def scenario(steps: Steps) -> None:
        def returns() -> Work:
            yield from steps.work("a", 5)
            return 7  # type: ignore[return-value]

        def raises() -> Work:
            yield from steps.work("b", 5)
            raise ValueError("b")

        assert await steps.slices.finish(returns()) == 7
        with pytest.raises(ValueError, match="b"):
            await steps.slices.finish(raises())

    on_a_loop(scenario)


def test_work_ends_with_the_task_that_awaits_it() -> None:
    async def scenario(steps: Steps) -> None:
        task = asyncio.create_task(steps.slices.finish(steps.work("a", 100)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        done = len(steps.done)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(steps.done) == done < 100

    on_a_loop(scenario)


def test_work_that_raises_does_not_keep_others_from_going_on() -> None:
    async def scenario(steps: Steps) -> None:
        def raises() -> Work:
            yield from steps.work("a", 4)
            raise ValueError("a")

        steps.slices.start(raises(), "one")
        steps.slices.start(steps.work("b", 4), "other")
        while "b3" not in steps.done:  # noqa: ASYNC110 - it is the turns of the loop that are counted
            await asyncio.sleep(0)

    on_a_loop(scenario)
