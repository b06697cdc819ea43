# SPDX-License-Identifier: Apache-2.0
"""READ FIRST: the way of a request. read (decode, validate) -> submit -> encode, the same for every loss.

Bytes in, bytes out, with a deadline and a caller as plain values: no gRPC here, so that any front can stand before it.
Every failure is a CallError.
"""

from collections.abc import Awaitable, Callable

from lossd.v1 import loss_service_pb2
from lossd_server.admission import Admission, Hold
from lossd_server.batch import Answer
from lossd_server.decode import parse
from lossd_server.dispatcher import Dispatcher
from lossd_server.encode import response
from lossd_server.errors import CallError, RequestTooLarge, ShuttingDown
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import LossSpec
from lossd_server.reader import Reader
from lossd_server.submission import Submission, Success
from lossd_server.validate import NONE, Limits

Method = Callable[..., Awaitable[bytes]]


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
        self.reader = Reader(limits)
        self._max_request_bytes = max_request_bytes
        self._info = info
        self._draining = False
        self.refused_calls = 0  # since `drain`

    async def score(self, spec: LossSpec, message: bytes, *, deadline: float | None = None, caller: str = "") -> bytes:
        """One loss request to one LossResponse. `deadline` is on the dispatcher's clock. Raises CallError."""
        with self.admit(message, caller) as hold:
            call = self.reader.read(spec, message)
            if call.reduction == NONE:
                hold.grow(call.answer_bytes)
            outcome = self._dispatcher.compute_now(call, deadline)
            if outcome is None:
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
            assert isinstance(outcome, Success)
            answer, execution = outcome
            assert isinstance(answer, Answer)
            return response(answer, execution)

    async def get_server_info(self, message: bytes, *, deadline: float | None = None, caller: str = "") -> bytes:
        """Versions, devices, losses and limits."""
        parse("GetServerInfoRequest", message)
        return self._info.SerializeToString()

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


def _bind(score: Callable[..., Awaitable[bytes]], spec: LossSpec) -> Method:
    def method(message: bytes, *, deadline: float | None = None, caller: str = "") -> Awaitable[bytes]:
        return score(spec, message, deadline=deadline, caller=caller)

    return method
