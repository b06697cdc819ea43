# SPDX-License-Identifier: Apache-2.0
"""The base of both clients: the constructor's arguments, deadlines, and the retry loop."""

import math
import os
import random
import time
import warnings
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import grpc

from lossd._channel import (
    DEFAULT_TIMEOUT_SECONDS,
    MAX_MESSAGE_BYTES,
    Rotation,
    addresses,
    call_metadata,
    channel_credentials,
    channel_options,
)
from lossd._codec import UNSET, Unset
from lossd._errors import ConnectionFailedError, DeadlineError, ErrorDetails, LossdError, OverloadedError, closed_error

# Pauses between attempts of a call double each time. A random part of up to half is left out, and the server's RetryInfo is added.
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0

T = TypeVar("T")


class Foundation:
    """See the module."""

    def __init__(
        self,
        target: str | Sequence[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
        retry: bool = True,
        coalesce: bool = False,
        split: bool = True,
        tls: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        connections: int = 1,
        interceptors: Sequence[Any] = (),
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._closed = True  # until all arguments were checked
        self._arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if connections < 1:
            raise ValueError(f"connections is {connections}; it must be at least 1")
        self._targets = addresses(target) * connections
        self._credentials = channel_credentials(credentials, tls)
        self._metadata = call_metadata(token, metadata)
        self._options = channel_options(max_message_bytes, options, alone=len(self._targets) == 1)
        self._interceptors = interceptors
        self._rotation = Rotation(len(self._targets))
        self._timeout = timeout
        self._retry = retry
        self._coalesce = coalesce
        self._split = split
        self._limit = max_message_bytes
        self._pid = os.getpid()
        self._set_up()
        self._closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens its own connections. Channel credentials and most interceptors cannot be pickled; `tls=True` can."""
        if self._arguments["credentials"] is not None:
            raise TypeError("credentials cannot be pickled: make a client in each process, or use tls=True")
        return _connect, (type(self), self._arguments)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {type(self).__name__}; use it in a with statement, or close it", ResourceWarning, stacklevel=2)

    # Implementation details follow: first what differs between the clients, then what they share.

    def _set_up(self) -> None:
        """Completes the constructor."""
        raise NotImplementedError

    async def _sleep(self, seconds: float) -> None:
        """Waits. May return early if the client is closed meanwhile."""
        raise NotImplementedError

    async def _retried(
        self, attempt: Callable[[float | None], Coroutine[Any, Any, T]], deadline: float | None, retry: bool | None = None
    ) -> T:
        """Calls `attempt` until it does not fail with ConnectionFailedError or OverloadedError, and returns its result.

        All RPCs are idempotent. Raises the error at once if the next attempt would come after the deadline. `attempt` takes the
        seconds that are left. `retry` overrides the client's setting.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._check_usable()
            try:
                return await attempt(remaining(deadline))
            except LossdError as error:
                if self._closed:
                    raise closed_error() from error
                if not isinstance(error, ConnectionFailedError | OverloadedError) or not (self._retry if retry is None else retry):
                    raise
                seconds = (error.details.retry_after_seconds or 0.0) + pause * random.uniform(0.5, 1.0)
                if time.monotonic() + seconds >= (math.inf if deadline is None else deadline):
                    raise
            await self._sleep(seconds)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _deadline(self, timeout: float | Unset | None) -> float | None:
        """The deadline, in time.monotonic's seconds. `timeout` is in seconds; None means no limit, and UNSET the client's timeout."""
        timeout = self._timeout if timeout is UNSET else timeout
        return None if timeout is None else time.monotonic() + timeout

    def _check_usable(self) -> None:
        if self._closed:
            raise closed_error()
        if os.getpid() != self._pid:
            name = type(self).__name__
            raise RuntimeError(f"this {name} was made before a fork; gRPC channels do not survive one: make a new {name}")


def remaining(deadline: float | None) -> float | None:
    """Seconds until the deadline, which is in time.monotonic's seconds. Raises DeadlineError if it has passed."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineError(ErrorDetails("DEADLINE_EXCEEDED", "the call's timeout has passed"))
    return left


def _connect(kind: Any, arguments: dict[str, Any]) -> Any:
    return kind(**arguments)
