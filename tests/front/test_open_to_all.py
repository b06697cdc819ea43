# SPDX-License-Identifier: Apache-2.0
"""RPCs that every caller may use (health checks and watches) have a small budget of their own."""

import pytest
from grpc_health.v1 import health_pb2
from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame

from lossd_server.admission import OVERHEAD_BYTES
from lossd_server.shares import Shares
from support.encoded_requests import encoded
from support.grpc_wire import (
    CHECK,
    MSE,
    OK,
    UNAVAILABLE,
    WATCH,
    answer_of,
    begin,
    prefixed,
)
from support.harness import Harness, run, wait_until
from support.http2_peer import INITIAL
from support.raw_connection import wire

UNREDUCED = encoded("mse_loss", input=[3.0] * 1000, target=[1.0] * 1000, reduction="none")[1]


@pytest.mark.parametrize(
    ("path", "sent", "ended"),
    [(WATCH, prefixed(b""), True), (CHECK, b"\0", False), (CHECK, prefixed(b""), True), (WATCH, b"\0", False)],
    ids=["watches", "checks that do not come", "checks whose answers nobody takes", "watches that do not come"],
)
def test_rpcs_that_are_open_to_all_are_bounded_and_take_nothing_from_others(path: str, sent: bytes, ended: bool) -> None:
    async def scenario(harness: Harness) -> None:
        budget = harness.server._listener._front._open_to_all
        budget._shares = Shares(100 * OVERHEAD_BYTES)
        async with wire(harness) as client, wire(harness) as other:
            client.send(SettingsFrame(0, settings={INITIAL: 0}))
            for number in range(60):
                begin(client, stream=2 * number + 1, path=path)
                client.send(DataFrame(2 * number + 1, sent, flags=["END_STREAM"] if ended else []))
            refused = 0
            while refused < 10:
                answer = await answer_of(client)
                assert (answer["grpc-status"], "grpc-retry-pushback-ms" in answer) == (UNAVAILABLE, True)
                refused += 1
            assert 49 * OVERHEAD_BYTES <= budget.in_flight_bytes < 51 * OVERHEAD_BYTES  # some may be answered, and count a little more
            assert harness.admission.in_flight_bytes == 0
            with harness.admission.hold(1 << 40):
                begin(other, path=MSE)
                other.send(DataFrame(1, prefixed(UNREDUCED), flags=["END_STREAM"]))
                assert (await answer_of(other))["grpc-status"] == UNAVAILABLE
        await wait_until(lambda: budget.in_flight_bytes == 0)

    run(scenario)


def test_health_checks_are_answered_even_if_the_server_is_full() -> None:
    async def scenario(harness: Harness) -> None:
        with harness.admission.hold(1 << 40):
            async with wire(harness) as client:
                begin(client, path=CHECK)
                client.send(DataFrame(1, prefixed(b""), flags=["END_STREAM"]))
                assert (await answer_of(client))["grpc-status"] == OK

    run(scenario)


def test_a_change_of_health_wakes_only_the_watchers_of_that_name() -> None:
    async def scenario(harness: Harness) -> None:
        health = harness.server._health_service
        async with wire(harness) as client:
            for number, name in enumerate(("liveness", "readiness", "nobody")):
                begin(client, stream=2 * number + 1, path=WATCH)
                message = health_pb2.HealthCheckRequest(service=name).SerializeToString()
                client.send(DataFrame(2 * number + 1, prefixed(message), flags=["END_STREAM"]))
            told = [await client.next(DataFrame) for _ in range(3)]
            assert sorted((each.stream_id, each.data[-1]) for each in told) == [(1, 1), (3, 1), (5, 3)]
            health.publish("readiness", True)  # as it was
            assert not any(event.is_set() for events in health._watching.values() for event in events)
            health.publish("readiness", False)
            health.publish("nobody", True)
            told = [await client.next(DataFrame) for _ in range(2)]
            assert sorted((each.stream_id, each.data[-1]) for each in told) == [(3, 2), (5, 1)]
            client.send(*[RstStreamFrame(stream, error_code=8) for stream in (1, 3, 5)])
            await wait_until(lambda: not health._watching)

    run(scenario)
