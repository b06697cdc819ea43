# SPDX-License-Identifier: Apache-2.0
"""ScoreStream: calls come with ids, and outcomes return in any order.

There is no timer: whenever the writer is free, it takes everything that has been settled, as one message.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from lossd_server.admission import Hold
from lossd_server.call import Call, Outcome
from lossd_server.errors import CallError, HyperparameterOutOfRange, IdInUse, Unavailable
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import Submission
from lossd_server.requests.messages import CALL_BYTES, bare, parse_many
from lossd_server.service import responses
from lossd_server.service.scoring import Service, shutting_down
from lossd_server.service.streams import Message, MessageStream, Read

# A response message is closed when it has so many bytes, so that any client's limit on messages (4 MiB by default) admits it,
# unless one outcome alone is larger.
MAX_MESSAGE_BYTES: Final = 1 << 20

_OUTCOMES: Final = b"\x0a"  # ScoreStreamResponse.outcomes = 1
_ID: Final = b"\x08"  # StreamOutcome.id = 1
_OUTCOME: Final = b"\x12"  # StreamOutcome.outcome = 2

# A call: its message, its index there, its id.
_Entry = tuple[Message, int, int]


class ScoreStream(MessageStream):
    """One RPC. An id is in use from its call's arrival until the message that answers it is made, or it is cancelled."""

    def __init__(
        self,
        service: Service,
        dispatcher: Dispatcher,
        *,
        clock: Callable[[], float],
        deadline: float | None,
        caller: str,
    ) -> None:
        super().__init__(service, dispatcher, deadline=deadline, caller=caller)
        self._clock = clock
        self._live: dict[int, _Entry] = {}
        self._settled: deque[tuple[_Entry, Outcome | bytes]] = deque()  # bytes: an encoded LossOutcome

    async def run(self, read: Read, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Until every message was received and every call answered. Raises CallError: ShuttingDown at a drain, earlier."""
        self._start_reading(read)
        while True:
            if self._settled:
                response, sent = self._take()
                if response:
                    await write(response)
                for message in sent:
                    message.remaining -= 1
                    if not message.remaining:
                        self._let_go(message)
            elif self._at_end and not self._messages:
                return
            elif self._service.draining and not self._messages:
                raise shutting_down()
            else:
                await self._wait()

    # Implementation details follow.

    async def _receive(self, message: bytes) -> None:
        now = self._clock()
        envelope = parse_many("ScoreStreamRequest", message)
        for id_ in envelope.cancelled_ids:
            entry = self._live.pop(id_, None)
            if entry is not None:
                self._dispatcher.cancel(entry[0].submission, entry[1])
        envelopes = envelope.calls
        if not envelopes:
            return
        held_bytes = len(message) + CALL_BYTES * len(envelopes)
        try:
            hold = self._admit(message, CALL_BYTES * len(envelopes))
        except Unavailable as error:
            refusal = bare(error)
            batch, _, new = self._begin(envelopes, None, held_bytes)
            for index in new:
                batch.submission.settle(index, refusal)
            return
        batch, entries, new = self._begin(envelopes, hold, held_bytes)
        submission = batch.submission
        if len(new) > 1 and self._dispatcher.idle:
            new = self._score_as_one(envelopes, entries, new)
        calls: list[tuple[int, Call]] = []
        deadlines: dict[int, float] = {}
        for index in new:
            stream_call = envelopes[index]
            try:
                call = self._service.reader.read_call(stream_call.call, self._caller)
                if stream_call.HasField("timeout_seconds"):
                    deadline = now + _timeout(stream_call.timeout_seconds)
                    if deadline < (math.inf if self._deadline is None else self._deadline):
                        deadlines[index] = deadline
                answer_bytes = call.answer_bytes
                if answer_bytes:
                    hold.grow(answer_bytes)
                    self._add(batch, answer_bytes)
            except CallError as error:
                submission.settle(index, bare(error))
            else:
                calls.append((index, call))
        self._dispatcher.submit(submission, calls, deadline=self._deadline, deadlines=deadlines, caller=self._caller)

    def _score_as_one(self, envelopes: Any, entries: list[_Entry], new: list[int]) -> list[int]:
        """Answers those calls that can be computed as one, at once, and returns the indices of the others."""
        timely = [index for index in new if not envelopes[index].HasField("timeout_seconds") or envelopes[index].timeout_seconds > 0]
        answered: set[int] = set()
        for chosen, call in self._service.reader.read_together([envelopes[index].call for index in timely]):
            outcome = self._dispatcher.compute_now(call, self._deadline)
            if outcome is not None:
                for position, encoded in zip(chosen, responses.outcomes(outcome, len(chosen)), strict=True):
                    answered.add(timely[position])
                    self._settled.append((entries[timely[position]], encoded))
        if answered:
            self.wake()
        return [index for index in new if index not in answered]

    def _admit(self, message: bytes, call_bytes: int) -> Hold:
        hold = self._service.admit(len(message), self._caller)
        try:
            hold.grow(call_bytes)
        except CallError:
            hold.release()
            raise
        return hold

    def _begin(self, envelopes: Any, hold: Hold | None, held_bytes: int) -> tuple[Message, list[_Entry], list[int]]:
        """The message, kept, its calls, and the indices of those whose ids were free; the others are settled."""
        entries: list[_Entry] = []
        count = len(envelopes)
        submission = Submission(count, partial(self._on_outcome, entries))
        message = Message(hold, held_bytes, submission, count)
        self._keep(message)
        live = self._live
        new: list[int] = []
        for index, envelope in enumerate(envelopes):
            id_ = envelope.id
            entry = (message, index, id_)
            entries.append(entry)
            if id_ in live:
                submission.settle(index, IdInUse("id", f"{id_} is the id of a call that is not answered yet"))
            else:
                live[id_] = entry
                new.append(index)
        return message, entries, new

    def _on_outcome(self, entries: list[_Entry], index: int, outcome: Outcome) -> None:
        self._settled.append((entries[index], outcome))
        self._changed.set()

    def _take(self) -> tuple[bytes, list[Message]]:
        """Everything that is settled, as one message (empty: nobody waits for any of it), and the messages of each call."""
        parts: list[bytes] = []
        settled, live = self._settled, self._live
        done: list[Message] = []
        nbytes = 0
        while settled:
            entry, outcome = settled[0]
            message, _, id_ = entry
            answered = live.get(id_) is entry or isinstance(outcome, IdInUse)
            if answered:
                encoded = outcome if isinstance(outcome, bytes) else responses.outcome(outcome)
                part = b"".join((_ID, responses.varint(id_), _OUTCOME, responses.varint(len(encoded)), encoded))
                nbytes += len(part)
                if nbytes > MAX_MESSAGE_BYTES and parts:
                    break
                parts.append(part)
                if live.get(id_) is entry:
                    del live[id_]
            settled.popleft()
            done.append(message)
        return responses.repeated(_OUTCOMES, parts), done


def _timeout(seconds: float) -> float:
    if math.isnan(seconds):
        raise HyperparameterOutOfRange("timeout_seconds", "is nan; it must be a number")
    return seconds
