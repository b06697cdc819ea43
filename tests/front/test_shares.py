# SPDX-License-Identifier: Apache-2.0
"""The uses of callers' names: metrics, turns on the device, and shares of memory."""

import asyncio
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

import lossd
from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.admission import OVERHEAD_BYTES, Admission
from lossd_server.config import Settings
from lossd_server.errors import InFlightFull
from lossd_server.front.tokens import make_token
from lossd_server.requests.reader import Reader
from lossd_server.server import Server
from support.harness import Harness, call, error_of, run, send, square, wait_until

ALICE, ALICES_LINE = make_token("alice")
BOB, BOBS_LINE = make_token("bob")
AS_ALICE = (("authorization", f"Bearer {ALICE}"),)
AS_BOB = (("authorization", f"Bearer {BOB}"),)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "tokens.txt"
    path.write_text(f"{ALICES_LINE}\n{BOBS_LINE}\n")
    return str(path)


# ---- names


def samples(page: str, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize("with_tokens", [True, False])
def test_metrics_count_only_the_callers_that_the_file_names(file: str, with_tokens: bool) -> None:
    async def main() -> str:
        server = Server(
            Settings(
                listen="127.0.0.1:0", admin_listen="127.0.0.1:0", device="cpu", log_level="error", tokens_file=file if with_tokens else ""
            )
        )
        await server.start()
        for token, wrong in ((ALICE, False), (ALICE, False), (BOB, True), ("stranger", False), (None, False)):
            async with lossd.AsyncClient(server.address, token=token) as client:
                with suppress(lossd.LossdError):
                    await client.huber_loss([1.0], [1.0], delta=-1.0 if wrong else 1.0)
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{server.admin_address}/metrics").read().decode())
        await server.stop()
        return page

    page = asyncio.run(main())
    handled = samples(page, "grpc_server_handled_total", "grpc_code")
    by_caller = samples(page, "lossd_caller_rpcs_total", "caller", "code")
    if with_tokens:
        assert by_caller == {("alice", "OK"): 2, ("bob", "INVALID_ARGUMENT"): 1}
        assert handled == {("OK",): 2, ("INVALID_ARGUMENT",): 1, ("UNAUTHENTICATED",): 2}
    else:
        assert by_caller == {}
        assert handled == {("OK",): 4, ("INVALID_ARGUMENT",): 1}


async def call_all_ways(harness: Harness, metadata: Any = None) -> None:
    await harness.losses.MseLoss(square(2).mse_loss, metadata=metadata)
    await harness.stub.ScoreBatch(pb.ScoreBatchRequest(calls=[square(2)]), metadata=metadata)
    stream = harness.stub.ScoreStream(metadata=metadata)
    await stream.write(send((1, square(2))))
    assert (await stream.read()).outcomes
    await stream.done_writing()
    message = pb.EvaluateRequest()
    message.calls.add(call=square(2))
    await harness.stub.Evaluate(iter([message]), metadata=metadata)


def watch(harness: Harness) -> list[str]:
    """The callers of all calls that reach the queue, and of all bytes in flight."""
    seen: list[str] = []
    add, change = harness.dispatcher._coalescer.add, harness.admission._shares.change
    harness.dispatcher._coalescer.add = lambda *args, **kwargs: (seen.append(kwargs["caller"]), add(*args, **kwargs))[1]
    harness.admission._shares.change = lambda caller, nbytes: (seen.append(caller), change(caller, nbytes))[1]
    return seen


def test_a_token_names_its_caller_for_every_kind_of_rpc(file: str) -> None:
    async def scenario(harness: Harness) -> None:
        seen = watch(harness)
        for metadata, name in ((AS_ALICE, "alice"), (AS_BOB, "bob")):
            await call_all_ways(harness, metadata)
            await wait_until(lambda: harness.open_streams == 0)
            assert set(seen) == {name}
            assert len(seen) > 8
            seen.clear()

    run(scenario, tokens_file=file)


def test_without_tokens_a_host_is_one_caller() -> None:
    async def scenario(harness: Harness) -> None:
        seen = watch(harness)
        await call_all_ways(harness)
        async with lossd.AsyncClient(harness.server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as other:
            await other.mse_loss([1.0], [1.0])
        assert set(seen) == {"127.0.0.1"}

    run(scenario)


@pytest.mark.parametrize(
    ("identities", "name"),
    [(("a.example", "b.example"), "DNS:a.example"), (("10.1.2.3", "a.example"), "DNS:a.example"), ((), "CN:nightly job")],
    ids=["alternative name", "types in our order", "common name"],
)
def test_without_tokens_a_certificate_names_its_caller(tmp_path: Path, identities: tuple[str, ...], name: str) -> None:
    ca = trustme.CA()
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert(*identities, common_name="nightly job")
    for file, content in (("ca", ca.cert_pem), ("crt", server.cert_chain_pems[0]), ("key", server.private_key_pem)):
        content.write_to_path(tmp_path / file)
    tls = {"tls_cert_file": str(tmp_path / "crt"), "tls_key_file": str(tmp_path / "key"), "tls_client_ca_file": str(tmp_path / "ca")}

    async def scenario(harness: Harness) -> None:
        seen = watch(harness)
        keys = grpc.ssl_channel_credentials(ca.cert_pem.bytes(), client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())
        async with lossd.AsyncClient(harness.server.address, credentials=keys) as caller:
            assert await caller.mse_loss([3.0], [1.0]) == 4.0
        assert set(seen) == {name}

    run(scenario, **tls)


def test_an_internal_error_is_logged_with_its_caller(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("with data")

    async def scenario(harness: Harness) -> None:
        monkeypatch.setattr(Reader, "read", broken)
        with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError):
            await harness.losses.MseLoss(square(2).mse_loss, metadata=AS_ALICE)
        await harness.stub.ScoreBatch(pb.ScoreBatchRequest(calls=[square(2)]), metadata=AS_BOB)
        (line,) = logs
        assert (line["event"], line["method"], line["caller"]) == ("unexpected_exception", "MseLoss", "alice")
        assert "with data" not in str(line)

    run(scenario, tokens_file=file)


# ---- turns


def test_callers_take_turns_in_any_order_of_arrival(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call has a key of its own, so that none rides along in another's batch."""
    order: list[str] = []

    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        first = harness.losses.MseLoss(square(1).mse_loss, metadata=AS_BOB)
        await gate.reached.wait()
        callers: dict[int, str] = {}
        add, hold = harness.dispatcher._coalescer.add, harness.server._device.start

        def added(pending: Any, *args: Any, **kwargs: Any) -> Any:
            callers[id(pending.call)] = kwargs["caller"]
            return add(pending, *args, **kwargs)

        def started(calls: Any, done: Callable[[Any], None]) -> None:
            order.extend(callers[id(one)] for one in calls)
            hold(calls, done)

        harness.dispatcher._coalescer.add = added  # type: ignore[method-assign]
        harness.server._device.start = started  # type: ignore[method-assign]
        waiting = [first]
        for metadata, deltas in ((AS_ALICE, range(1, 5)), (AS_BOB, range(5, 9))):
            for delta in deltas:
                request = call("huber_loss", input=[3.0], target=[1.0], delta=float(delta)).huber_loss
                waiting.append(harness.losses.HuberLoss(request, metadata=metadata))
            await wait_until(lambda: harness.dispatcher.queued_calls == len(waiting) - 1)
        gate.open()
        for answer in waiting:
            await answer

    run(scenario, tokens_file=file)
    assert order == ["alice", "bob"] * 4


# ---- room


def test_a_caller_may_hold_as_much_as_it_leaves_free_and_a_little_of_the_last_quarter() -> None:
    admission = Admission(1000 * OVERHEAD_BYTES)
    holds = {name: [] for name in "xyz"}
    for name, count in (("x", 500), ("y", 250), ("z", 3)):
        for _ in range(count):
            holds[name].append(admission.reserve(0, name))
        with pytest.raises(InFlightFull, match="from this caller"):
            admission.reserve(0, name)
        with pytest.raises(InFlightFull, match="from this caller"):
            holds[name][0].grow(OVERHEAD_BYTES)
    for hold in holds["x"]:
        hold.release()
    for _ in range(500):  # y has 250, and 375 of z leave 375
        try:
            holds["z"].append(admission.reserve(0, "z"))
        except InFlightFull:
            break
    assert len(holds["z"]) == 375
    for name in "yz":
        for hold in holds[name]:
            hold.release()
    assert (admission.in_flight_bytes, admission._shares._held) == (0, {})


def test_streams_that_are_never_answered_leave_room_for_other_callers(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: Harness) -> None:
        gate = harness.gate(monkeypatch)
        large = call("mse_loss", input=[1.0] * 10_000, target=[0.0] * 10_000)
        answers: list[asyncio.Task[pb.ScoreStreamResponse]] = []
        while not any(answer.done() for answer in answers):
            held = harness.admission._shares.held("alice")
            stream = harness.stub.ScoreStream(metadata=AS_ALICE)
            await wait_until(lambda: stream.done() or harness.admission._shares.held("alice") > held)  # noqa: B023
            if not stream.done():
                await stream.write(send((1, large)))
                await stream.done_writing()
            answers.append(answer := asyncio.ensure_future(stream.read()))
            await wait_until(lambda: answer.done() or harness.admission._shares.held("alice") > held + 80_000)  # noqa: B023
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await answers[-1]
        assert error_of(refused.value).reason == "IN_FLIGHT_FULL"
        assert len(answers) > 4
        bobs = harness.losses.MseLoss(large.mse_loss, metadata=AS_BOB)
        await wait_until(lambda: "bob" in harness.admission._shares._held)
        gate.open()
        assert (await bobs).value == 1.0
        assert [one.outcomes[0].outcome.response.value for one in await asyncio.gather(*answers[:-1])] == [1.0] * (len(answers) - 1)

    run(scenario, tokens_file=file, max_in_flight_bytes=2 << 20)
