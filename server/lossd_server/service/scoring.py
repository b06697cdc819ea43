# SPDX-License-Identifier: Apache-2.0
"""READ THIRD: the path of every request: read together, compute now or queue, answer. All RPCs and losses share it, in time slices.

Requests and responses are bytes, deadlines and callers are plain values, and every failure is a CallError. Nothing here depends on
gRPC, so any front can use it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from lossd.v1 import loss_service_pb2
from lossd_server.admission import Admission, Hold, request_too_large
from lossd_server.call import Call
from lossd_server.errors import CallError
from lossd_server.log import unexpected
from lossd_server.losses.spec import LossSpec
from lossd_server.losses.tensor import Encoded
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Entry
from lossd_server.queue.time_slices import PARKED, Work
from lossd_server.requests.decode import parse
from lossd_server.requests.messages import bare
from lossd_server.requests.reader import Reader
from lossd_server.requests.validate import RequestLimits
from lossd_server.service.requests import Request, Requests, UnaryRequests

# Requests of one message, or of one turn, that are read before they are submitted, and the most of them that may then be queued:
# enough to fill batches, and few enough that the same caller's next request waits for a few milliseconds at most.
_WINDOW = 256
_MAX_KEYS = 64  # each key is a batch of its own
_FEW = 64
_WINDOW_AS_ONE = 1024  # of requests that are read and computed as one

# Requests of one message that are searched at a time for those that can be read as one.
_TOGETHER = 1024

# Larger requests are read on a thread of their own: to check the values of 8 MiB may take longer than a slice, and of 64 MiB 130 ms.
_LARGE_BYTES = 8 << 20

# Unary requests of one caller that are scored together with other callers' requests of the same turn. Further ones take turns.
_WITH_OTHERS = 64


class Service:
    """LossService on bytes, and the scoring path of the other RPCs."""

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
        self.admission = admission
        self._reader = Reader(limits)
        self._large_reader = Reader(limits)  # for the thread: a reader belongs to one
        self._large_requests = ThreadPoolExecutor(1, "lossd-reader")
        self.max_request_bytes = max_request_bytes
        self._info = info

    async def score(self, spec: LossSpec, message: Encoded, *, deadline: float | None = None, caller: str = "") -> bytes:
        """Returns the LossResponse to one loss request. `deadline` is on the dispatcher's clock. Raises CallError."""
        with self.reserve(len(message), caller) as hold:
            request = _Awaited(spec, message, deadline, caller, hold)
            self.score_together([request])
            try:
                return await request.response
            finally:
                request.code = "CANCELLED"
                if request.cancel is not None:
                    request.cancel()

    def score_together(self, requests: Sequence[Request]) -> None:
        """Answers unary requests, of any losses, that arrived in one turn: some before this returns, the others later."""
        if len(requests) == 1:
            self.start(UnaryRequests(self._dispatcher, requests))
            return
        by_loss: dict[str, list[Request]] = {}
        for request in requests:
            by_loss.setdefault(request.spec.rpc, []).append(request)
        for group in by_loss.values():
            for part in _shared_fairly(group) if len(group) > _WITH_OTHERS else (group,):
                self.start(UnaryRequests(self._dispatcher, part))

    def start(self, requests: Requests) -> None:
        """Begins to score requests, within this turn's slice. Each is answered once, unless nobody waits for it any more."""
        if len(requests.indices) == 1 and len(requests.messages[requests.indices[0]]) <= _LARGE_BYTES:
            entry = self._read(requests, requests.indices[0])
            if entry is not None:
                self._compute_or_queue(requests, [entry])
        else:
            requests.work = self._score(requests)
            self._dispatcher.slices.start(requests.work, requests.caller)

    async def get_server_info(self, message: Encoded, **_: object) -> bytes:
        """Versions, devices, losses and limits."""
        parse("GetServerInfoRequest", message)
        return self._info.SerializeToString()

    def drain(self) -> None:
        """From now on new calls fail with ShuttingDown; calls accepted before complete."""
        self.admission.draining = True

    def close(self) -> None:
        """Ends the thread that reads large requests."""
        self._large_requests.shutdown(wait=False, cancel_futures=True)

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self.admission.draining

    def reserve(self, nbytes: int, caller: str) -> Hold:
        """Counts a message until its hold is released, after its answer. Raises ShuttingDown, RequestTooLarge or InFlightFull."""
        if nbytes > self.max_request_bytes:
            raise request_too_large(nbytes, self.max_request_bytes)
        return self.admission.reserve(nbytes, caller)

    # Implementation details follow.

    def _score(self, requests: Requests) -> Work:
        """Reads a few requests one by one; templates learned from them may let the others be read as one."""
        left, some = requests.indices, _FEW
        while left := (yield from self._score_as_one(requests, left)):
            entries: list[Entry] = []
            keys: set[Hashable] = set()
            read = 0
            while read < min(some, len(left)) and len(keys) < _MAX_KEYS:
                index = left[read]
                is_large = len(requests.messages[index]) > _LARGE_BYTES
                entry = (yield from self._read_beside(requests, index)) if is_large else self._read(requests, index)
                if entry is not None:
                    entries.append(entry)
                    keys.add(entry.call.key)
                read += 1
                yield None
            self._compute_or_queue(requests, entries)
            yield from self._wait_for_the_queue(requests, _WINDOW if len(keys) < _MAX_KEYS else _MAX_KEYS)
            left, some = left[read:], min(2 * some, _WINDOW)

    def _score_as_one(self, requests: Requests, indices: Sequence[int]) -> Generator[str | None, None, Sequence[int]]:
        """Scores requests that differ only in their values as one call, and returns the indices of the others.

        Stops at the first requests that have nothing in common with those that were read before: later ones are tried again then.
        """
        if len(indices) < 2 or not (self._dispatcher.computes_now or requests.queue_as_one):
            return indices
        scored: set[int] = set()
        for start in range(0, len(indices), _TOGETHER):
            before = len(scored)
            timely = requests.timely(indices[start : start + _TOGETHER], self._dispatcher.now())
            try:
                for found, call in self._reader.read_together(requests.messages, timely, requests.spec):
                    requests.accept(found, call)
                    outcome = self._dispatcher.compute_now(call, requests.deadline)
                    if outcome is None and not requests.queue_as_one:
                        continue
                    scored.update(found)
                    if outcome is None:
                        requests.queue(found, call)
                    else:
                        requests.answer(found, outcome)
                    yield None
                    yield from self._wait_for_the_queue(requests, _WINDOW_AS_ONE)
            except CallError:
                pass  # each request is then tried by itself, so that only the one at fault fails
            except Exception as error:  # noqa: BLE001 - each request is then tried by itself
                unexpected("read_together", requests.caller, error)
            yield None
            if len(scored) == before:
                break
        return [index for index in indices if index not in scored] if scored else indices

    def _wait_for_the_queue(self, requests: Requests, window: int) -> Work:
        while requests.queued_count >= window:
            requests.resume_at(window // 2, lambda: self._dispatcher.slices.resume(requests.work, requests.caller))
            yield PARKED

    def _read(self, requests: Requests, index: int, done: "Future[Call] | None" = None) -> Entry | None:
        """The call of a request; None if the request was answered with an error. `done` is given if another thread has read it."""
        message, requests.messages[index] = requests.messages[index], b""
        try:
            deadline, caller = requests.terms(index)
            call = _call(self._reader, requests.spec, message, caller) if done is None else done.result()
            requests.accept((index,), call)
            if call.answer_bytes:
                requests.make_room(index, call.answer_bytes)
        except CallError as error:
            requests.answer((index,), bare(error))
        except Exception as error:  # noqa: BLE001 - internals must not leak to the caller, and the other requests must go on
            requests.answer((index,), unexpected(requests.spec.rpc if requests.spec else "LossCall", requests.caller, error))
        else:
            return Entry(index, call, deadline, caller)
        return None

    def _read_beside(self, requests: Requests, index: int) -> Generator[str | None, None, Entry | None]:
        """As `_read`, on another thread, while the event loop serves others: numpy releases the GIL while it reads large tensors."""
        message, requests.messages[index] = requests.messages[index], b""
        loop = asyncio.get_running_loop()

        def resume(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._dispatcher.slices.resume, requests.work, requests.caller)

        done = self._large_requests.submit(_call, self._large_reader, requests.spec, message, requests.caller)
        done.add_done_callback(resume)
        yield PARKED
        return self._read(requests, index, done)

    def _compute_or_queue(self, requests: Requests, entries: list[Entry]) -> None:
        if len(entries) == 1:
            (entry,) = entries
            outcome = self._dispatcher.compute_now(entry.call, entry.deadline)
            if outcome is not None:
                requests.answer((entry.index,), outcome)
                return
        if entries:
            try:
                requests.submit(entries)
            except Exception as error:  # noqa: BLE001 - otherwise the callers would wait for ever
                failure = unexpected("submit", requests.caller, error)
                for entry in entries:
                    requests.answer((entry.index,), failure)


def _call(reader: Reader, spec: LossSpec | None, message: Encoded, caller: str) -> Call:
    return reader.read_call(message, caller) if spec is None else reader.read(spec, message)


def _shared_fairly(requests: list[Request]) -> Iterable[list[Request]]:
    """Requests of several callers, of each of them a few; what a caller has sent beyond that comes apart."""
    if len({request.caller for request in requests}) == 1:
        return (requests,)
    counts: Counter[str] = Counter()
    parts: dict[str, list[Request]] = {}
    for request in requests:
        counts[request.caller] += 1
        parts.setdefault(request.caller if counts[request.caller] > _WITH_OTHERS else "", []).append(request)
    return parts.values()


class _Awaited:
    """A unary request whose answer is awaited."""

    def __init__(self, spec: LossSpec, message: Encoded, deadline: float | None, caller: str, hold: Hold) -> None:
        self.spec = spec
        self.message = message
        self.deadline = deadline
        self.caller = caller
        self.hold: Hold | None = hold
        self.cancel: Callable[[], object] | None = None
        self.code = ""
        self.response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def answer(self, outcome: bytes | CallError) -> None:
        self.cancel = None
        if self.response.done():
            return
        if isinstance(outcome, CallError):
            self.response.set_exception(outcome)
        else:
            self.response.set_result(outcome)
