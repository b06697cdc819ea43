# SPDX-License-Identifier: Apache-2.0
"""The ScoreStream that the tasks of an AsyncClient share. The Outbox decides what is sent when."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import grpc

from lossd._calls import Encoded
from lossd._errors import DeadlineError, ErrorDetails, closed_error
from lossd._outbox import Alone, Outbox


class TaskStream:
    """The first call opens the stream; if it breaks, the next call reopens it. `open_rpc` starts the RPC. Use on one event loop."""

    def __init__(self, open_rpc: Callable[[], Any]) -> None:
        self._open_rpc = open_rpc
        self._outbox: Outbox[asyncio.Future[Any]] = Outbox()
        self._filled = asyncio.Event()
        self._session: asyncio.Task[None] | None = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None  # one timer for all calls; none of them has an earlier deadline
        self._expires_at = math.inf

    async def score(self, call: Encoded, deadline: float | None) -> Any:
        """The LossResponse twin of a call. Raises LossdError, or Alone."""
        if self._closed:
            raise closed_error()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        id_ = self._outbox.add(future, call, deadline)
        self._filled.set()
        if self._session is None:
            self._session = loop.create_task(self._run(), name="lossd-stream")
        if deadline is not None and deadline < self._expires_at:
            self._expire_at(deadline)
        try:
            return await future
        finally:
            self._outbox.cancel(id_)  # does nothing if the call was answered
            if self._outbox:
                self._filled.set()

    async def close(self) -> None:
        """Ends the stream; calls in flight raise CallCancelledError."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for future in self._outbox.clear():
            _settle(future, closed_error())
        if self._session is not None:
            self._session.cancel()
            await asyncio.wait([self._session])

    # Implementation details follow.

    def _expire_at(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._expires_at = deadline
        self._timer = asyncio.get_running_loop().call_later(max(0.0, deadline - time.monotonic()), self._expire)

    def _expire(self) -> None:
        now, later = time.monotonic(), math.inf
        for deadline, future in self._outbox.deadlines():
            if deadline <= now:
                _settle(future, DeadlineError(ErrorDetails("DEADLINE_EXCEEDED", "no answer within the call's timeout")))
            else:
                later = min(later, deadline)
        self._timer, self._expires_at = None, math.inf
        if later < math.inf:
            self._expire_at(later)

    async def _run(self) -> None:
        """One RPC, from start to end."""
        try:
            rpc = self._open_rpc()
            writer = asyncio.create_task(self._write(rpc), name="lossd-stream-writer")
            try:
                async for message in rpc:
                    for future, outcome in self._outbox.answer(message):
                        _settle(future, outcome)
                    if self._outbox:
                        self._filled.set()
            finally:
                writer.cancel()
                rpc.cancel()
        except grpc.RpcError:
            pass  # each call is made again as a unary RPC, which raises its own error
        finally:
            self._session = None
            for future in self._outbox.clear():
                _settle(future, Alone())

    async def _write(self, rpc: Any) -> None:
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._outbox:
                    await rpc.write(self._outbox.take(time.monotonic()))
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the RPC has ended, and its reader handles that
        finally:
            rpc.cancel()


def _settle(future: "asyncio.Future[Any]", outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
