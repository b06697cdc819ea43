# SPDX-License-Identifier: Apache-2.0
"""EvaluationService on bytes: many calls at once. No gRPC here, so that any front can stand before it.

All calls of a message are submitted together before the device is asked, so they share batches with each other and with
whatever else is queued. A message has one submission, one hold and at most one future, however many calls it holds.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from lossd_server.admission import Hold
from lossd_server.call import Call
from lossd_server.errors import CallError, ResponseTooLarge
from lossd_server.losses.tensor import Encoded
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Submission
from lossd_server.requests.messages import CALL_BYTES, OUTCOME_BYTES, bare, parse_many
from lossd_server.service import responses
from lossd_server.service.evaluate import Evaluation
from lossd_server.service.score_stream import ScoreStream
from lossd_server.service.scoring import Service
from lossd_server.service.streams import MessageStream, Read

Write = Callable[[bytes], Awaitable[None]]

_OUTCOMES: Final = b"\x0a"  # ScoreBatchResponse.outcomes = 1


class EvaluationService:
    """See the module. Belongs to one event loop. Every failure of an RPC is a CallError."""

    def __init__(
        self,
        service: Service,
        dispatcher: Dispatcher,
        *,
        max_response_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is the dispatcher's; all deadlines are on it."""
        self._service = service
        self._dispatcher = dispatcher
        self._max_response_bytes = max_response_bytes
        self._clock = clock
        self._streams: set[MessageStream] = set()

    async def score_batch(self, message: Encoded, *, deadline: float | None = None, caller: str = "", hold: Hold | None = None) -> bytes:
        """A ScoreBatchRequest to a ScoreBatchResponse: an outcome for each call, in their order.

        Room in the response is given to the calls in their order. Unreduced values that find none left are not computed, and
        take none: their call is answered RESPONSE_TOO_LARGE, and a smaller one behind it may still fit.
        """
        with self._service.admit(len(message), caller) if hold is None else hold as hold:
            messages = list(parse_many("ScoreBatchRequest", message).calls)
            hold.grow(CALL_BYTES * len(messages))
            outcomes: list[bytes] = [b""] * len(messages)
            units: list[list[int]] = []  # the messages of each call
            calls: list[Call] = []
            for indices, call in self._service.reader.read_together(messages):
                units.append(indices)
                calls.append(call)
            together = {index for indices in units for index in indices}
            used_bytes = OUTCOME_BYTES * len(messages)
            for index, encoded in enumerate(messages):
                if index in together:
                    continue
                try:
                    call = self._service.reader.read_call(encoded, caller)
                    answer_bytes = call.answer_bytes
                    if answer_bytes:
                        self._check_room(used_bytes + answer_bytes)
                        hold.grow(answer_bytes)
                        used_bytes += answer_bytes
                except CallError as error:
                    outcomes[index] = responses.outcome(bare(error))
                else:
                    units.append([index])
                    calls.append(call)
            del messages
            submission = Submission(len(units))
            self._dispatcher.submit(submission, list(enumerate(calls)), deadline=deadline, caller=caller)
            calls.clear()  # each is let go when it has its outcome
            if not submission.done:
                try:
                    await submission.wait()
                finally:
                    self._dispatcher.cancel(submission)
            for indices, outcome in zip(units, submission.outcomes, strict=True):
                assert outcome is not None
                for index, encoded in zip(indices, responses.outcomes(outcome, len(indices)), strict=True):
                    outcomes[index] = encoded
            response = responses.repeated(_OUTCOMES, outcomes)
            self._check_room(len(response))  # errors may be larger
            return response

    async def score_stream(self, read: Read, write: Write, *, deadline: float | None = None, caller: str = "") -> None:
        """ScoreStream: `read` gives the next request message, or None at their end, and `write` sends a response message."""
        with self._service.admit(0, caller):  # an open stream takes memory too
            stream = ScoreStream(self._service, self._dispatcher, clock=self._clock, deadline=deadline, caller=caller)
            await self._while_open(stream, stream.run(read, write))

    async def evaluate(self, read: Read, *, deadline: float | None = None, caller: str = "") -> bytes:
        """Evaluate: `read` gives the next EvaluateRequest, or None at their end. Returns the EvaluateResponse."""
        stream = Evaluation(self._service, self._dispatcher, deadline=deadline, caller=caller)
        response: bytes = await self._while_open(stream, stream.run(read))
        return response

    def drain(self) -> None:
        """Ends the streams, after Service.drain: those of ScoreStream when what they had accepted is answered."""
        for stream in self._streams:
            stream.wake()

    @property
    def open_streams(self) -> int:
        """Streams that have not ended."""
        return len(self._streams)

    @property
    def held_bytes(self) -> int:
        """What the streams hold: calls that are not answered and answers that are not sent."""
        return sum([stream.held_bytes for stream in self._streams])

    # Implementation details follow.

    async def _while_open(self, stream: MessageStream, run: Awaitable[Any]) -> Any:
        self._streams.add(stream)
        try:
            return await run
        finally:
            self._streams.discard(stream)
            stream.close()

    def _check_room(self, nbytes: int) -> None:
        if nbytes > self._max_response_bytes:
            raise ResponseTooLarge(
                f"the responses of the message take {nbytes} bytes; {self._max_response_bytes} are allowed: send fewer calls in one",
                limit=self._max_response_bytes,
                actual=nbytes,
            )
