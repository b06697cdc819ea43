# SPDX-License-Identifier: Apache-2.0
"""READ FIRST: the way of a request. read (decode, validate) -> submit -> encode, the same for every loss.

Bytes in, bytes out, with a deadline and a caller as plain values: no gRPC here, so that any front can stand before it.
Every failure is a CallError.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from lossd.v1 import loss_service_pb2
from lossd_server.admission import Admission, Hold, when_there_is_room
from lossd_server.call import NONE, Outcome
from lossd_server.errors import CallError, RequestTooLarge, ShuttingDown
from lossd_server.log import unexpected
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Submission
from lossd_server.requests.decode import parse
from lossd_server.requests.reader import Reader
from lossd_server.requests.validate import RequestLimits
from lossd_server.service.responses import responses


class Service:
    """LossService on bytes."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        admission: Admission,
        limits: RequestLimits,
        *,
        max_request_bytes: int,
        info: loss_service_pb2.GetServerInfoResponse,
    ) -> None:
        self._dispatcher = dispatcher
        self._admission = admission
        self.reader = Reader(limits)
        self.max_request_bytes = max_request_bytes
        self._info = info
        self._draining = False

    async def score(self, spec: LossSpec, message: Encoded, *, deadline: float | None = None, caller: str = "") -> bytes:
        """One loss request to one LossResponse. `deadline` is on the dispatcher's clock. Raises CallError."""
        with self.admit(len(message), caller) as hold:
            request = _Awaited(spec, message, deadline, caller, hold)
            self._score(request)
            try:
                return await request.response
            finally:
                if request.cancel is not None:
                    request.cancel()

    def score_together(self, requests: "Sequence[Request]") -> None:
        """Answers requests of any losses that have arrived at once: some before this returns, the others later.

        Where the device is free, those that only differ in their values are read, computed and encoded as one.
        """
        if len(requests) > 1 and self._dispatcher.idle:
            requests = self._score_as_one(requests)
        for request in requests:
            self._score(request)

    async def get_server_info(self, message: Encoded, **_: object) -> bytes:
        """Versions, devices, losses and limits."""
        parse("GetServerInfoRequest", message)
        return self._info.SerializeToString()

    def drain(self) -> None:
        """From now on every call is answered ShuttingDown; those accepted before are completed."""
        self._draining = True

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    def admit(self, nbytes: int, caller: str) -> Hold:
        """Room for a message until the hold is released, after its answer. Raises ShuttingDown, RequestTooLarge or InFlightFull."""
        if self._draining:
            raise shutting_down()
        if nbytes > self.max_request_bytes:
            raise RequestTooLarge(
                f"the request has {nbytes} bytes; {self.max_request_bytes} are allowed: split the batch",
                limit=self.max_request_bytes,
                actual=nbytes,
            )
        return self._admission.admit(nbytes, caller)

    async def admit_when_there_is_room(self, nbytes: int, caller: str) -> Hold:
        """As `admit`, for a message that waits where it can be made to. Raises ShuttingDown or RequestTooLarge."""
        return await when_there_is_room(lambda: self.admit(nbytes, caller))

    def hold(self, nbytes: int, caller: str) -> Hold:
        """Counts an answer that its caller is slow to take."""
        return self._admission.hold(nbytes, caller)

    # Implementation details follow.

    def _score_as_one(self, requests: "Sequence[Request]") -> "list[Request]":
        """Answers those that can be computed as one, and returns the others."""
        now = self._dispatcher.now()
        by_loss: dict[str, list[Request]] = {}
        left: list[Request] = []
        for request in requests:
            expired = request.deadline is not None and request.deadline <= now
            (left if expired else by_loss.setdefault(request.spec.rpc, [])).append(request)
        for group in by_loss.values():
            answered: set[int] = set()
            try:
                for indices, call in self.reader.read_together([request.message for request in group], group[0].spec):
                    outcome = self._dispatcher.compute_now(call, None)
                    if outcome is not None:
                        answers = responses(outcome, len(indices))
                        answered.update(indices)
                        for index, answer in zip(indices, answers, strict=True):
                            group[index].answer(answer)
            except Exception as error:  # noqa: BLE001 - each is tried by itself, and only the culprit fails
                unexpected(group[0].spec.rpc, group[0].caller, error)
            left += [request for index, request in enumerate(group) if index not in answered]
        return left

    def _score(self, request: "Request") -> None:
        try:
            call = self.reader.read(request.spec, request.message)
            if call.reduction == NONE:
                assert request.hold is not None
                request.hold.grow(call.answer_bytes)
            outcome = self._dispatcher.compute_now(call, request.deadline)
            if outcome is not None:
                _answer(request, outcome)
                return
            submission = Submission(1, lambda _, outcome: _answer(request, outcome))
            self._dispatcher.submit(submission, ((0, call),), deadline=request.deadline, caller=request.caller)
            if not submission.done:
                request.cancel = lambda: self._dispatcher.cancel(submission)
        except CallError as error:
            request.answer(error)
        except Exception as error:  # noqa: BLE001 - nothing of ours may leak to the caller, or end the calls beside it
            request.answer(unexpected(request.spec.rpc, request.caller, error))


class Request(Protocol):
    """A loss request on its way. `cancel` is set where it waits for its turn: it takes the call out of the queue."""

    spec: LossSpec
    message: Encoded
    deadline: float | None  # on the dispatcher's clock
    caller: str
    hold: Hold | None
    cancel: Callable[[], object] | None

    def answer(self, outcome: bytes | CallError) -> None:
        """Called once, unless it was cancelled, with the LossResponse or the error."""


class _Awaited:
    """A request whose answer is awaited."""

    def __init__(self, spec: LossSpec, message: Encoded, deadline: float | None, caller: str, hold: Hold) -> None:
        self.spec = spec
        self.message = message
        self.deadline = deadline
        self.caller = caller
        self.hold: Hold | None = hold
        self.cancel: Callable[[], object] | None = None
        self.response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def answer(self, outcome: bytes | CallError) -> None:
        self.cancel = None
        if self.response.done():
            return
        if isinstance(outcome, CallError):
            self.response.set_exception(outcome)
        else:
            self.response.set_result(outcome)


def shutting_down() -> ShuttingDown:
    """What a call is answered that comes too late."""
    return ShuttingDown("the server is shutting down; another replica will answer", retry_after_seconds=0.1)


def _answer(request: Request, outcome: Outcome) -> None:
    request.answer(responses(outcome, 1)[0])
