# SPDX-License-Identifier: Apache-2.0
"""EvaluationService on bytes: many calls at once. ScoreBatch is here; ScoreStream and Evaluate have modules of their own."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from lossd_server.admission import Hold
from lossd_server.call import Outcome
from lossd_server.errors import ResponseTooLarge
from lossd_server.losses.tensor import Encoded
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.requests.messages import OUTCOME_BYTES, overhead_bytes, split
from lossd_server.service import responses
from lossd_server.service.evaluate import Evaluation
from lossd_server.service.requests import Requests
from lossd_server.service.score_stream import ScoreStream
from lossd_server.service.scoring import Service
from lossd_server.service.streams import MessageStream, Output, Read, StreamRequests

_OUTCOMES: Final = b"\x0a"  # ScoreBatchResponse.outcomes = 1


class EvaluationService:
    """See the module. Belongs to one event loop. Every failure of an RPC is a CallError."""

    def __init__(
        self,
        service: Service,
        dispatcher: Dispatcher,
        *,
        max_response_bytes: int,
    ) -> None:
        self._service = service
        self._dispatcher = dispatcher
        self._max_response_bytes = max_response_bytes
        self._streams: set[MessageStream] = set()
        self._evaluating: set[StreamRequests] = set()

    async def score_batch(self, message: Encoded, *, deadline: float | None = None, caller: str = "", hold: Hold | None = None) -> bytes:
        """Returns the ScoreBatchResponse to a ScoreBatchRequest: an outcome for each call, in the order of the calls.

        Calls get room in the response in their order. A call whose unreduced values do not fit is not computed and takes no room:
        it is answered RESPONSE_TOO_LARGE, and a smaller call after it may still fit.
        """
        with self._service.reserve(len(message), caller) if hold is None else hold as hold:
            calls = (await self._dispatcher.slices.finish(split("ScoreBatchRequest", message), caller)).calls
            hold.grow(overhead_bytes(len(calls)))
            batch = _Batch(self._dispatcher, calls, caller, deadline, hold, self._max_response_bytes)
            self._service.start(batch)
            try:
                await batch.answered()
            finally:
                batch.close()
            response = responses.repeated(_OUTCOMES, batch.outcomes)
            _check_room(len(response), self._max_response_bytes)  # errors may be larger than the bytes counted for them
            return response

    async def score_stream(self, read: Read, output: Output, *, deadline: float | None = None, caller: str = "") -> None:
        """ScoreStream: `read` returns the next request message, or None after the last; response messages go to `output`."""
        with self._service.reserve(0, caller):  # an open stream takes memory too
            stream = ScoreStream(self._service, self._dispatcher, output, deadline=deadline, caller=caller)
            await self._while_open(stream, stream.run(read))

    async def evaluate(self, read: Read, *, deadline: float | None = None, caller: str = "") -> bytes:
        """Evaluate: `read` returns the next EvaluateRequest, or None after the last. Returns the EvaluateResponse."""
        stream = Evaluation(self._service, self._dispatcher, self._evaluating, deadline=deadline, caller=caller)
        response: bytes = await self._while_open(stream, stream.run(read))
        return response

    def drain(self) -> None:
        """Ends the streams, after Service.drain. A ScoreStream ends once every call that it had accepted is answered."""
        for stream in list(self._streams):
            stream.drain()

    # Implementation details follow.

    async def _while_open(self, stream: MessageStream, run: Awaitable[Any]) -> Any:
        self._streams.add(stream)
        try:
            return await run
        finally:
            self._streams.discard(stream)
            stream.close()


class _Batch(Requests):
    """The calls of a ScoreBatchRequest."""

    queue_as_one = True

    def __init__(
        self, dispatcher: Dispatcher, calls: list[Encoded], caller: str, deadline: float | None, hold: Hold, max_response_bytes: int
    ) -> None:
        super().__init__(dispatcher, None, calls, caller)
        self.deadline = deadline
        self.outcomes: list[bytes] = [b""] * len(calls)  # encoded LossOutcomes
        self._hold = hold
        self._max_response_bytes = max_response_bytes
        self._response_bytes = OUTCOME_BYTES * len(calls)
        self._unanswered = len(calls)
        self._all_answered: asyncio.Future[None] | None = None

    async def answered(self) -> None:
        """Returns once every call has its outcome."""
        if self._unanswered:
            self._all_answered = asyncio.get_running_loop().create_future()
            await self._all_answered

    def answer(self, indices: Sequence[int], outcome: Outcome) -> None:
        """See Requests."""
        for index, encoded in zip(indices, responses.outcomes(outcome, len(indices)), strict=True):
            self.outcomes[index] = encoded
        self._unanswered -= len(indices)
        if not self._unanswered and self._all_answered is not None and not self._all_answered.done():
            self._all_answered.set_result(None)

    def make_room(self, index: int, nbytes: int) -> None:
        """See Requests."""
        _check_room(self._response_bytes + nbytes, self._max_response_bytes)
        self._hold.grow(nbytes)
        self._response_bytes += nbytes


def _check_room(nbytes: int, max_bytes: int) -> None:
    if nbytes > max_bytes:
        raise ResponseTooLarge(
            f"the responses of the message take {nbytes} bytes; {max_bytes} are allowed: send fewer calls in one",
            limit=max_bytes,
            actual=nbytes,
        )
