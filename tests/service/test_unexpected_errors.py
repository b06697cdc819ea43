# SPDX-License-Identifier: Apache-2.0
"""A bug in the reading of one call: that call, or its evaluation, fails with INTERNAL, and the response does not tell the cause."""

import grpc
import pytest
from structlog.testing import capture_logs

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.call import Call
from lossd_server.losses.spec import Arguments, LossSpec
from lossd_server.requests import reader
from lossd_server.requests.validate import RequestLimits
from support.harness import Harness, Session, call, error_of, run, square


@pytest.fixture
def reading_l1_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bug in the reading of one loss would."""
    validate = reader.validate

    def broken(spec: LossSpec, arguments: Arguments, limits: RequestLimits) -> Call:
        if spec.rpc == "L1Loss":
            raise RuntimeError("secret in /etc/passwd")
        return validate(spec, arguments, limits)

    monkeypatch.setattr(reader, "validate", broken)


@pytest.mark.usefixtures("reading_l1_fails")
def test_an_unexpected_exception_fails_only_its_own_call() -> None:
    broken = call("l1_loss", input=[1.0], target=[0.0])

    async def scenario(harness: Harness) -> None:
        with capture_logs() as logs:
            first, failed, last = await harness.batch([square(2), broken, square(3)])
            session = Session(harness.stub.ScoreStream())
            await session.send((1, square(2)), (2, broken), (3, square(3)))
            streamed = dict([await session.next() for _ in range(3)])
            await session.end()
        assert [first.response.value, last.response.value] == [4, 9]
        assert [streamed[1].response.value, streamed[3].response.value] == [4, 9]
        for outcome in (failed, streamed[2]):
            assert (outcome.error.code, outcome.error.reason) == (13, "UNEXPECTED")
            assert "secret" not in outcome.error.message
        assert [entry["event"] for entry in logs] == ["unexpected_exception"] * 2

    run(scenario)


@pytest.mark.usefixtures("reading_l1_fails")
def test_an_unexpected_exception_ends_an_evaluation_and_the_error_names_the_message() -> None:
    async def scenario(harness: Harness) -> None:
        calls = [pb.SeriesCall(series="a", call=square(1)), pb.SeriesCall(series="b", call=call("l1_loss", input=[1.0], target=[0.0]))]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await harness.stub.Evaluate(iter([pb.EvaluateRequest(calls=[one]) for one in calls]))
        error = error_of(raised.value)
        assert (error.code, error.reason, error.metadata["message_index"]) == (13, "UNEXPECTED", "1")

    run(scenario)
