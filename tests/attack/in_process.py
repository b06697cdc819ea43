# SPDX-License-Identifier: Apache-2.0
"""The server without its front, in this process: as many hostile messages as it can read, and computations of those it takes.

Each message is read twice, by a reader that knows the structures of the valid requests and by one that knows nothing: they must
agree. Each call that is valid is computed alone, and again among calls of its key: the bits must be equal. Some messages go
through the services, as streams and batches among honest calls. No computation may begin for a call whose deadline has passed.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lossd.v1 import evaluation_service_pb2 as evaluation_pb2
from lossd.v1 import loss_service_pb2, response_pb2
from lossd_server.admission import Admission
from lossd_server.call import Answer, Call, Execution, Success
from lossd_server.compute import device
from lossd_server.compute.device import Device
from lossd_server.compute.memory import HostMemory
from lossd_server.errors import CallError, InvalidArgument
from lossd_server.losses import LOSSES
from lossd_server.queue.coalescer import Coalescer
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.requests.reader import Reader
from lossd_server.requests.validate import RequestLimits
from lossd_server.service import responses
from lossd_server.service.score_batch import EvaluationService
from lossd_server.service.scoring import Service
from lossd_server.service.streams import Received

from .corpus import Valid, corpus
from .expiry import Expiry
from .mutations import Mutator
from .verdict import Tally, bits

_LIMITS = RequestLimits(max_response_bytes=1 << 20, max_workspace_bytes=64 << 20, max_operations=10**8)
_KEPT = 8  # calls of a key that are computed together
_KEYS = 200
_CONCURRENT = 24

_EXECUTION = Execution(0.0, 0.0, 1, "cpu")


class _Ignored:
    """A BatchObserver."""

    def batch_computed(self, loss: str, reason: str, calls: int, compute_seconds: float, queued: Any) -> None:
        pass


class InProcess:
    """One run of the fuzzer. Deterministic but for what the clock decides."""

    def __init__(self, seed: int) -> None:
        self.tally = Tally()
        self._random = random.Random(seed)
        self._valid = corpus()
        self._mutator = Mutator(self._random, self._valid)
        self._memory = HostMemory()
        self._truth: dict[Valid, bytes] = {}
        self._kept: dict[Any, list[tuple[Call, bytes]]] = {}
        self._reader = Reader(_LIMITS)

    def run(self, messages: int) -> None:
        """So many hostile messages: nine of ten are read and computed, the others go through the services."""
        for valid in self._valid * 2:
            self._reader.read(LOSSES[valid.rpc], valid.message)
        for _ in range(messages * 9 // 10):
            self._one()
        for key in list(self._kept):
            self._together(key)
        asyncio.run(self._through_services(messages - messages * 9 // 10))

    # Implementation details follow.

    def _one(self) -> None:
        rpc, message = self._mutator.request()
        self.tally.count("messages read")
        try:
            anew = _read(Reader(_LIMITS), rpc, message)
            call = _read(self._reader, rpc, message)
            if _facts(call) != _facts(anew):
                self.tally.find(f"read {rpc}: otherwise by a known structure; {message.hex()[:400]}")
            if isinstance(call, CallError):
                self._error("read", rpc, call)
                return
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            self.tally.find(f"read {rpc}: {type(error).__name__}: {error}; {message.hex()[:400]}")
            return
        if not call.values_count:
            self.tally.count("answered by rule")
            return
        (result,) = device.run([call], self._memory)
        if isinstance(result, CallError):
            self.tally.find(f"compute {rpc}: {result.reason}; {message.hex()[:400]}")
            return
        self.tally.count("computed")
        kept = self._kept.setdefault(call.key, [])
        kept.append((call, _encoded(Success(result, _EXECUTION))))
        if len(kept) == _KEPT:
            self._together(call.key)
        elif len(self._kept) > _KEYS:
            self._together(next(iter(self._kept)))

    def _together(self, key: Any) -> None:
        """The calls of a key as one batch: each must come to the bits that it had alone."""
        kept = self._kept.pop(key)
        if len(kept) == 1:
            return
        self.tally.count("computed again, together", len(kept))
        for (call, alone), result in zip(kept, device.run([call for call, _ in kept], self._memory), strict=True):
            if isinstance(result, CallError):
                self.tally.find(f"together {call.spec.rpc}: {result.reason}")
            elif _encoded(Success(result, _EXECUTION)) != alone:
                self.tally.find(f"together {call.spec.rpc}: other bits than alone, in a batch of {len(kept)}")

    async def _through_services(self, messages: int) -> None:
        with _services() as (scoring, evaluation, admission):
            for valid in self._valid:
                self._truth[valid] = bits(await scoring.score(LOSSES[valid.rpc], valid.message))
            with Expiry() as expiry:
                left = messages
                while left > 0:
                    count = min(left, _CONCURRENT)
                    await asyncio.gather(*[self._message(scoring, evaluation, admission) for _ in range(count)])
                    left -= count
            self.tally.count("computed with a deadline", expiry.computed)
            self.tally.count("computed after expiry", expiry.too_late)
            if expiry.too_late:
                self.tally.find(f"{expiry.too_late} calls were computed after their deadline, one {expiry.latest:.3f} s after")
            if admission.in_flight_bytes:
                self.tally.find(f"{admission.in_flight_bytes} bytes are in flight when all is done")

    async def _message(self, scoring: Service, evaluation: EvaluationService, admission: Admission) -> None:
        self.tally.count("messages through services")
        kind = self._random.choice(("", "", "ScoreBatchRequest", "ScoreStreamRequest", "EvaluateRequest"))
        deadline = time.monotonic() + self._random.choice((60.0, 1e-3, 1e-4, 0.0)) if self._random.random() < 0.5 else None
        rpc, message, sent = kind, b"", []
        if kind:
            sent, message = self._mutator.calls(kind)
        else:
            rpc, message = self._mutator.request()
        try:
            if kind == "ScoreBatchRequest":
                response = evaluation_pb2.ScoreBatchResponse.FromString(await evaluation.score_batch(message, deadline=deadline))
                if sent:
                    self._answers(kind, sent, dict(enumerate(response.outcomes)))
            elif kind == "ScoreStreamRequest":
                await self._stream(evaluation, admission, message, sent, deadline)
            elif kind == "EvaluateRequest":
                await evaluation.evaluate(_reader([message, message], admission), deadline=deadline)
            else:
                response_pb2.LossResponse.FromString(await scoring.score(LOSSES[rpc], message, deadline=deadline))
        except CallError as error:
            self._error("service", rpc, error)
        except Exception as error:  # noqa: BLE001
            self.tally.find(f"service {rpc}: {type(error).__name__}: {error}; {message.hex()[:400]}")

    async def _stream(self, evaluation: EvaluationService, admission: Admission, message: bytes, sent: Any, deadline: float | None) -> None:
        outcomes: dict[int, Any] = {}

        class Output:
            """A client that takes everything at once."""

            full = False
            on_drained = staticmethod(lambda: None)

            def send(self, response: bytes) -> None:
                for one in evaluation_pb2.ScoreStreamResponse.FromString(response).outcomes:
                    outcomes[one.id] = one.outcome

            async def write(self, response: bytes) -> None:
                self.send(response)

        await evaluation.score_stream(_reader([message], admission), Output(), deadline=deadline)  # type: ignore[arg-type]
        if sent:
            self._answers("ScoreStreamRequest", sent, outcomes)

    def _answers(self, kind: str, sent: list[tuple[int, Valid | None]], outcomes: dict[int, Any]) -> None:
        """An outcome for each call, and the right one for each honest call."""
        if sorted(outcomes) != sorted(id_ for id_, _ in sent):
            self.tally.find(f"{kind}: {len(outcomes)} outcomes of {len(sent)} calls")
            return
        for id_, valid in sent:
            outcome = outcomes[id_]
            if outcome.HasField("error"):
                error = outcome.error
                fields = [violation.field for violation in error.field_violations]
                load = error.reason == "DEADLINE_EXPIRED_IN_QUEUE"
                if valid is not None and not load:
                    self.tally.find(f"{kind}: an honest {valid.rpc} was answered {error.reason}: {error.message}")
                self.tally.error(kind, "", _code(error.code), error.reason, error.message, fields, load=True)
            elif valid is not None:
                self.tally.count("honest answers among hostile ones")
                if bits(outcome.response) != self._truth[valid]:
                    self.tally.find(f"{kind}: an honest {valid.rpc} has other bits than alone")

    def _error(self, where: str, rpc: str, error: CallError) -> None:
        fields = [error.field] if isinstance(error, InvalidArgument) and error.field else []
        self.tally.error(where, rpc, error.code, error.reason, error.message, fields, load=where == "service")


@contextmanager
def _services() -> Iterator[tuple[Service, EvaluationService, Admission]]:
    computer = Device(device.resolve("cpu"))
    dispatcher = Dispatcher(Coalescer(max_batch_bytes=1 << 16), computer, _Ignored())
    admission = Admission(64 << 20)
    scoring = Service(dispatcher, admission, _LIMITS, max_request_bytes=1 << 20, info=loss_service_pb2.GetServerInfoResponse())
    try:
        yield scoring, EvaluationService(scoring, dispatcher, max_response_bytes=1 << 20), admission
    finally:
        computer.close()


def _encoded(success: Success) -> bytes:
    assert isinstance(success.answer, Answer)
    return bits(responses.response(success.answer, success.execution))


def _read(reader: Reader, rpc: str, message: bytes) -> Call | CallError:
    try:
        return reader.read(LOSSES[rpc], message)
    except CallError as error:
        return error


def _facts(read: Call | CallError) -> Any:
    if isinstance(read, CallError):
        return type(read), str(read), read.metadata
    found = read.arrangement
    payloads = [(name, array.shape, bytes(array.payload)) for name, array in (*found.columns.items(), *found.shared.items())]
    # NaN is not itself: as text it is.
    return payloads, repr((found.mean_denominator, found.ignored_count, found.output_shape, read.params, read.reduction, read.double))


def _reader(messages: list[bytes], admission: Admission) -> Any:
    left = iter(messages)

    async def read() -> Received | None:
        await asyncio.sleep(0)
        message = next(left, None)
        return None if message is None else Received(message, admission.hold(0))

    return read


def _code(number: int) -> str:
    return {3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 8: "RESOURCE_EXHAUSTED", 14: "UNAVAILABLE"}.get(number, f"code {number}")
