# SPDX-License-Identifier: Apache-2.0
"""Files that may change while the server runs: they are read again, and the last good content stays in force where they are wrong."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")

_log = structlog.get_logger("lossd.reloading")


class Reloading(Generic[T]):
    """What `load` made of files. `load` raises ValueError, whose text names no path, where they are wrong: the first time it is
    the caller's, later it is logged, once for each change.
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
        """`name` is what the log calls it. The files are looked at when `value` is called, at most once in an interval."""
        self._name = name
        self._paths = paths
        self._load = load
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._stamps = self._stat()
        self._value = load()
        self._looked_at = clock()

    def value(self) -> T:
        """The last good content."""
        now = self._clock()
        if now - self._looked_at >= self._interval_seconds:
            self._looked_at = now
            self._look()
        return self._value

    # Implementation details follow.

    def _look(self) -> None:
        stamps = self._stat()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._value = self._load()
        except ValueError as error:
            _log.error("not_reloaded", what=self._name, error=str(error))
        else:
            _log.info("reloaded", what=self._name)

    def _stat(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
