# SPDX-License-Identifier: Apache-2.0
"""A running server whose parts a test can see, the calls that tests send to it, and a client's half of a ScoreStream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from lossd.v1 import evaluation_service_pb2 as pb
from lossd.v1 import evaluation_service_pb2_grpc as pb_grpc
from lossd.v1 import loss_service_pb2_grpc
from lossd_server.config import Settings
from lossd_server.queue import dispatcher
from lossd_server.server import Server
from support.encoded_requests import encoded

_MEMBERS = {field.message_type.name.removesuffix("Request"): field.name for field in pb.LossCall.DESCRIPTOR.fields}


def call(name: str, **kwargs: Any) -> pb.LossCall:
    """A call, as the client's method of this name would send it."""
    rpc, message = encoded(name, **kwargs)
    made = pb.LossCall()
    getattr(made, _MEMBERS[rpc]).SetInParent()
    getattr(made, _MEMBERS[rpc]).ParseFromString(message)
    return made


def square(number: float, **options: Any) -> pb.LossCall:
    """A call whose answer is the square of the number."""
    return call("mse_loss", input=[float(number)], target=[0.0], **options)


def wrong() -> pb.LossCall:
    """A call that is answered at once: its shapes do not match."""
    made = square(1)
    made.mse_loss.target.shape[0] = 2
    made.mse_loss.target.float32_values.values.append(0.0)
    return made


def evaluate_request(*calls: tuple[str, pb.LossCall]) -> pb.EvaluateRequest:
    """A message of calls, each with the name of its series."""
    return pb.EvaluateRequest(calls=[pb.SeriesCall(series=name, call=loss_call) for name, loss_call in calls])


def error_of(raised: Any) -> pb.Error:
    """The status of an RPC as an Error."""
    status = status_pb2.Status.FromString(dict(raised.trailing_metadata())["grpc-status-details-bin"])
    error = pb.Error(code=status.code, message=status.message)
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            error.reason = info.reason
            error.metadata.update(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            for violation in error_details_pb2.BadRequest.FromString(detail.value).field_violations:
                error.field_violations.add(field=violation.field, description=violation.description)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            error.retry_after_seconds = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay.ToTimedelta().total_seconds()
    return error


def summary(outcome: pb.LossOutcome) -> str:
    """Everything but how it was computed."""
    outcome.response.ClearField("execution")
    return str(outcome)


class Gate:
    """Holds batches back from the device's thread until it opens, so that calls stay queued behind the first one."""

    def __init__(self, device: Any) -> None:
        self._start = device.start
        self._held: list[Any] = []
        self._closed = True
        self.reached = asyncio.Event()
        device.start = self._hold

    def _hold(self, calls: Any, done: Any) -> None:
        self.reached.set()
        if self._closed:
            self._held.append((calls, done))
        else:
            self._start(calls, done)

    def open(self) -> None:
        self._closed = False
        for calls, done in self._held:
            self._start(calls, done)


class Harness:
    """A server on its own loop, and a channel to it."""

    def __init__(self, server: Server, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.stub = pb_grpc.EvaluationServiceStub(channel)
        self.losses = loss_service_pb2_grpc.LossServiceStub(channel)
        self.channel = channel
        self.evaluation = server._evaluation
        self.dispatcher = server._dispatcher
        self.admission = server._admission

    @property
    def open_streams(self) -> int:
        """Streams of calls that have not ended."""
        return len(self.evaluation._streams)

    @property
    def held_bytes(self) -> int:
        """What the streams hold: calls that are not answered, and answers that are not sent."""
        return sum(stream.held_bytes for stream in self.evaluation._streams)

    def gate(self, monkeypatch: pytest.MonkeyPatch) -> Gate:
        monkeypatch.setattr(dispatcher, "INLINE_BELOW_SECONDS", 0.0)
        return Gate(self.server._device)

    async def unary(self, loss_call: pb.LossCall) -> pb.LossOutcome:
        """What LossService answers."""
        member = loss_call.WhichOneof("request")
        rpc = next(rpc for rpc, name in _MEMBERS.items() if name == member)
        try:
            return pb.LossOutcome(response=await getattr(self.losses, rpc)(getattr(loss_call, member)))
        except grpc.aio.AioRpcError as error:
            return pb.LossOutcome(error=error_of(error))

    async def batch(self, calls: Sequence[pb.LossCall]) -> list[pb.LossOutcome]:
        return list((await self.stub.ScoreBatch(pb.ScoreBatchRequest(calls=calls))).outcomes)

    def record_in_flight(self) -> list[int]:
        """A list to which the bytes in flight are added each time that they change."""
        shares, record = self.admission._shares, []
        change = shares.change

        def watched(holder: Any, difference: int) -> None:
            change(holder, difference)
            record.append(shares.used)

        shares.change = watched  # type: ignore[method-assign]
        return record

    def nothing_left(self) -> None:
        assert self.dispatcher.queued_calls == 0
        assert self.open_streams == 0
        assert self.held_bytes == 0
        assert self.admission.in_flight_bytes == 0


def reading() -> list[Any]:
    """The tasks that read streams."""
    return [task for task in asyncio.all_tasks() if task.get_name() in ("lossd-ScoreStream", "lossd-Evaluate")]


@asynccontextmanager
async def launch(**options: Any) -> AsyncIterator[Harness]:
    server = Server(Settings(**{"listen": "127.0.0.1:0", "admin_listen": "", "device": "cpu", "log_level": "error"} | options))
    await server.start()
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    try:
        async with grpc.aio.insecure_channel(server.address, options=limits) as channel:
            yield Harness(server, channel)
    finally:
        await server.stop()


def run(scenario: Callable[[Harness], Awaitable[None]], **options: Any) -> None:
    """Runs the scenario against a server of its own, and fails if the server still holds anything afterwards."""

    async def main() -> None:
        async with asyncio.timeout(60), launch(**options) as harness:
            await scenario(harness)
            await wait_until(lambda: harness.admission.in_flight_bytes == 0 and not reading())
            harness.nothing_left()

    asyncio.run(main())


async def wait_until(condition: Callable[[], bool]) -> None:
    """Lets everything else run until the condition holds."""
    while not condition():  # noqa: ASYNC110 - every condition is checked, not waited for, so that nothing is added to what is tested
        await asyncio.sleep(0)


def send(*calls: tuple[int, pb.LossCall] | tuple[int, pb.LossCall, float], cancel: Sequence[int] = ()) -> pb.ScoreStreamRequest:
    message = pb.ScoreStreamRequest(cancelled_ids=cancel)
    for id_, loss_call, *timeout in calls:
        message.calls.add(id=id_, call=loss_call, timeout_seconds=timeout[0] if timeout else None)
    return message


class Session:
    """A client's ScoreStream."""

    def __init__(self, rpc: Any) -> None:
        self.rpc = rpc
        self._outcomes: list[pb.StreamOutcome] = []

    async def send(self, *calls: Any, cancel: Sequence[int] = ()) -> None:
        await self.rpc.write(send(*calls, cancel=cancel))

    async def next(self) -> tuple[int, pb.LossOutcome]:
        """The next outcome and its id."""
        while not self._outcomes:
            message = await self.rpc.read()
            assert message is not grpc.aio.EOF, "the stream has ended"
            self._outcomes = list(message.outcomes)
        outcome = self._outcomes.pop(0)
        return outcome.id, outcome.outcome

    async def end(self) -> list[int]:
        """The ids that are answered from here to the end."""
        await self.rpc.done_writing()
        ids = [outcome.id for outcome in self._outcomes]
        while (message := await self.rpc.read()) is not grpc.aio.EOF:
            ids += [outcome.id for outcome in message.outcomes]
        return ids
