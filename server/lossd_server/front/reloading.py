# SPDX-License-Identifier: Apache-2.0
"""Reloads files that change while the server runs. If the new content is wrong, the last good content stays in force.

A failed load is retried until it succeeds, whether or not the files change meanwhile: the files may be right, and the server may have
been out of descriptors. A user who can write to these files decides who may call, so files that other users can write to are logged.
"""

import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")

# Between attempts to load the same files.
_RETRY_SECONDS = 1.0

_log = structlog.get_logger("lossd.reloading")


class Reloading(Generic[T]):
    """The result of `load` for the current files. `load` raises ValueError, whose text names no path, if they are wrong. The
    constructor passes the error on; later errors are logged, once for each change of the files or of the error.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        load: Callable[[], T],
        *,
        interval_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` identifies the files in the log. A call of `value` checks the files, at most once in an interval."""
        self._name = name
        self._paths = paths
        self._load = load
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._failed_stamps: object = None  # of the last load, if it failed
        self._failure = ""
        self._retry_at = 0.0
        self._stamps = self._stat()
        self._value = load()
        self._looked_at = clock()
        self._warn()

    def value(self) -> T:
        """The last good content."""
        now = self._clock()
        if now - self._looked_at >= self._interval_seconds:
            self._looked_at = now
            self._look(now)
        return self._value

    # Implementation details follow.

    def _look(self, now: float) -> None:
        stamps = self._stat()
        if stamps == self._stamps or (stamps == self._failed_stamps and now < self._retry_at):
            return
        try:
            self._value = self._load()
        except ValueError as error:
            if stamps != self._failed_stamps or str(error) != self._failure:
                _log.error("not_reloaded", what=self._name, error=str(error))
            self._failed_stamps, self._failure, self._retry_at = stamps, str(error), now + _RETRY_SECONDS
        else:
            self._stamps, self._failed_stamps = stamps, None
            _log.info("reloaded", what=self._name)
            self._warn()

    def _warn(self) -> None:
        for path in self._paths:
            with suppress(OSError):
                if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    _log.warning("writable_by_others", what=self._name, file=path.name)

    def _stat(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """A value that changes when the file changes; None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
