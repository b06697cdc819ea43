# SPDX-License-Identifier: Apache-2.0
"""How hosts share the event loop."""

import asyncio
from collections.abc import Callable, Coroutine

from lossd_server.http2.turns import SLICE_SECONDS, Turns


class World:
    """A clock that only work moves, and work of some duration for a host: again and again, or once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns = Turns(lambda: self.now)
        self.done: list[str] = []

    def left(self, host: str) -> float:
        return self.turns.left_seconds(host, self.now)

    def work(self, name: str, seconds: float, *, times: int = 1) -> Callable[[], None]:
        host = name[0]

        def go_on() -> None:
            nonlocal times
            since = self.now
            self.now += seconds
            times -= 1
            self.done.append(name)
            self.turns.spend(host, since)
            if times:
                self.turns.wait(host, go_on)

        return go_on


def run(scenario: Callable[[World], Coroutine[object, object, None]]) -> None:
    async def main() -> None:
        await scenario(World())

    asyncio.run(main())


def test_the_connections_of_a_host_share_a_slice_and_take_turns() -> None:
    async def scenario(world: World) -> None:
        for name in ("a1", "a2", "a3"):
            world.turns.wait("a", world.work(name, SLICE_SECONDS / 2, times=2))
        await asyncio.sleep(0)
        assert world.done == ["a1", "a2"]
        await asyncio.sleep(0)
        assert world.done == ["a1", "a2", "a3", "a1"]
        await asyncio.sleep(0)
        assert world.done == ["a1", "a2", "a3", "a1", "a2", "a3"]

    run(scenario)


def test_a_host_without_time_left_has_some_again_in_the_next_turn() -> None:
    async def scenario(world: World) -> None:
        assert world.left("a") == SLICE_SECONDS
        world.work("a1", SLICE_SECONDS)()
        world.turns.wait("b", world.work("b1", 0.0))
        assert world.left("b") == SLICE_SECONDS
        assert world.left("a") == 0
        await asyncio.sleep(0)
        assert world.left("a") == SLICE_SECONDS / 2  # two hosts were busy
        world.now += 4 * SLICE_SECONDS
        assert world.left("a") == SLICE_SECONDS

    run(scenario)


def test_busy_hosts_share_one_slice() -> None:
    async def scenario(world: World) -> None:
        for host in "abcd":
            for number in range(3):
                world.turns.wait(host, world.work(f"{host}{number}", SLICE_SECONDS / 4, times=9))
        for _ in range(5):
            began = world.now
            await asyncio.sleep(0)
            assert world.now - began <= SLICE_SECONDS * 1.01
        assert {host: sum(name[0] == host for name in world.done) for host in "abcd"} == dict.fromkeys("abcd", 5)

    run(scenario)


def test_a_connection_that_raises_does_not_stop_those_that_wait() -> None:
    async def scenario(world: World) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

        def fail() -> None:
            raise ZeroDivisionError

        world.turns.wait("a", fail)
        world.turns.wait("b", world.work("b1", 0.0))
        for _ in range(3):
            await asyncio.sleep(0)
        assert world.done == ["b1"]
        world.turns.wait("a", world.work("a1", 0.0))
        await asyncio.sleep(0)
        assert world.done == ["b1", "a1"]

    run(scenario)
