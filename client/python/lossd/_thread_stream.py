# SPDX-License-Identifier: Apache-2.0
"""The ScoreStream that the threads of a Client share. The Outbox decides what is sent when."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from lossd._calls import Encoded
from lossd._errors import DeadlineError, ErrorDetails, closed_error
from lossd._outbox import Alone, Outbox


class ThreadStream:
    """The first call opens the stream; if it breaks, the next call reopens it. `open_rpc` starts the RPC, given an iterator of messages."""

    def __init__(self, open_rpc: Callable[[Iterator[bytes]], Any]) -> None:
        self._open_rpc = open_rpc
        self._changed = threading.Condition()
        self._outbox: Outbox[_Waiter] = Outbox()
        self._session: _Session | None = None
        self._closed = False

    def score(self, call: Encoded, deadline: float | None) -> Any:
        """The LossResponse twin of a call. Raises LossdError, or Alone."""
        waiter = _Waiter()
        with self._changed:
            if self._closed:
                raise closed_error()
            if self._session is None:
                self._session = self._open()
            id_ = self._outbox.add(waiter, call, deadline)
            self._changed.notify()
        try:
            left = -1.0 if deadline is None else min(threading.TIMEOUT_MAX, max(0.0, deadline - time.monotonic()))
            answered = waiter.answered.acquire(timeout=left)
        except BaseException:  # KeyboardInterrupt
            self._forget(id_)
            raise
        if not answered:
            self._forget(id_)
            raise DeadlineError(ErrorDetails("DEADLINE_EXCEEDED", "no answer within the call's timeout"))
        if isinstance(waiter.outcome, Exception):
            raise waiter.outcome
        return waiter.outcome

    def close(self) -> None:
        """Ends the stream; calls in flight raise CallCancelledError."""
        with self._changed:
            self._closed = True
            session, self._session = self._session, None
            waiters = self._outbox.clear()
            if session is not None:
                session.ended = True
            self._changed.notify_all()
        for waiter in waiters:
            waiter.answer(closed_error())
        if session is not None:
            session.rpc.cancel()
            session.reader.join()

    # Implementation details follow.

    def _open(self) -> "_Session":
        session = _Session()
        session.rpc = self._open_rpc(self._messages(session))
        session.reader = threading.Thread(target=self._read, args=(session,), name="lossd-stream", daemon=True)
        session.reader.start()
        return session

    def _messages(self, session: "_Session") -> Iterator[bytes]:
        """The messages that gRPC sends. gRPC asks for the next message once it has sent the previous one."""
        while True:
            with self._changed:
                while not (session.ended or self._outbox):
                    self._changed.wait()
                if session.ended:
                    return
                message = self._outbox.take(time.monotonic())
            yield message

    def _read(self, session: "_Session") -> None:
        try:
            for message in session.rpc:
                with self._changed:
                    answers = self._outbox.answer(message)
                    if self._outbox:
                        self._changed.notify()
                for waiter, outcome in answers:
                    waiter.answer(outcome)
        except grpc.RpcError:
            pass  # each call is made again as a unary RPC, which raises its own error
        finally:
            with self._changed:
                session.ended = True
                waiters = []
                if self._session is session:
                    self._session = None
                    waiters = self._outbox.clear()
                self._changed.notify_all()
            for waiter in waiters:
                waiter.answer(Alone())

    def _forget(self, id_: int) -> None:
        with self._changed:
            self._outbox.cancel(id_)
            self._changed.notify()


class _Session:
    """One RPC."""

    __slots__ = ("ended", "reader", "rpc")

    def __init__(self) -> None:
        self.ended = False
        self.rpc: Any = None
        self.reader: Any = None


class _Waiter:
    """A thread that waits for an answer."""

    __slots__ = ("answered", "outcome")

    def __init__(self) -> None:
        self.answered = threading.Lock()
        self.answered.acquire()
        self.outcome: Any = None

    def answer(self, outcome: Any) -> None:
        self.outcome = outcome
        self.answered.release()
