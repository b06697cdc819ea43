# SPDX-License-Identifier: Apache-2.0
"""READ FIRST: the way of a request. decode -> validate -> submit -> encode, the same for every loss.

Bytes in, bytes out, with a deadline and a caller as plain values: no gRPC here, so that any front can stand before it.
Every failure is a CallError.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from lossd import _twins
from lossd.v1 import loss_service_pb2
from lossd_server import wire
from lossd_server.admission import Admission, Hold
from lossd_server.decode import decode, parse
from lossd_server.dispatcher import Dispatcher, Submission, Success
from lossd_server.errors import CallError, RequestTooLarge, ShuttingDown
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import LossSpec
from lossd_server.validate import Call, Limits, validate

Method = Callable[..., Awaitable[bytes]]

_LossResponse: Final = _twins.twin("LossResponse")


class Service:
    """LossService on bytes."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        admission: Admission,
        limits: Limits,
        *,
        max_request_bytes: int,
        info: loss_service_pb2.GetServerInfoResponse,
    ) -> None:
        self._dispatcher = dispatcher
        self._admission = admission
        self._limits = limits
        self._max_request_bytes = max_request_bytes
        self._info = info
        self._draining = False
        self.refused_calls = 0  # since `drain`

    async def score(self, spec: LossSpec, message: bytes, *, deadline: float | None = None, caller: str = "") -> bytes:
        """One loss request to one LossResponse. `deadline` is on the dispatcher's clock. Raises CallError."""
        with self.admit(message, caller) as hold:
            call = self.read(spec, message)
            hold.grow(call.answer_bytes)
            submission = Submission(1)
            self._dispatcher.submit(submission, ((0, call),), deadline=deadline, caller=caller)
            if not submission.done:
                try:
                    await submission.wait()
                finally:
                    self._dispatcher.cancel(submission)
            outcome = submission.outcomes[0]
            if isinstance(outcome, CallError):
                raise outcome
            assert outcome is not None
            response = _LossResponse()
            encode(outcome, response)
            encoded: bytes = response.SerializeToString()
            return encoded

    async def get_server_info(self, message: bytes, *, deadline: float | None = None, caller: str = "") -> bytes:
        """Versions, devices, losses and limits."""
        parse("GetServerInfoRequest", message)
        return self._info.SerializeToString()

    def read(self, spec: LossSpec, message: bytes) -> Call:
        """The validated call of an encoded request. Raises CallError."""
        name = f"{spec.rpc}Request"
        return validate(spec, decode(spec, parse(name, message), lambda: _twins.public(name).FromString(message)), self._limits)

    def methods(self) -> dict[str, Method]:
        """Every method of LossService by name: (message, deadline=, caller=) -> response."""
        return {**{rpc: _bind(self.score, spec) for rpc, spec in LOSSES.items()}, "GetServerInfo": self.get_server_info}

    def drain(self) -> None:
        """From now on every call is answered ShuttingDown; those accepted before are completed."""
        self._draining = True

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    def admit(self, message: bytes, caller: str) -> Hold:
        """Room for a message until the hold is released, after its answer. Raises ShuttingDown, RequestTooLarge or InFlightFull."""
        if self._draining:
            self.refused_calls += 1
            raise shutting_down()
        if len(message) > self._max_request_bytes:
            raise RequestTooLarge(
                f"the request has {len(message)} bytes; {self._max_request_bytes} are allowed: split the batch",
                limit=self._max_request_bytes,
                actual=len(message),
            )
        return self._admission.admit(len(message), caller)


def shutting_down() -> ShuttingDown:
    """What a call is answered that comes too late."""
    return ShuttingDown("the server is shutting down; another replica will answer", retry_after_seconds=0.1)


def encode(success: Success, message: Any) -> None:
    """Fills in the twin of a LossResponse. Fields are set one by one: that takes half as long as to build messages and copy them."""
    answer, execution = success
    statistics = message.statistics
    source = answer.statistics
    statistics.sum = source.sum
    statistics.mean_numerator = source.mean_numerator
    statistics.mean_denominator = source.mean_denominator
    statistics.element_count = source.element_count
    statistics.ignored_count = source.ignored_count
    computed = message.execution
    computed.queue_seconds = execution.queue_seconds
    computed.compute_seconds = execution.compute_seconds
    computed.calls_in_batch = execution.calls_in_batch
    computed.device = execution.device
    if answer.values is None:
        message.value = answer.value
    else:
        message.values.CopyFrom(wire.encode_floats(answer.values, answer.shape, double=answer.double))


def _bind(score: Callable[..., Awaitable[bytes]], spec: LossSpec) -> Method:
    def method(message: bytes, *, deadline: float | None = None, caller: str = "") -> Awaitable[bytes]:
        return score(spec, message, deadline=deadline, caller=caller)

    return method
