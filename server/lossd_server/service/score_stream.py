# SPDX-License-Identifier: Apache-2.0
"""ScoreStream: calls have ids, and outcomes return in any order.

There is no timer: all outcomes of one turn of the event loop are sent as one message, unless the client has yet to take an
earlier message.
"""

import asyncio
import math
from collections import deque
from collections.abc import Generator, Sequence
from typing import Final

from lossd_server.admission import Hold
from lossd_server.call import Outcome
from lossd_server.errors import CallError, Cancelled, HyperparameterOutOfRange, IdInUse, Unavailable
from lossd_server.losses.tensor import Encoded
from lossd_server.queue.dispatcher import Dispatcher
from lossd_server.queue.submission import cancelled
from lossd_server.queue.time_slices import Work
from lossd_server.requests.messages import Apart, bare, overhead_bytes, split
from lossd_server.requests.protobuf import encoded_varint
from lossd_server.service import responses
from lossd_server.service.scoring import Service
from lossd_server.service.streams import MessageStream, Output, Read, StreamRequests

# A response message has at most this many bytes, unless one outcome alone is larger: some thousand outcomes, which take the event
# loop about a slice, and far less than any client's limit on messages (4 MiB by default).
MAX_MESSAGE_BYTES: Final = 256 << 10

_IDS_IN_A_STEP: Final = 64

_OUTCOMES: Final = b"\x0a"  # ScoreStreamResponse.outcomes = 1
_ID: Final = b"\x08"  # StreamOutcome.id = 1
_OUTCOME: Final = b"\x12"  # StreamOutcome.outcome = 2


class ScoreStream(MessageStream):
    """One RPC. An id is in use from its call's arrival until the message that answers the call is made, or the call is cancelled."""

    def __init__(
        self,
        service: Service,
        dispatcher: Dispatcher,
        output: Output,
        *,
        deadline: float | None,
        caller: str,
    ) -> None:
        super().__init__(service, dispatcher, deadline=deadline, caller=caller)
        self._output = output
        self._live: dict[int, tuple[_Calls, int]] = {}  # by id: the message of the call that has it, and the call's index there
        self._answered: deque[tuple[_Calls, int, bytes]] = deque()  # calls and their encoded LossOutcomes
        self._sent: list[_Calls] = []  # one entry for each call whose answer waits for the client to take it
        self._sending = False  # `_send` will be called

    async def run(self, read: Read) -> None:
        """Returns once every message was received and every call answered. Raises CallError, such as ShuttingDown at a drain."""
        self._output.on_drained = self._drained
        await self._read_all(read)

    def close(self) -> None:
        """As MessageStream.close."""
        self._live.clear()
        self._answered.clear()
        super().close()

    # Implementation details follow.

    async def _receive(self, message: Encoded, hold: Hold) -> None:
        now = self._dispatcher.now()
        apart = await self._slices.finish(split("ScoreStreamRequest", message, "id", "timeout_seconds"), self._caller)
        if apart.cancelled_ids:
            await self._slices.finish(self._cancel(apart.cancelled_ids), self._caller)
        if not apart.calls:
            hold.release()
            return
        nbytes = len(message) + overhead_bytes(len(apart.calls))
        refusal: CallError | None = None
        try:
            hold.reach(nbytes)
        except Unavailable as error:
            refusal = bare(error)
        calls = _Calls(self, apart, hold, nbytes, now)
        self._keep(calls)
        calls.indices = await self._slices.finish(self._claim_ids(calls), self._caller)
        if refusal is None:
            self._service.start(calls)
        else:
            calls.answer(calls.indices, refusal)

    def _cancel(self, ids: Sequence[int]) -> Work:
        for position, id_ in enumerate(ids):
            entry = self._live.pop(id_, None)
            if entry is not None:
                entry[0].cancel(entry[1])
            if not position % _IDS_IN_A_STEP:
                yield None

    def _claim_ids(self, calls: "_Calls") -> Generator[None, None, list[int]]:
        """Returns the indices of the calls whose ids were free. The others are answered."""
        live = self._live
        claimed: list[int] = []
        for index, id_ in enumerate(calls.ids):
            if id_ in live:
                calls.answer((index,), IdInUse("id", f"{id_} is the id of a call that is not answered yet"))
            else:
                live[id_] = (calls, index)
                claimed.append(index)
            if not index % _IDS_IN_A_STEP:
                yield
        return claimed

    def _send_soon(self) -> None:
        """Sends all outcomes of this turn of the event loop as one message."""
        if not self._sending:
            self._sending = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._sending = False
        if not self._answered or self._output.full:
            return
        response, answered = self._take()
        try:
            if response:
                self._output.send(response)
        except CallError:  # the client is gone
            return
        self._sent += answered
        if not self._output.full:
            self._drained()

    def _drained(self) -> None:
        sent, self._sent = self._sent, []
        for message in sent:
            message.remaining -= 1
            if not message.remaining:
                self._let_go(message)
        if self._answered:
            self._send_soon()

    def _take(self) -> tuple[bytes, "list[_Calls]"]:
        """The outcomes so far as one message, empty if nobody waits for any of them; and for each outcome the message of its call."""
        parts: list[bytes] = []
        answered, live = self._answered, self._live
        done: list[_Calls] = []
        nbytes = 0
        while answered:
            calls, index, encoded = answered[0]
            id_ = calls.ids[index]
            is_live = live.get(id_) == (calls, index)
            if is_live or index in calls.refused:
                part = b"".join((_ID, encoded_varint(id_), _OUTCOME, encoded_varint(len(encoded)), encoded))
                nbytes += len(part)
                if nbytes > MAX_MESSAGE_BYTES and parts:
                    break
                parts.append(part)
                if is_live:
                    del live[id_]
            answered.popleft()
            done.append(calls)
        return responses.repeated(_OUTCOMES, parts), done


class _Calls(StreamRequests):
    """The calls of one message. Calls in `refused` never held their id, which another call has."""

    def __init__(self, stream: ScoreStream, apart: Apart, hold: Hold, held_bytes: int, now: float) -> None:
        super().__init__(stream._dispatcher, None, apart.calls, stream._caller)
        self.hold = hold
        self.held_bytes = held_bytes
        self.remaining = len(apart.calls)
        self.ids = apart.around["id"]
        self.refused: set[int] = set()
        self.deadline = stream._deadline
        self._deadlines = {index: now + seconds for index, seconds in enumerate(apart.around["timeout_seconds"]) if seconds is not None}
        self._stream = stream

    def answer(self, indices: Sequence[int], outcome: Outcome) -> None:
        """See Requests."""
        if isinstance(outcome, IdInUse):
            self.refused.update(indices)
        stream = self._stream
        if isinstance(outcome, Cancelled) and not any(map(self._is_live, indices)):
            encoded_outcomes = [b""] * len(indices)  # nobody waits for them
        else:
            encoded_outcomes = responses.outcomes(outcome, len(indices))
        for index, encoded in zip(indices, encoded_outcomes, strict=True):
            stream._answered.append((self, index, encoded))
        stream._send_soon()

    def timely(self, indices: Sequence[int], now: float) -> Sequence[int]:
        """See Requests."""
        indices, deadlines = super().timely(indices, now), self._deadlines
        return [i for i in indices if deadlines.get(i, math.inf) > now and self._is_live(i)]

    def terms(self, index: int) -> tuple[float | None, str]:
        """See Requests."""
        if not self._is_live(index):
            raise cancelled()
        deadline = self._deadlines.get(index)
        if deadline is None:
            return self.deadline, self.caller
        if math.isnan(deadline):
            raise HyperparameterOutOfRange("timeout_seconds", "is nan; it must be a number")
        return deadline if self.deadline is None else min(deadline, self.deadline), self.caller

    def make_room(self, index: int, nbytes: int) -> None:
        """See Requests."""
        self.hold.grow(nbytes)
        self._stream._add(self, nbytes)

    def _is_live(self, index: int) -> bool:
        return self._stream._live.get(self.ids[index]) == (self, index)
